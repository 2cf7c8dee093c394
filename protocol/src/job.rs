//! The job file, as people write it. Unknown keys are errors. `plan` resolves it.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    schema::{ColumnType, Metadata},
    units::{MemorySize, Span},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    pub name: String,
    /// Which state machine of the application master runs the job.
    #[serde(rename = "type")]
    pub job_type: JobType,
    /// YARN's queue; the cluster's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(default)]
    pub am: Am,
    /// Free values for the program: `yarn_ml.context().params`.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// What every role runs, unless it says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    #[serde(default)]
    pub streams: IndexMap<String, Stream>,
    pub roles: IndexMap<String, Role>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<Checkpoints>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
    /// The job is failed when it has run this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Span>,
    /// The job is failed when its roles have not all started within this time.
    #[serde(default = "default_start_timeout")]
    pub start_timeout: Span,
    #[serde(default)]
    pub logs: Logs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobType {
    #[serde(rename = "tensorflow/batch")]
    TensorFlowBatch,
    #[serde(rename = "generic")]
    Generic,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Am {
    pub memory: MemorySize,
    pub vcores: u32,
    /// How often YARN may start the application master; the cluster's limit holds as well.
    pub max_attempts: u32,
    pub env: BTreeMap<String, String>,
}

/// A Python entry or a command; exactly one of them (checked by `plan`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Program {
    /// Python file, run by `python`; shipped with the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// Shell command, run by `bash -c` in the container's working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    pub args: Vec<String>,
    /// Further files and folders beside the entry, shipped with the job.
    pub files: Vec<String>,
    /// An interpreter by path or name, or an archive (`.tar.gz`, `.tgz`, `.zip`) with `bin/python` inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    pub env: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    None,
    /// TensorFlow's `ParameterServerStrategy`.
    Ps,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    pub source: Source,
    /// Select, rename and cast, in this order; all columns of the source when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<IndexMap<String, ColumnSpec>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// File, folder or glob. Without a scheme: `fs.defaultFS` on YARN, the local disk locally.
    pub path: String,
    pub format: Format,
    /// Types by column name. What is not named is inferred from the beginning of the first file.
    #[serde(default)]
    pub schema: IndexMap<String, ColumnType>,
    /// Field texts which mean null.
    #[serde(default = "default_nulls")]
    pub nulls: Vec<String>,
    /// The first line names the columns. Without it `schema` names all of them, in order.
    #[serde(default = "yes")]
    pub header: bool,
    /// Quotes may surround fields. Without it a line break always ends a record.
    #[serde(default = "yes")]
    pub quoting: bool,
    #[serde(default = "default_delimiter")]
    pub delimiter: char,
    /// strftime-like; ISO 8601 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_format: Option<String>,
    /// A file is read in pieces of about this size, by several readers at once.
    #[serde(default = "default_split_size")]
    pub split_size: MemorySize,
    /// Longest record; a longer one fails the job with its place.
    #[serde(default = "default_max_record")]
    pub max_record: MemorySize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Csv,
}

/// `late: {from: arr_delay, type: float32}`, short `late: float32`, or `late:` alone for the source's own type.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ColumnSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub column_type: Option<ColumnType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    #[serde(default = "one")]
    pub instances: u32,
    /// The trainer's own; the container adds what agent and rings need.
    pub memory: MemorySize,
    #[serde(default = "one")]
    pub vcores: u32,
    /// Further resource types by YARN's name, such as `yarn.io/gpu: 1`.
    #[serde(default)]
    pub resources: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Input>,
    /// Overrides the job's program key by key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    pub stream: String,
    #[serde(default = "one")]
    pub epochs: u32,
    /// Rows permuted together; 0 keeps the file's order.
    #[serde(default)]
    pub shuffle: u32,
    #[serde(default)]
    pub seed: u64,
    /// Rows of a batch; only the last one of a rank's data may be smaller.
    #[serde(default = "default_batch")]
    pub batch: u32,
    /// Shared memory between agent and trainer.
    #[serde(default = "default_ring")]
    pub ring: MemorySize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoints {
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    #[serde(default = "default_keep")]
    pub keep: u32,
}

