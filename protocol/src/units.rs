//! Quantities with units, as people write them in job files.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Bytes, written `1536MiB`. A bare number is refused: nobody knows what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MemorySize(pub u64);

/// A span of time, written `250ms`, `30s`, `10min`, `2h` or `1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{found}` is not a {quantity}; write a whole number and one of the units {units}, such as `{example}`")]
pub struct UnitError {
    found: String,
    quantity: &'static str,
    units: &'static str,
    example: &'static str,
}

const MEMORY_UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];
const SPAN_UNITS: [(&str, u64); 5] = [("ms", 1), ("min", 60_000), ("s", 1_000), ("h", 3_600_000), ("d", 86_400_000)];

impl MemorySize {
    pub const fn mebibytes(n: u64) -> Self {
        Self(n << 20)
    }

    /// Whole MiB, rounded up, as YARN counts memory.
    pub fn as_mebibytes_up(self) -> u64 {
        self.0.div_ceil(1 << 20)
    }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

impl FromStr for MemorySize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, &MEMORY_UNITS).map(Self).ok_or(UnitError {
            found: text.into(),
            quantity: "memory size",
            units: "B, KiB, MiB, GiB, TiB, KB, MB, GB",
            example: "1536MiB",
        })
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, &SPAN_UNITS).map(|ms| Self(Duration::from_millis(ms))).ok_or(UnitError {
            found: text.into(),
            quantity: "span of time",
            units: "ms, s, min, h, d",
            example: "10min",
        })
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis() as u64;
        for (unit, factor) in [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)] {
            if ms >= factor && ms.is_multiple_of(factor) {
                return write!(f, "{}{unit}", ms / factor);
            }
        }
        write!(f, "{ms}ms")
    }
}

/// Numbers reach the visitor as numbers: they get the same message as a wrong unit.
struct Text<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = UnitError>> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number with its unit")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Text(std::marker::PhantomData))
            }
        }
    )*};
}
as_text!(MemorySize, Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_read_back_as_written() {
        for text in ["1536MiB", "1GiB", "3B", "64KiB"] {
            assert_eq!(text.parse::<MemorySize>().unwrap().to_string(), text);
        }
        for text in ["250ms", "10min", "2h", "1d", "90s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_number_without_its_unit_is_refused_with_the_units_allowed() {
        let error = "1024".parse::<MemorySize>().unwrap_err().to_string();
        assert!(error.contains("`1024`") && error.contains("MiB"), "{error}");
        assert!("99999999999999999999TiB".parse::<MemorySize>().is_err());
        assert!("5minutes".parse::<Span>().is_err());
        let typed: Result<MemorySize, _> = serde_json::from_str("1024");
        assert!(typed.unwrap_err().to_string().contains("units"));
    }
}
