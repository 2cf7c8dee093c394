//! Codec 2: columns as plain arrays.
//!
//! Payload: `u32` number of buffers, 4 bytes of zeros, then for each buffer `u64` offset and `u64` length; then the buffers, each
//! at a multiple of 64 bytes. Per column: its values (a bool is a byte), or `i64` offsets and bytes for strings; and if the column
//! is nullable, a byte a row, 1 for valid. Values of null rows are zero.

use crate::{
    Producer, RingError,
    frame::{ALIGN, Kind, padded},
};

pub const CODEC: u32 = 2;

/// A bitmap: bits from `offset` on, least significant first.
#[derive(Clone, Copy, Debug)]
pub struct Bits<'a> {
    pub bytes: &'a [u8],
    pub offset: usize,
}

#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// `width` bytes a row.
    Fixed {
        bytes: &'a [u8],
        width: usize,
    },
    Bits(Bits<'a>),
    /// `rows + 1` offsets into `data`.
    Variable {
        offsets: &'a [i32],
        data: &'a [u8],
    },
}

#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    pub values: Values<'a>,
    /// Set bits are valid; absent when every row is.
    pub validity: Option<Bits<'a>>,
    pub nullable: bool,
}

impl Bits<'_> {
    fn get(&self, row: usize) -> bool {
        let bit = self.offset + row;
        self.bytes[bit / 8] >> (bit % 8) & 1 == 1
    }
}

/// Lengths of the buffers, in order.
fn lengths(columns: &[Column<'_>], rows: usize) -> Vec<usize> {
    let mut out = Vec::with_capacity(columns.len() * 2);
    for column in columns {
        match column.values {
            Values::Fixed { width, .. } => out.push(rows * width),
            Values::Bits(_) => out.push(rows),
            Values::Variable { offsets, .. } => {
                out.push((rows + 1) * 8);
                out.push((offsets[rows] - offsets[0]) as usize);
            }
        }
        if column.nullable {
            out.push(rows);
        }
    }
    out
}

fn table_bytes(buffers: usize) -> usize {
    padded(8 + 16 * buffers as u64) as usize
}

/// Writes one batch; every buffer is copied once, from Arrow's memory into the ring.
pub fn push(
    producer: &mut Producer,
    columns: &[Column<'_>],
    rows: usize,
    go_on: impl FnMut() -> bool,
) -> Result<(), RingError> {
    let lengths = lengths(columns, rows);
    let table = table_bytes(lengths.len());
    let total = table + lengths.iter().map(|n| padded(*n as u64) as usize).sum::<usize>();
    let mut reservation = producer.reserve(total, go_on)?;
    let payload = reservation.bytes();
    payload[..4].copy_from_slice(&(lengths.len() as u32).to_le_bytes());
    payload[4..8].fill(0);
    let mut at = table;
    for (n, length) in lengths.iter().enumerate() {
        let entry = 8 + 16 * n;
        payload[entry..entry + 8].copy_from_slice(&(at as u64).to_le_bytes());
        payload[entry + 8..entry + 16].copy_from_slice(&(*length as u64).to_le_bytes());
        at += padded(*length as u64) as usize;
    }
    let (_, mut rest) = payload.split_at_mut(table);
    let mut next = |length: usize| {
        let (buffer, after) = std::mem::take(&mut rest).split_at_mut(padded(length as u64) as usize);
        rest = after;
        &mut buffer[..length]
    };
    let mut lengths = lengths.iter().copied();
    let mut buffer = || next(lengths.next().unwrap_or(0));
    for column in columns {
        match column.values {
            Values::Fixed { bytes, width } => {
                let out = buffer();
                out.copy_from_slice(&bytes[..rows * width]);
                if let Some(validity) = column.validity {
                    for row in (0..rows).filter(|row| !validity.get(*row)) {
                        out[row * width..(row + 1) * width].fill(0);
                    }
                }
            }
            Values::Bits(bits) => {
                let valid = |row| column.validity.is_none_or(|v| v.get(row));
                for (row, byte) in buffer().iter_mut().enumerate() {
                    *byte = u8::from(bits.get(row) && valid(row));
                }
            }
            Values::Variable { offsets, data } => {
                let first = offsets[0];
                for (out, offset) in buffer().chunks_exact_mut(8).zip(offsets) {
                    out.copy_from_slice(&i64::from(offset - first).to_le_bytes());
                }
                buffer().copy_from_slice(&data[first as usize..offsets[rows] as usize]);
            }
        }
        if column.nullable {
            let out = buffer();
            match column.validity {
                None => out.fill(1),
                Some(validity) => {
                    for (row, byte) in out.iter_mut().enumerate() {
                        *byte = u8::from(validity.get(row));
                    }
                }
            }
        }
    }
    reservation.publish(Kind::Batch, CODEC, rows as u64);
    Ok(())
}

/// Where a column's parts lie in a payload, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    pub offset: usize,
    pub length: usize,
}

/// The table of buffers of a payload.
pub fn buffers(payload: &[u8]) -> Result<Vec<Buffer>, RingError> {
    let long = |at: usize| -> Option<u64> { Some(u64::from_le_bytes(payload.get(at..at + 8)?.try_into().ok()?)) };
    let count =
        long(0).ok_or_else(|| RingError::corrupt("the length of a batch", payload.len() as u64, "8 bytes at least"))?;
    let count = (count & 0xffff_ffff) as usize;
    if table_bytes(count) > payload.len() {
        return Err(RingError::corrupt(
            "the number of buffers",
            count as u64,
            format!("the batch has {} bytes", payload.len()),
        ));
    }
    let mut out = Vec::with_capacity(count);
    for n in 0..count {
        // Within the table, whose size was checked.
        let (offset, length) = (long(8 + 16 * n).unwrap_or(u64::MAX), long(16 + 16 * n).unwrap_or(u64::MAX));
        let inside = offset.checked_add(length).is_some_and(|end| end <= payload.len() as u64);
        if !inside || !offset.is_multiple_of(ALIGN as u64) {
            return Err(RingError::corrupt(
                "the place of a buffer",
                offset,
                format!("the batch has {} bytes", payload.len()),
            ));
        }
        out.push(Buffer { offset: offset as usize, length: length as usize });
    }
    Ok(out)
}
