//! The operators of one rank, one after the other.

use arrow_array::RecordBatch;
use yarn_ml_protocol::{job::Input, plan::StreamPlan};

use crate::{
    operator::{Operator, OperatorError, SplitContext},
    project::Project,
    rebatch::Rebatch,
    shuffle::Shuffle,
};

/// Rows of a rank since its chain was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Into the chain.
    pub read: u64,
    /// Dropped on purpose.
    pub filtered: u64,
    /// Out of the chain.
    pub produced: u64,
}

pub struct Chain {
    operators: Vec<Box<dyn Operator>>,
    counters: Counters,
}

impl Chain {
    pub fn new(stream: &StreamPlan, input: &Input) -> Result<Self, OperatorError> {
        let mut operators: Vec<Box<dyn Operator>> = vec![Box::new(Project::new(&stream.columns))];
        if input.shuffle > 1 {
            operators.push(Box::new(Shuffle::new(input.seed, input.shuffle as usize)));
        }
        operators.push(Box::new(Rebatch::new(input.batch as usize)));
        for operator in &mut operators {
            operator.open()?;
        }
        Ok(Self { operators, counters: Counters::default() })
    }

    pub fn begin_split(&mut self, split: SplitContext) {
        self.operators.iter_mut().for_each(|operator| operator.begin_split(split));
    }

    pub fn process_batch(&mut self, batch: RecordBatch, out: &mut Vec<RecordBatch>) -> Result<(), OperatorError> {
        self.counters.read += batch.num_rows() as u64;
        self.flow(0, vec![batch], out)
    }

    pub fn end_split(&mut self, out: &mut Vec<RecordBatch>) -> Result<(), OperatorError> {
        for at in 0..self.operators.len() {
            let mut left = Vec::new();
            self.operators[at].end_split(&mut left)?;
            self.flow(at + 1, left, out)?;
        }
        Ok(())
    }

    pub fn finish(&mut self, out: &mut Vec<RecordBatch>) -> Result<(), OperatorError> {
        for at in 0..self.operators.len() {
            let mut left = Vec::new();
            self.operators[at].finish(&mut left)?;
            self.flow(at + 1, left, out)?;
        }
        self.operators.iter_mut().for_each(|operator| operator.close());
        Ok(())
    }

    /// From operator `at` on to the end.
    fn flow(
        &mut self,
        at: usize,
        mut batches: Vec<RecordBatch>,
        out: &mut Vec<RecordBatch>,
    ) -> Result<(), OperatorError> {
        for operator in &mut self.operators[at..] {
            let mut next = Vec::new();
            for batch in batches {
                operator.process_batch(batch, &mut next)?;
            }
            batches = next;
        }
        self.counters.produced += batches.iter().map(|b| b.num_rows() as u64).sum::<u64>();
        out.extend(batches);
        Ok(())
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Bytes that the operators hold.
    pub fn memory(&self) -> usize {
        self.operators.iter().map(|operator| operator.memory()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        Float32Array, Int64Array,
        cast::AsArray,
        types::{Float32Type, Int64Type},
    };
    use arrow_schema::{DataType, Field, Schema};
    use yarn_ml_protocol::{
        plan::{ColumnSource, OutputColumn},
        schema::{Column, ColumnType, Metadata},
    };

    use super::*;

    fn stream() -> StreamPlan {
        let column = |name: &str, column_type, nullable| Column { name: name.into(), column_type, nullable };
        StreamPlan {
            path: String::new(),
            file_schema: vec![column("v", ColumnType::Int64, true)],
            columns: vec![
                OutputColumn { column: column("x", ColumnType::Float32, true), from: ColumnSource::Field("v".into()) },
                OutputColumn {
                    column: column("id", ColumnType::Int64, false),
                    from: ColumnSource::Metadata(Metadata::Offset),
                },
            ],
        }
    }

    fn batch(values: std::ops::Range<i64>) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("v", DataType::Int64, true), Field::new("", DataType::Int64, false)]);
        let column = || Arc::new(Int64Array::from_iter_values(values.clone()));
        RecordBatch::try_new(Arc::new(schema), vec![column(), column()]).unwrap()
    }

    /// Ids in the order in which a trainer would see them, and the sizes of its batches.
    fn run(shuffle: u32, cuts: &[i64], seed: u64) -> (Vec<i64>, Vec<usize>) {
        let input = serde_json::json!({"stream": "s", "shuffle": shuffle, "batch": 10, "ring": "64KiB", "seed": seed});
        let mut chain = Chain::new(&stream(), &serde_json::from_value(input).unwrap()).unwrap();
        let mut out = Vec::new();
        for split in 0..2 {
            chain.begin_split(SplitContext { split, data_epoch: 0 });
            let base = split as i64 * 100;
            for ends in cuts.windows(2) {
                chain.process_batch(batch(base + ends[0]..base + ends[1]), &mut out).unwrap();
            }
            chain.end_split(&mut out).unwrap();
        }
        chain.finish(&mut out).unwrap();
        assert_eq!(chain.counters(), Counters { read: 90, filtered: 0, produced: 90 });
        assert_eq!(chain.memory(), 0);
        for made in &out {
            let (x, id) = (made.column(0).as_primitive::<Float32Type>(), made.column(1).as_primitive::<Int64Type>());
            let same: Float32Array = id.values().iter().map(|v| *v as f32).collect();
            assert_eq!(*x, same, "a row stays together");
        }
        let ids = out.iter().flat_map(|b| b.column(1).as_primitive::<Int64Type>().values().to_vec()).collect();
        (ids, out.iter().map(RecordBatch::num_rows).collect())
    }

    #[test]
    fn batches_have_the_size_asked_for_across_splits() {
        let (ids, sizes) = run(0, &[0, 7, 45], 1);
        assert_eq!(ids, (0..45).chain(100..145).collect::<Vec<_>>());
        assert_eq!(sizes, [10; 9]);
    }

    #[test]
    fn the_order_depends_on_the_seed_and_on_nothing_else() {
        let (first, _) = run(20, &[0, 7, 45], 1);
        assert_eq!(run(20, &[0, 30, 31, 45], 1).0, first, "how the source cuts its batches does not matter");
        assert_ne!(run(20, &[0, 7, 45], 2).0, first);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..45).chain(100..145).collect::<Vec<_>>());
        assert!(first[..20].iter().all(|id| *id < 20), "a window keeps to itself");
    }
}
