//! A record batch as plain slices, for the ring to copy each of them once.

use arrow_array::{Array, RecordBatch, cast::AsArray};
use arrow_schema::DataType;

/// A bitmap: `length` bits from bit `offset` on, least significant first.
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
pub struct ColumnSlices<'a> {
    pub values: Values<'a>,
    /// Set bits are valid rows; absent when no row is null.
    pub validity: Option<Bits<'a>>,
    pub nullable: bool,
}

/// One entry a column, in order.
pub fn columns(batch: &RecordBatch) -> Vec<ColumnSlices<'_>> {
    let schema = batch.schema_ref();
    batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(array, field)| ColumnSlices {
            values: values(array.as_ref()),
            validity: array.nulls().map(|nulls| Bits { bytes: nulls.validity(), offset: nulls.offset() }),
            nullable: field.is_nullable(),
        })
        .collect()
}

fn values(array: &dyn Array) -> Values<'_> {
    match array.data_type() {
        DataType::Boolean => {
            let bits = array.as_boolean().values();
            Values::Bits(Bits { bytes: bits.values(), offset: bits.offset() })
        }
        DataType::Utf8 => {
            let strings = array.as_string::<i32>();
            Values::Variable { offsets: strings.value_offsets(), data: strings.value_data() }
        }
        DataType::Int32 => fixed(array.as_primitive::<arrow_array::types::Int32Type>().values().inner().as_slice(), 4),
        DataType::Int64 => fixed(array.as_primitive::<arrow_array::types::Int64Type>().values().inner().as_slice(), 8),
        DataType::Float32 => {
            fixed(array.as_primitive::<arrow_array::types::Float32Type>().values().inner().as_slice(), 4)
        }
        DataType::Float64 => {
            fixed(array.as_primitive::<arrow_array::types::Float64Type>().values().inner().as_slice(), 8)
        }
        DataType::Timestamp(..) => {
            fixed(array.as_primitive::<arrow_array::types::TimestampMicrosecondType>().values().inner().as_slice(), 8)
        }
        other => unreachable!("the chain makes no columns of {other}"),
    }
}

fn fixed(bytes: &[u8], width: usize) -> Values<'_> {
    Values::Fixed { bytes, width }
}
