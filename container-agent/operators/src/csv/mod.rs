//! CSV (RFC 4180) in splits.
//!
//! Grammar: fields are separated by the delimiter, records by `\n` or `\r\n`; the last record may lack its line break. A quote
//! opens a field only as its first character; inside, `""` is a quote, and the closing quote is followed by the delimiter, a line
//! break or the end. A quote elsewhere is a mistake: were it allowed, nobody could tell where a split begins. With
//! `quoting: false` a quote is a character like others, and a line break always ends a record. A line without any character is skipped, unless the file has
//! one column, where it is an empty field. A byte order mark at the beginning of a file is skipped. Text is UTF-8.
//!
//! A field whose text is among `nulls` is null. Of a quoted field that holds for every type but string, where quotes say that
//! the text is meant.

mod boundary;
mod columns;
mod error;
mod infer;
mod record;
mod split;

pub use error::{CsvError, Mistake};
pub use infer::schema;
pub use split::{Format, OFFSET_COLUMN, SplitEnd, SplitReader};
