//! From the texts of fields to Arrow columns.

use std::{borrow::Cow, sync::Arc};

use arrow_array::{
    ArrayRef,
    builder::{
        BooleanBuilder, Float32Builder, Float64Builder, Int32Builder, Int64Builder, StringBuilder,
        TimestampMicrosecondBuilder,
    },
};
use yarn_ml_protocol::schema::ColumnType;

/// One column in the making.
pub enum ColumnBuilder {
    Bool(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    String(StringBuilder),
    Timestamp(TimestampMicrosecondBuilder),
}

/// The text is no value of the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    Value,
    NotUtf8,
}

impl ColumnBuilder {
    pub fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Bool => Self::Bool(BooleanBuilder::new()),
            ColumnType::Int32 => Self::Int32(Int32Builder::new()),
            ColumnType::Int64 => Self::Int64(Int64Builder::new()),
            ColumnType::Float32 => Self::Float32(Float32Builder::new()),
            ColumnType::Float64 => Self::Float64(Float64Builder::new()),
            ColumnType::String => Self::String(StringBuilder::new()),
            ColumnType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
        }
    }

    pub fn append_null(&mut self) {
        match self {
            Self::Bool(b) => b.append_null(),
            Self::Int32(b) => b.append_null(),
            Self::Int64(b) => b.append_null(),
            Self::Float32(b) => b.append_null(),
            Self::Float64(b) => b.append_null(),
            Self::String(b) => b.append_null(),
            Self::Timestamp(b) => b.append_null(),
        }
    }

    pub fn append(&mut self, text: &[u8], timestamp_format: Option<&str>) -> Result<(), Unfit> {
        match self {
            Self::Bool(b) => b.append_value(boolean(text).ok_or(Unfit::Value)?),
            Self::Int32(b) => {
                let value = integer(text).and_then(|n| i32::try_from(n).ok());
                b.append_value(value.ok_or(Unfit::Value)?);
            }
            Self::Int64(b) => b.append_value(integer(text).ok_or(Unfit::Value)?),
            Self::Float32(b) => b.append_value(float(text).ok_or(Unfit::Value)?),
            Self::Float64(b) => b.append_value(float(text).ok_or(Unfit::Value)?),
            Self::String(b) => b.append_value(std::str::from_utf8(text).map_err(|_| Unfit::NotUtf8)?),
            Self::Timestamp(b) => b.append_value(timestamp(text, timestamp_format).ok_or(Unfit::Value)?),
        }
        Ok(())
    }

    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(b) => Arc::new(b.finish()),
            Self::Int32(b) => Arc::new(b.finish()),
            Self::Int64(b) => Arc::new(b.finish()),
            Self::Float32(b) => Arc::new(b.finish()),
            Self::Float64(b) => Arc::new(b.finish()),
            Self::String(b) => Arc::new(b.finish()),
            Self::Timestamp(b) => Arc::new(b.finish()),
        }
    }
}

/// `""` inside of quotes is a quote.
pub fn unescape(text: &[u8], escaped: bool) -> Cow<'_, [u8]> {
    if !escaped {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'"', rest) {
        out.extend_from_slice(&rest[..=at]);
        // The grammar has seen that quotes come in pairs.
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

pub fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"true" | b"True" | b"TRUE" | b"1" => Some(true),
        b"false" | b"False" | b"FALSE" | b"0" => Some(false),
        _ => None,
    }
}

/// Decimal digits with an optional sign; anything that does not fit is no integer.
pub fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let mut value: i64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Downwards, where there is one more number.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

pub fn float<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Microseconds since the epoch, UTC.
pub fn timestamp(text: &[u8], format: Option<&str>) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    match format {
        None => arrow_cast::parse::string_to_timestamp_nanos(text).ok().map(|nanos| nanos.div_euclid(1000)),
        Some(format) => {
            let with_zone = chrono::DateTime::parse_from_str(text, format).map(|t| t.timestamp_micros());
            let naive = || chrono::NaiveDateTime::parse_from_str(text, format).map(|t| t.and_utc().timestamp_micros());
            let date = || {
                let day = chrono::NaiveDate::parse_from_str(text, format)?;
                Ok::<_, chrono::ParseError>(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros())
            };
            with_zone.or_else(|_| naive()).or_else(|_| date()).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_become_values_or_nothing() {
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer(b"9223372036854775808"), None);
        assert_eq!([integer(b""), integer(b"-"), integer(b"1.5"), integer(b"0x1")], [None; 4]);
        assert_eq!(timestamp(b"2013-01-01T05:00:00Z", None), Some(1_357_016_400_000_000));
        assert_eq!(timestamp(b"01/02/2013", Some("%d/%m/%Y")), Some(1_359_676_800_000_000));
        assert_eq!(unescape(b"a\"\"b\"\"", true).as_ref(), b"a\"b\"");
    }

    proptest! {
        #[test]
        fn integers_are_those_of_the_standard_library(value: i64) {
            prop_assert_eq!(integer(value.to_string().as_bytes()), Some(value));
        }
    }
}
