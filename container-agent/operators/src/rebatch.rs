//! Batches of exactly the size asked for; only the last one of a rank's data may be smaller.

use std::collections::VecDeque;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;

use crate::operator::{Operator, OperatorError};

pub struct Rebatch {
    size: usize,
    held: VecDeque<RecordBatch>,
    rows: usize,
}

impl Rebatch {
    pub fn new(size: usize) -> Self {
        Self { size: size.max(1), held: VecDeque::new(), rows: 0 }
    }

    fn take(&mut self, rows: usize) -> Result<RecordBatch, OperatorError> {
        let mut parts = Vec::new();
        let mut missing = rows;
        while missing > 0 {
            // `rows` counts what is held.
            let Some(first) = self.held.pop_front() else { break };
            if first.num_rows() > missing {
                self.held.push_front(first.slice(missing, first.num_rows() - missing));
                parts.push(first.slice(0, missing));
                missing = 0;
            } else {
                missing -= first.num_rows();
                parts.push(first);
            }
        }
        self.rows -= rows;
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        let schema = parts[0].schema();
        concat_batches(&schema, &parts).map_err(|source| OperatorError::Arrow { operator: "batch", source })
    }
}

impl Operator for Rebatch {
    fn process_batch(&mut self, batch: RecordBatch, out: &mut Vec<RecordBatch>) -> Result<(), OperatorError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows += batch.num_rows();
        self.held.push_back(batch);
        while self.rows >= self.size {
            out.push(self.take(self.size)?);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<RecordBatch>) -> Result<(), OperatorError> {
        if self.rows > 0 {
            out.push(self.take(self.rows)?);
        }
        Ok(())
    }

    fn memory(&self) -> usize {
        self.held.iter().map(RecordBatch::get_array_memory_size).sum()
    }
}
