//! From the bytes of a split to batches for a trainer. Every operator works on Arrow record batches, is bounded, and does no
//! input or output: bytes are handed in.

pub mod chain;
pub mod csv;
pub mod dense;
mod operator;
mod project;
mod rebatch;
mod shuffle;
pub mod types;

pub use chain::{Chain, Counters};
pub use operator::{Operator, OperatorError, SplitContext};

/// Name of the metadata column that a CSV source puts behind the file's columns.
fn csv_offset_column() -> &'static str {
    csv::OFFSET_COLUMN
}
