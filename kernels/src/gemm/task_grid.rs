//! How an output is cut into tasks.
//!
//! The cut depends on the number of threads; the results do not, since every output
//! is computed whole by one task.

use std::ops::Range;

/// Tasks per thread at least: a thread that is interrupted should hold up little, but
/// every task reads all activations.
pub(crate) const TASKS_PER_THREAD: usize = 2;

/// Rows in equal grid, and columns in grid that differ by a piece at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskGrid {
    rows: usize,
    columns: usize,
    piece: usize,
    row_tasks: usize,
    column_tasks: usize,
}

impl TaskGrid {
    /// Cuts rows and columns, each given with how many a task may have at most, columns
    /// at the ends of pieces.
    pub(crate) fn new(
        (rows, most_rows): (usize, usize),
        (columns, most_columns): (usize, usize),
        piece: usize,
        threads: usize,
    ) -> Self {
        let pieces = columns.div_ceil(piece);
        let column_tasks = pieces
            .div_ceil(most_columns / piece)
            .next_multiple_of(threads)
            .max(threads * TASKS_PER_THREAD);
        Self {
            rows,
            columns,
            piece,
            row_tasks: rows.div_ceil(most_rows),
            column_tasks: column_tasks.min(pieces),
        }
    }

    pub(crate) fn tasks(&self) -> usize {
        self.row_tasks * self.column_tasks
    }

    /// The rows and columns of a task. Tasks that share rows follow each other, as
    /// these rows are then warm.
    pub(crate) fn tile(&self, task: usize) -> (Range<usize>, Range<usize>) {
        let (row, column) = (task / self.column_tasks, task % self.column_tasks);
        let rows = |part: usize| part * self.rows / self.row_tasks;
        let pieces = self.columns.div_ceil(self.piece);
        let columns = |part: usize| {
            let pieces = part * pieces / self.column_tasks;
            self.columns.min(pieces * self.piece)
        };
        (
            rows(row)..rows(row + 1),
            columns(column)..columns(column + 1),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_output_has_one_task() {
        for (rows, columns, threads) in [(1, 1, 1), (0, 5, 2), (7, 100, 3), (257, 1408, 2)] {
            let grid = TaskGrid::new((rows, 50), (columns, 64), 16, threads);
            let mut seen = vec![0; rows * columns];
            for task in 0..grid.tasks() {
                let (gemv_rows, some_columns) = grid.tile(task);
                assert!(gemv_rows.len() <= 50 && some_columns.len() <= 64);
                for row in gemv_rows {
                    for column in some_columns.clone() {
                        seen[row * columns + column] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|&seen| seen == 1));
        }
    }
}
