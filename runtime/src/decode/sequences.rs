//! A batch of sequences with their positions and their visible part of the KV cache.
//!
//! Rows grow by different numbers of tokens in one pass: shorter ones are padded on
//! the left, and what is padding stays invisible for good through `attention_bias`.

use crate::engine::{Decoder, DecoderStep, Engine};
use crate::error::Error;

/// Added to a score to make a position invisible.
const HIDDEN: f32 = -1e9;

pub(crate) struct Sequences<'e> {
    decoder: Box<dyn Decoder + 'e>,
    rows: Vec<Visibility>,
    past: usize,
    width: usize,
    vocabulary: usize,
}

#[derive(Debug, Clone, Default)]
struct Visibility {
    /// By position in the KV cache.
    visible: Vec<bool>,
    next_position: i64,
}

impl<'e> Sequences<'e> {
    pub(crate) fn start(
        engine: &'e mut dyn Engine,
        rows: usize,
        width: usize,
        vocabulary: usize,
    ) -> Result<Self, Error> {
        Ok(Self {
            decoder: engine.start(rows)?,
            rows: vec![Visibility::default(); rows],
            past: 0,
            width,
            vocabulary,
        })
    }

    /// Appends to each row its embeddings (`[new, width]`, at least one row) and
    /// returns the logits of the last position of each.
    pub(crate) fn forward(&mut self, chunks: &[&[f32]]) -> Result<Vec<f32>, Error> {
        debug_assert_eq!(chunks.len(), self.rows.len());
        let width = self.width;
        let new = chunks
            .iter()
            .map(|chunk| chunk.len() / width)
            .max()
            .unwrap_or(0);
        let total = self.past + new;
        let mut embeddings = vec![0.0; self.rows.len() * new * width];
        let mut positions = vec![0i64; self.rows.len() * new];
        let mut bias = vec![HIDDEN; self.rows.len() * new * total];
        for (index, (row, chunk)) in self.rows.iter_mut().zip(chunks).enumerate() {
            let padding = new - chunk.len() / width;
            let start = (index * new + padding) * width;
            embeddings[start..start + chunk.len()].copy_from_slice(chunk);
            row.visible.extend((0..new).map(|at| at >= padding));
            for at in padding..new {
                positions[index * new + at] = row.next_position;
                row.next_position += 1;
                let seen = &row.visible[..=self.past + at];
                let scores = &mut bias[(index * new + at) * total..][..seen.len()];
                for (score, visible) in scores.iter_mut().zip(seen) {
                    if *visible {
                        *score = 0.0;
                    }
                }
            }
        }
        let logits = self.decoder.forward(&DecoderStep {
            rows: self.rows.len(),
            new,
            past: self.past,
            embeddings: &embeddings,
            positions: &positions,
            bias: &bias,
        })?;
        self.past = total;
        debug_assert_eq!(logits.len(), self.rows.len() * self.vocabulary);
        Ok(logits)
    }

    /// Keeps these rows, in this order.
    pub(crate) fn reorder_cache(&mut self, rows: &[usize]) -> Result<(), Error> {
        if rows.iter().copied().eq(0..self.rows.len()) {
            return Ok(());
        }
        self.decoder.reorder_cache(rows)?;
        self.rows = rows.iter().map(|&row| self.rows[row].clone()).collect();
        Ok(())
    }
}
