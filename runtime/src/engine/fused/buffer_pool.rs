//! Outputs that nobody reads any more, to be filled again.
//!
//! Fresh memory has to be asked for, cleared and mapped page by page, which costs as
//! much as some of the steps that fill it.

use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::tract_hir::internal::*;

/// Outputs that are kept at most: more than a graph of this kind has alive at a time.
const MAX_BUFFERS: usize = 16;

/// The latest outputs of a graph's steps, oldest first.
#[derive(Debug, Default)]
pub(super) struct BufferPool(Mutex<Vec<Arc<Tensor>>>);

impl BufferPool {
    /// A tensor of this shape to be filled; what is in it has no meaning.
    pub(super) fn take(&self, shape: &[usize]) -> TractResult<Tensor> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = kept
            .iter()
            .position(|tensor| tensor.shape() == shape && Arc::strong_count(tensor) == 1);
        match free.map(|index| Arc::try_unwrap(kept.remove(index))) {
            Some(Ok(tensor)) => Ok(tensor),
            _ => Tensor::zero::<f32>(shape),
        }
    }

    /// Keeps a filled tensor until its readers are done with it.
    pub(super) fn keep(&self, tensor: Tensor) -> Arc<Tensor> {
        let tensor = Arc::new(tensor);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == MAX_BUFFERS {
            kept.remove(0);
        }
        kept.push(tensor.clone());
        tensor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_not_filled_again() {
        let buffers = BufferPool::default();
        let first = buffers.keep(buffers.take(&[2, 3]).unwrap());
        let place = |tensor: &Tensor| tensor.as_bytes().as_ptr();
        let other = buffers.take(&[2, 3]).unwrap();
        assert_ne!(place(&other), place(&first));
        let of_first = place(&first);
        drop(first);
        assert_ne!(place(&buffers.take(&[3, 2]).unwrap()), of_first);
        assert_eq!(place(&buffers.take(&[2, 3]).unwrap()), of_first);
    }

    #[test]
    fn the_oldest_are_let_go() {
        let buffers = BufferPool::default();
        let first = buffers.keep(buffers.take(&[1]).unwrap());
        for length in 0..MAX_BUFFERS {
            buffers.keep(buffers.take(&[2 + length]).unwrap());
        }
        assert_eq!(Arc::strong_count(&first), 1);
    }
}
