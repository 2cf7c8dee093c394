//! Columns as trainers see them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Type of a column between source and trainer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    Bool,
    Int32,
    Int64,
    Float32,
    Float64,
    String,
    /// Microseconds since 1970-01-01T00:00:00Z; an int64 for the trainer.
    Timestamp,
}

/// One column of a stream. The trainer sees `name`, and `<name>_valid` (bool) besides if `nullable`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    #[serde(default)]
    pub nullable: bool,
}

/// What a source knows of a row besides its columns (Flink: metadata columns).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metadata {
    /// Byte offset of the record within its file, int64.
    Offset,
}

/// Every type by the name used in job files, in the order that messages list them.
pub const COLUMN_TYPES: [ColumnType; 7] = [
    ColumnType::Bool,
    ColumnType::Int32,
    ColumnType::Int64,
    ColumnType::Float32,
    ColumnType::Float64,
    ColumnType::String,
    ColumnType::Timestamp,
];

impl ColumnType {
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::String => "string",
            Self::Timestamp => "timestamp",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        COLUMN_TYPES.into_iter().find(|t| t.name() == name)
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
