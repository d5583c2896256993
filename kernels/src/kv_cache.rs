//! The keys and values that an attention has seen, cached in the order it reads them.

use std::cell::RefCell;
use std::ops::Range;

use crate::aligned_buffer::AlignedBuffer;
use crate::error::ShapeError;
use crate::gemm::tile_f32::COLUMNS;
use crate::heads::{Heads, Rotary};
use crate::shared_slice::SharedSliceMut;
use crate::simd::multiversion::multiversion;
use crate::thread_pool::ThreadPool;

/// Keys and values of some sequences, in the order in which [`attend`](crate::attend) reads them.
///
/// It grows at its end and is never copied to be read; room for more is taken
/// ahead.
#[derive(Debug, Default)]
pub struct KvCache {
    pub(crate) sequences: usize,
    pub(crate) heads: usize,
    pub(crate) width: usize,
    pub(crate) length: usize,
    pub(crate) capacity: usize,
    /// `[sequences, heads, width, capacity]`
    pub(crate) keys: Vec<f32>,
    /// `[sequences, heads, capacity, padded width]`
    pub(crate) values: Vec<f32>,
}

impl KvCache {
    /// Forgets everything and takes another shape; memory is cached.
    pub fn reset(&mut self, sequences: usize, heads: usize, width: usize) {
        if (sequences, heads, width) != (self.sequences, self.heads, self.width) {
            *self = Self {
                sequences,
                heads,
                width,
                keys: std::mem::take(&mut self.keys),
                values: std::mem::take(&mut self.values),
                ..Self::default()
            };
        }
        self.length = 0;
    }

    /// Positions of each sequence.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether no position is cached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The width of a cached value, whole columns.
    pub(crate) fn padded(&self) -> usize {
        self.width.next_multiple_of(COLUMNS)
    }

    /// Appends `new` positions to every sequence.
    pub fn append(
        &mut self,
        pool: &ThreadPool,
        new: usize,
        keys: Heads<'_>,
        values: Heads<'_>,
        rotary: Option<Rotary<'_>>,
    ) -> Result<(), ShapeError> {
        let (heads, width, padded) = (self.heads, self.width, self.padded());
        let positions = self.sequences * new;
        keys.check("keys", positions, heads * width)?;
        values.check("values", positions, heads * width)?;
        if let Some(rotary) = rotary {
            rotary.check(positions * width)?;
        }
        self.reserve(new);
        let (length, capacity) = (self.length, self.capacity);
        let (key_size, value_size) = (width * capacity, capacity * padded);
        let cached_keys = SharedSliceMut::new(&mut self.keys);
        let cached_values = SharedSliceMut::new(&mut self.values);
        let isa = pool.isa();
        pool.run(self.sequences * heads, |index| {
            let (sequence, head) = (index / heads, index % heads);
            // SAFETY: every sequence and head is given to one call only.
            let (key_part, value_part) = unsafe {
                (
                    cached_keys.slice_mut(index * key_size..(index + 1) * key_size),
                    cached_values.slice_mut(index * value_size..(index + 1) * value_size),
                )
            };
            let from = sequence * new..(sequence + 1) * new;
            let place = (head, width);
            store_keys(
                isa,
                keys,
                rotary,
                from.clone(),
                place,
                (length, capacity),
                key_part,
            );
            let value_part = &mut value_part[length * padded..];
            for (position, cached) in from.zip(value_part.chunks_exact_mut(padded)) {
                cached[..width].copy_from_slice(values.row(position, head, width));
            }
        });
        self.length += new;
        Ok(())
    }

    /// Makes room for `new` more positions.
    fn reserve(&mut self, new: usize) {
        let needed = self.length + new;
        let parts = self.sequences * self.heads;
        let (width, padded) = (self.width, self.padded());
        if needed > self.capacity {
            let capacity = (needed + needed / 2).next_multiple_of(COLUMNS);
            let (old, length) = (self.capacity, self.length);
            if length == 0 {
                self.keys.resize(parts * width * capacity, 0.0);
                self.values.resize(parts * capacity * padded, 0.0);
            } else {
                let mut keys = vec![0.0; parts * width * capacity];
                for (from, to) in self.keys.chunks(old).zip(keys.chunks_mut(capacity)) {
                    to[..length].copy_from_slice(&from[..length]);
                }
                let mut values = vec![0.0; parts * capacity * padded];
                let (from, to) = (old * padded, capacity * padded);
                for (from, to) in self.values.chunks(from).zip(values.chunks_mut(to)) {
                    to[..length * padded].copy_from_slice(&from[..length * padded]);
                }
                (self.keys, self.values) = (keys, values);
            }
            self.capacity = capacity;
        }
    }

    /// Keeps these sequences, in this order; one may occur twice.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn select(&mut self, sequences: &[usize]) {
        let pick = |from: &[f32], size: usize| -> Vec<f32> {
            let parts = sequences
                .iter()
                .map(|&sequence| &from[sequence * size..][..size]);
            parts.flatten().copied().collect()
        };
        self.keys = pick(&self.keys, self.heads * self.width * self.capacity);
        self.values = pick(&self.values, self.heads * self.capacity * self.padded());
        self.sequences = sequences.len();
    }
}

thread_local! {
    /// Keys that have been rotated.
    static ROTATED: RefCell<AlignedBuffer<f32>> = const { RefCell::new(AlignedBuffer::new()) };
}

multiversion! {
    /// Writes keys as columns, from `length` on.
    fn store_keys(
        keys: Heads<'_>,
        rotary: Option<Rotary<'_>>,
        positions: Range<usize>,
        place: (usize, usize),
        size: (usize, usize),
        cached: &mut [f32],
    ) = store_keys_of
}

#[inline(always)]
fn store_keys_of(
    keys: Heads<'_>,
    rotary: Option<Rotary<'_>>,
    positions: Range<usize>,
    (head, width): (usize, usize),
    (length, capacity): (usize, usize),
    cached: &mut [f32],
) {
    /// Positions that are rotated at once: a line of the cache.
    const GROUP: usize = 16;
    ROTATED.with_borrow_mut(|rotated| {
        rotated.grow(GROUP * width);
        let rotated = rotated.as_mut_slice();
        let mut column = length;
        let mut first = positions.start;
        while first < positions.end {
            let group = first..positions.end.min(first + GROUP);
            for (position, rotated) in group.clone().zip(rotated.chunks_exact_mut(width)) {
                let key = keys.row(position, head, width);
                match rotary {
                    Some(rotary) => rotary.apply(position, key, 1.0, rotated),
                    None => rotated.copy_from_slice(key),
                }
            }
            for (e, cached) in cached.chunks_exact_mut(capacity).enumerate() {
                for (i, cached) in cached[column..column + group.len()].iter_mut().enumerate() {
                    *cached = rotated[i * width + e];
                }
            }
            column += group.len();
            first = group.end;
        }
    });
}
