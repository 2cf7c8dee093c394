//! Rows permuted within windows of a split.
//!
//! The order is a pure function of (seed, data epoch, split, window), so that a restart gives the same.

use arrow_array::{RecordBatch, UInt32Array};
use arrow_select::{concat::concat_batches, take::take_record_batch};

use crate::operator::{Operator, OperatorError, SplitContext};

pub struct Shuffle {
    seed: u64,
    /// Rows permuted together.
    size: usize,
    split: SplitContext,
    window: u64,
    held: Vec<RecordBatch>,
    rows: usize,
}

impl Shuffle {
    pub fn new(seed: u64, size: usize) -> Self {
        Self { seed, size: size.max(1), split: SplitContext::default(), window: 0, held: Vec::new(), rows: 0 }
    }

    fn release(&mut self, out: &mut Vec<RecordBatch>) -> Result<(), OperatorError> {
        let held = std::mem::take(&mut self.held);
        let Some(first) = held.first() else { return Ok(()) };
        let failed = |source| OperatorError::Arrow { operator: "shuffle", source };
        let all = concat_batches(&first.schema(), &held).map_err(failed)?;
        let order = UInt32Array::from(self.permutation(all.num_rows() as u32));
        out.push(take_record_batch(&all, &order).map_err(failed)?);
        self.window += 1;
        self.rows = 0;
        Ok(())
    }

    /// Fisher–Yates over SplitMix64.
    fn permutation(&self, count: u32) -> Vec<u32> {
        let mut state = self.seed;
        for part in [u64::from(self.split.data_epoch), self.split.split, self.window] {
            state = mix(state.wrapping_add(part).wrapping_add(GOLDEN));
        }
        let mut order: Vec<u32> = (0..count).collect();
        for last in (1..count as usize).rev() {
            state = state.wrapping_add(GOLDEN);
            order.swap(last, (mix(state) % (last as u64 + 1)) as usize);
        }
        order
    }
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Operator for Shuffle {
    fn begin_split(&mut self, split: SplitContext) {
        self.split = split;
        self.window = 0;
    }

    fn process_batch(&mut self, mut batch: RecordBatch, out: &mut Vec<RecordBatch>) -> Result<(), OperatorError> {
        // Windows do not depend on how the source cuts its batches.
        while self.rows + batch.num_rows() >= self.size {
            let room = self.size - self.rows;
            self.held.push(batch.slice(0, room));
            self.release(out)?;
            batch = batch.slice(room, batch.num_rows() - room);
        }
        self.rows += batch.num_rows();
        if batch.num_rows() > 0 {
            self.held.push(batch);
        }
        Ok(())
    }

    fn end_split(&mut self, out: &mut Vec<RecordBatch>) -> Result<(), OperatorError> {
        self.release(out)
    }

    fn memory(&self) -> usize {
        self.held.iter().map(RecordBatch::get_array_memory_size).sum()
    }
}
