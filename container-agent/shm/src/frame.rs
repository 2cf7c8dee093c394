//! What stands in front of every frame.

use crate::RingError;

/// Bytes of a header; frames and columns begin at multiples of it.
pub const ALIGN: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// Columns, as JSON.
    Schema = 1,
    Batch = 2,
    Barrier = 3,
    EpochEnd = 4,
    /// End of data: `seq` is the number of batches, `rows` the number of rows.
    Eof = 5,
    /// The producer failed; the payload says why.
    Error = 6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    /// Codec of a batch.
    pub codec: u32,
    /// Bytes of the payload.
    pub length: u64,
    /// Number of a batch, from 0 on.
    pub seq: u64,
    pub rows: u64,
    /// Of the cluster spec.
    pub epoch: u64,
}

impl Header {
    pub fn encode(&self) -> [u8; ALIGN] {
        let mut out = [0; ALIGN];
        out[0..4].copy_from_slice(&(self.kind as u32).to_le_bytes());
        out[4..8].copy_from_slice(&self.codec.to_le_bytes());
        for (at, value) in [self.length, self.seq, self.rows, self.epoch].into_iter().enumerate() {
            out[8 + 8 * at..16 + 8 * at].copy_from_slice(&value.to_le_bytes());
        }
        out
    }

    /// `available`: bytes published from this header on.
    pub fn decode(bytes: &[u8; ALIGN], available: u64) -> Result<Self, RingError> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let kind = match word(0) {
            1 => Kind::Schema,
            2 => Kind::Batch,
            3 => Kind::Barrier,
            4 => Kind::EpochEnd,
            5 => Kind::Eof,
            6 => Kind::Error,
            other => return Err(RingError::corrupt("the kind of a frame", u64::from(other), "expected 1 to 6")),
        };
        let length = long(8);
        let fits = length.checked_add(ALIGN as u64).is_some_and(|total| padded(total) <= available);
        if !fits {
            return Err(RingError::corrupt(
                "the length of a frame",
                length,
                format!("{available} bytes are published"),
            ));
        }
        Ok(Self { kind, codec: word(4), length, seq: long(16), rows: long(24), epoch: long(32) })
    }
}

/// Up to the next multiple of [`ALIGN`].
pub fn padded(bytes: u64) -> u64 {
    bytes.div_ceil(ALIGN as u64) * ALIGN as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn headers_read_back_and_hostile_ones_are_refused(mut bytes: [u8; 32], length in 0u64..1000, available in 0u64..2000) {
            let header = Header { kind: Kind::Batch, codec: 2, length, seq: 7, rows: 9, epoch: 3 };
            let decoded = Header::decode(&header.encode(), available);
            prop_assert_eq!(decoded.is_ok(), padded(length + 64) <= available);
            if let Ok(decoded) = decoded {
                prop_assert_eq!(decoded, header);
            }
            let mut hostile = [0; ALIGN];
            bytes[1..4].fill(0);
            hostile[..32].copy_from_slice(&bytes);
            if let Ok(found) = Header::decode(&hostile, available) {
                prop_assert!(found.length <= available);
            }
        }
    }
}
