//! Reading one split.

use std::{collections::VecDeque, sync::Arc};

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{Field as ArrowField, Schema, SchemaRef};
use yarn_ml_protocol::{
    job::Source,
    messages::Split,
    schema::{Column, ColumnType, Metadata},
};

use super::{
    CsvError, Mistake,
    boundary::{Found, first_record},
    columns::{ColumnBuilder, Unfit, unescape},
    record::{Dialect, Field, Scan, scan},
};
use crate::types::arrow_type;

/// Name of the column with each record's offset, behind the columns of the file. No file has it: names are not empty.
pub const OFFSET_COLUMN: &str = "";

/// Rows of a batch out of a reader.
const ROWS: usize = 4096;

/// What all splits of a stream have in common.
#[derive(Clone, Debug)]
pub struct Format {
    dialect: Dialect,
    header: bool,
    nulls: Vec<Vec<u8>>,
    max_record: u64,
    timestamp_format: Option<String>,
    columns: Vec<Column>,
    /// Which columns are wanted.
    wanted: Vec<bool>,
    offsets: bool,
    schema: SchemaRef,
}

impl Format {
    /// `wanted`: names of columns; the others are counted and not parsed.
    pub fn new(source: &Source, columns: &[Column], wanted: &[&str], metadata: &[Metadata]) -> Self {
        let is_wanted: Vec<bool> = columns.iter().map(|c| wanted.contains(&c.name.as_str())).collect();
        let offsets = metadata.contains(&Metadata::Offset);
        let mut fields: Vec<ArrowField> = columns
            .iter()
            .zip(&is_wanted)
            .filter(|(_, wanted)| **wanted)
            .map(|(c, _)| ArrowField::new(&c.name, arrow_type(c.column_type), true))
            .collect();
        if offsets {
            fields.push(ArrowField::new(OFFSET_COLUMN, arrow_type(ColumnType::Int64), false));
        }
        Self {
            dialect: Dialect { delimiter: source.delimiter as u8, quoting: source.quoting },
            header: source.header,
            nulls: source.nulls.iter().map(|null| null.clone().into_bytes()).collect(),
            max_record: source.max_record.0,
            timestamp_format: source.timestamp_format.clone(),
            columns: columns.to_vec(),
            wanted: is_wanted,
            offsets,
            schema: Arc::new(Schema::new(fields)),
        }
    }
}

/// What a finished split is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitEnd {
    pub first_offset: u64,
    pub end_offset: u64,
    pub rows: u64,
}

/// A split owns the records which begin in it: it may read beyond its end to finish its last one. Bytes are pushed in order from
/// [`SplitReader::position`] on; batches are taken in between.
pub struct SplitReader {
    format: Arc<Format>,
    file: String,
    start: u64,
    end: u64,
    file_length: u64,
    /// Unread bytes; the first one is at `offset` of the file.
    buffer: Vec<u8>,
    offset: u64,
    begun: bool,
    first_offset: u64,
    rows: u64,
    finished: Option<SplitEnd>,
    builders: Vec<ColumnBuilder>,
    offsets: Vec<i64>,
    ready: VecDeque<RecordBatch>,
    fields: Vec<Field>,
}

impl SplitReader {
    pub fn new(format: Arc<Format>, split: &Split) -> Self {
        // One byte more in front tells whether a record begins exactly at the split.
        let offset = split.start.saturating_sub(1);
        let builders = builders(&format);
        Self {
            format,
            file: split.uri.clone(),
            start: split.start,
            end: split.start.saturating_add(split.length),
            file_length: split.file_length,
            buffer: Vec::new(),
            offset,
            begun: false,
            first_offset: split.start,
            rows: 0,
            finished: None,
            builders,
            offsets: Vec::new(),
            ready: VecDeque::new(),
            fields: Vec::new(),
        }
    }

    pub fn schema(&self) -> SchemaRef {
        self.format.schema.clone()
    }

    /// Where the next bytes are wanted from; nothing when the split is finished.
    pub fn position(&self) -> Option<u64> {
        self.finished.is_none().then_some(self.offset + self.buffer.len() as u64)
    }

    /// Some when the last record was read, and every batch taken.
    pub fn end(&self) -> Option<SplitEnd> {
        self.finished.filter(|_| self.ready.is_empty())
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.buffer.capacity() + self.ready.iter().map(RecordBatch::get_array_memory_size).sum::<usize>()
    }

    pub fn next_batch(&mut self) -> Option<RecordBatch> {
        self.ready.pop_front()
    }

