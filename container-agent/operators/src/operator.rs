//! What every operator is, in Flink's words.

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use thiserror::Error;

/// The split that batches come from, for operators whose work depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SplitContext {
    pub split: u64,
    pub data_epoch: u32,
}

#[derive(Debug, Error)]
pub enum OperatorError {
    #[error("column {column} cannot be made {to}: {source}")]
    Cast {
        column: String,
        to: String,
        #[source]
        source: ArrowError,
    },
    #[error("{operator} failed")]
    Arrow {
        operator: &'static str,
        #[source]
        source: ArrowError,
    },
}

/// One step between source and trainer. Calls come in this order: `open`, then for each split `begin_split`, `process_batch` for
/// each batch and `end_split`, then `finish`, then `close`. Whatever is ready is appended to `out`.
pub trait Operator: Send {
    fn open(&mut self) -> Result<(), OperatorError> {
        Ok(())
    }

    fn begin_split(&mut self, _split: SplitContext) {}

    fn process_batch(&mut self, batch: RecordBatch, out: &mut Vec<RecordBatch>) -> Result<(), OperatorError>;

    /// No batch of this split comes any more.
    fn end_split(&mut self, _out: &mut Vec<RecordBatch>) -> Result<(), OperatorError> {
        Ok(())
    }

    /// No batch comes any more.
    fn finish(&mut self, _out: &mut Vec<RecordBatch>) -> Result<(), OperatorError> {
        Ok(())
    }

    fn close(&mut self) {}

    /// Bytes held between calls.
    fn memory(&self) -> usize {
        0
    }
}
