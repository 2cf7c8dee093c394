//! Mistakes in a file, with their place.

use std::fmt;

use thiserror::Error;
use yarn_ml_protocol::schema::ColumnType;

/// A mistake at a byte of a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}, byte {offset}: {mistake}")]
pub struct CsvError {
    pub file: String,
    pub offset: u64,
    pub mistake: Mistake,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mistake {
    FieldCount {
        expected: usize,
        found: usize,
    },
    Value {
        column: String,
        text: String,
        expected: ColumnType,
    },
    NotUtf8 {
        column: String,
    },
    /// A quote inside of a field that did not begin with one.
    StrayQuote,
    /// A closing quote followed by something else.
    AfterQuote,
    Unterminated,
    TooLong {
        max: u64,
    },
    /// Both inside and outside of quotes would make sense.
    Boundary,
    Header {
        expected: Vec<String>,
        found: Vec<String>,
    },
    Schema {
        message: String,
    },
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FieldCount { expected, found } => {
                write!(f, "the record has {found} fields; expected {expected}")
            }
            Self::Value { column, text, expected } => write!(
                f,
                "`{text}` is no {expected} for column {column}; declare its type under `schema:`, or the text under `nulls:`"
            ),
            Self::NotUtf8 { column } => write!(f, "the text of column {column} is not UTF-8"),
            Self::AfterQuote => {
                f.write_str("a closing quote is followed by neither the delimiter nor a line break; a quote inside of quotes is written twice")
            }
            Self::StrayQuote => f.write_str(
                "a quote stands inside of a field that is not quoted; if quotes mean nothing in this file, write `quoting: false`",
            ),
            Self::Unterminated => f.write_str("a quoted field has no end"),
            Self::TooLong { max } => write!(f, "the record is longer than `max_record` ({max} bytes)"),
            Self::Boundary => f.write_str(
                "it cannot be told whether this split begins inside of quotes; set `split_size` larger than the file",
            ),
            Self::Header { expected, found } => write!(
                f,
                "the header is {}; the first file's was {}",
                found.join(","),
                expected.join(",")
            ),
            Self::Schema { message } => f.write_str(message),
        }
    }
}