    /// The next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), CsvError> {
        self.buffer.extend_from_slice(bytes);
        let last = self.offset + self.buffer.len() as u64 >= self.file_length;
        if !self.begun && !self.begin(last)? {
            return Ok(());
        }
        let mut at = 0;
        let result = loop {
            let place = self.offset + at as u64;
            if place >= self.end || place >= self.file_length {
                break Ok(true);
            }
            match self.record(at, last) {
                Ok(Some(length)) => at += length,
                Ok(None) => break Ok(false),
                Err(error) => break Err(error),
            }
        };
        self.buffer.drain(..at);
        self.offset += at as u64;
        if result? {
            self.flush();
            self.finished =
                Some(SplitEnd { first_offset: self.first_offset, end_offset: self.offset, rows: self.rows });
            self.buffer = Vec::new();
        }
        Ok(())
    }

    fn error(&self, at: usize, mistake: Mistake) -> CsvError {
        CsvError { file: self.file.clone(), offset: self.offset + at as u64, mistake }
    }

    /// Goes to the first record. False when more bytes are needed.
    fn begin(&mut self, last: bool) -> Result<bool, CsvError> {
        if self.start == 0 {
            return self.begin_file(last);
        }
        let max = usize::try_from(self.format.max_record).unwrap_or(usize::MAX);
        let skip = match first_record(&self.buffer, self.format.dialect, self.format.columns.len(), max, last) {
            Found::At(at) => at,
            Found::None => self.buffer.len(),
            Found::More => return Ok(false),
            Found::Ambiguous => return Err(self.error(1, Mistake::Boundary)),
        };
        self.buffer.drain(..skip);
        self.offset += skip as u64;
        self.first_offset = self.offset;
        self.begun = true;
        Ok(true)
    }

    fn begin_file(&mut self, last: bool) -> Result<bool, CsvError> {
        const MARK: &[u8] = b"\xEF\xBB\xBF";
        if self.buffer.len() < MARK.len() && !last {
            return Ok(false);
        }
        let mut skip = if self.buffer.starts_with(MARK) { MARK.len() } else { 0 };
        if self.format.header {
            let rest = &self.buffer[skip..];
            let scanned = scan(rest, self.format.dialect, last, &mut self.fields);
            match scanned.map_err(|(n, mistake)| self.error(skip + n, mistake))? {
                Scan::Record { length } => {
                    self.check_header(skip)?;
                    skip += length;
                }
                Scan::More if rest.len() as u64 > self.format.max_record => {
                    return Err(self.error(0, Mistake::TooLong { max: self.format.max_record }));
                }
                Scan::More => return Ok(false),
            }
        }
        self.buffer.drain(..skip);
        self.offset += skip as u64;
        // What stands before the first record belongs to the first split.
        self.first_offset = 0;
        self.begun = true;
        Ok(true)
    }

    fn check_header(&self, skip: usize) -> Result<(), CsvError> {
        let text = |f: &Field| {
            let bytes = unescape(&self.buffer[skip + f.begin..skip + f.end], f.escaped);
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let found: Vec<String> = self.fields.iter().map(text).collect();
        let expected: Vec<String> = self.format.columns.iter().map(|c| c.name.clone()).collect();
        if found == expected { Ok(()) } else { Err(self.error(0, Mistake::Header { expected, found })) }
    }

    /// Reads the record at `at`; its length, or nothing when the bytes end before it.
    fn record(&mut self, at: usize, last: bool) -> Result<Option<usize>, CsvError> {
        let max = self.format.max_record;
        let rest = &self.buffer[at..];
        let scanned = scan(rest, self.format.dialect, last, &mut self.fields);
        let length = match scanned.map_err(|(n, mistake)| self.error(at + n, mistake))? {
            Scan::Record { length } if length as u64 <= max => length,
            Scan::More if rest.len() as u64 <= max => return Ok(None),
            _ => return Err(self.error(at, Mistake::TooLong { max })),
        };
        let expected = self.format.columns.len();
        let is_empty = self.fields.len() == 1 && self.fields[0].begin == self.fields[0].end && !self.fields[0].quoted;
        if is_empty && expected > 1 {
            return Ok(Some(length));
        }
        if self.fields.len() != expected {
            return Err(self.error(at, Mistake::FieldCount { expected, found: self.fields.len() }));
        }
        self.append(at)?;
        self.rows += 1;
        if self.format.offsets {
            self.offsets.push((self.offset + at as u64).cast_signed());
        }
        if self.rows.is_multiple_of(ROWS as u64) {
            self.flush();
        }
        Ok(Some(length))
    }

    fn append(&mut self, at: usize) -> Result<(), CsvError> {
        let format = self.format.clone();
        let mut builders = self.builders.iter_mut();
        for ((field, column), wanted) in self.fields.iter().zip(&format.columns).zip(&format.wanted) {
            if !wanted {
                continue;
            }
            // One builder for each wanted column.
            let Some(builder) = builders.next() else { break };
            let raw = &self.buffer[at + field.begin..at + field.end];
            let meant = field.quoted && column.column_type == ColumnType::String;
            if !meant && format.nulls.iter().any(|null| null == raw) {
                builder.append_null();
                continue;
            }
            let text = unescape(raw, field.escaped);
            if let Err(unfit) = builder.append(&text, format.timestamp_format.as_deref()) {
                let mistake = match unfit {
                    Unfit::NotUtf8 => Mistake::NotUtf8 { column: column.name.clone() },
                    Unfit::Value => Mistake::Value {
                        column: column.name.clone(),
                        text: String::from_utf8_lossy(&text[..text.len().min(60)]).into_owned(),
                        expected: column.column_type,
                    },
                };
                let (file, offset) = (self.file.clone(), self.offset + (at + field.begin) as u64);
                return Err(CsvError { file, offset, mistake });
            }
        }
        Ok(())
    }

    fn flush(&mut self) {
        let rows = (self.rows % ROWS as u64) as usize;
        let rows = if rows == 0 && self.rows > 0 { ROWS } else { rows };
        let mut columns: Vec<ArrayRef> = self.builders.iter_mut().map(ColumnBuilder::finish).collect();
        if self.format.offsets {
            columns.push(Arc::new(Int64Array::from(std::mem::take(&mut self.offsets))));
        }
        let built = columns.first().map_or(rows, |c| c.len());
        if built == 0 {
            return;
        }
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(built));
        // The columns are built together, from one schema.
        match RecordBatch::try_new_with_options(self.format.schema.clone(), columns, &options) {
            Ok(batch) => self.ready.push_back(batch),
            Err(error) => unreachable!("columns of one reader differ: {error}"),
        }
    }
}

fn builders(format: &Format) -> Vec<ColumnBuilder> {
    format
        .columns
        .iter()
        .zip(&format.wanted)
        .filter(|(_, wanted)| **wanted)
        .map(|(column, _)| ColumnBuilder::new(column.column_type))
        .collect()
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
