//! A slice that several threads fill, each its own part.

use std::marker::PhantomData;
use std::ops::Range;

/// A mutable slice whose parts are handed to different tasks of one job.
///
/// It borrows the slice for its whole life, so nothing else can see the
/// elements while tasks write them.
pub(crate) struct SharedSliceMut<'a, T> {
    first: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for an exclusive borrow of `[T]`; `slice_mut` obliges its
// callers to take disjoint ranges, which is what `split_at_mut` would give to
// the threads, and that is allowed for any `T: Send`.
unsafe impl<T: Send> Sync for SharedSliceMut<'_, T> {}
// SAFETY: as above; an exclusive borrow of `[T]` can be sent if `T` can.
unsafe impl<T: Send> Send for SharedSliceMut<'_, T> {}

impl<'a, T> SharedSliceMut<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            first: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }

    /// The elements of `range`.
    ///
    /// # Panics
    /// If the range is not inside the slice.
    ///
    /// # Safety
    /// No other part that overlaps this one may be alive.
    #[inline]
    #[expect(
        clippy::mut_from_ref,
        reason = "the caller promises what the borrow would"
    )]
    pub(crate) unsafe fn slice_mut(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the range was just checked, the slice is borrowed
        // exclusively for `'a`, and the caller promises that no other part
        // overlaps it.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_the_whole() {
        let mut values = [0; 6];
        let parts = SharedSliceMut::new(&mut values);
        // SAFETY: the two ranges do not overlap.
        let (low, high) = unsafe { (parts.slice_mut(0..2), parts.slice_mut(2..6)) };
        low.fill(1);
        high.fill(2);
        assert_eq!(values, [1, 1, 2, 2, 2, 2]);
    }

    #[test]
    #[should_panic(expected = "range.end")]
    fn outside_is_refused() {
        let mut values = [0; 2];
        let parts = SharedSliceMut::new(&mut values);
        // SAFETY: there is only one part.
        let _ = unsafe { parts.slice_mut(1..3) };
    }
}