/// `model: path`, or `model: {path: …, overwrite: true}`. `{version}` in the path becomes the next free number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    pub path: String,
    #[serde(default)]
    pub overwrite: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logs {
    /// A trainer's log is rotated at this size.
    pub max_size: MemorySize,
    pub keep: u32,
}

impl Default for Am {
    fn default() -> Self {
        Self { memory: MemorySize::mebibytes(256), vcores: 1, max_attempts: 2, env: BTreeMap::new() }
    }
}

impl Default for Logs {
    fn default() -> Self {
        Self { max_size: MemorySize::mebibytes(256), keep: 4 }
    }
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

fn default_nulls() -> Vec<String> {
    vec![String::new()]
}

fn default_delimiter() -> char {
    ','
}

fn default_split_size() -> MemorySize {
    MemorySize::mebibytes(4)
}

fn default_max_record() -> MemorySize {
    MemorySize::mebibytes(1)
}

fn default_batch() -> u32 {
    1024
}

fn default_ring() -> MemorySize {
    MemorySize::mebibytes(8)
}

fn default_keep() -> u32 {
    3
}

fn default_start_timeout() -> Span {
    Span(std::time::Duration::from_secs(600))
}

mod short_forms {
    //! Keys that may be written in a short and a long form. Written out rather than `untagged`, whose messages say nothing.

    use std::fmt;

    use serde::{
        Deserialize, Deserializer,
        de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
    };

    use super::{ColumnSpec, ColumnType, Metadata, Model};

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct LongColumn {
        #[serde(default)]
        from: Option<String>,
        #[serde(default, rename = "type")]
        column_type: Option<ColumnType>,
        #[serde(default)]
        metadata: Option<Metadata>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct LongModel {
        path: String,
        #[serde(default)]
        overwrite: bool,
    }

    struct ColumnVisitor;

    impl<'de> Visitor<'de> for ColumnVisitor {
        type Value = ColumnSpec;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a type such as `float32`, or a mapping with `from`, `type` or `metadata`")
        }

        fn visit_unit<E: de::Error>(self) -> Result<ColumnSpec, E> {
            Ok(ColumnSpec::default())
        }

        fn visit_none<E: de::Error>(self) -> Result<ColumnSpec, E> {
            Ok(ColumnSpec::default())
        }

        fn visit_str<E: de::Error>(self, name: &str) -> Result<ColumnSpec, E> {
            if name.is_empty() || name == "~" || name == "null" {
                return Ok(ColumnSpec::default());
            }
            let column_type = ColumnType::from_name(name).ok_or_else(|| {
                E::custom(format!(
                    "`{name}` is not a type; allowed are {}",
                    crate::schema::COLUMN_TYPES.map(ColumnType::name).join(", ")
                ))
            })?;
            Ok(ColumnSpec { column_type: Some(column_type), ..ColumnSpec::default() })
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ColumnSpec, A::Error> {
            let long = LongColumn::deserialize(MapAccessDeserializer::new(map))?;
            Ok(ColumnSpec { from: long.from, column_type: long.column_type, metadata: long.metadata })
        }
    }

    impl<'de> Deserialize<'de> for ColumnSpec {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(ColumnVisitor)
        }
    }

    struct ModelVisitor;

    impl<'de> Visitor<'de> for ModelVisitor {
        type Value = Model;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a path, or a mapping with `path` and `overwrite`")
        }

        fn visit_str<E: de::Error>(self, path: &str) -> Result<Model, E> {
            Ok(Model { path: path.to_owned(), overwrite: false })
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Model, A::Error> {
            let long = LongModel::deserialize(MapAccessDeserializer::new(map))?;
            Ok(Model { path: long.path, overwrite: long.overwrite })
        }
    }

    impl<'de> Deserialize<'de> for Model {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(ModelVisitor)
        }
    }
}
