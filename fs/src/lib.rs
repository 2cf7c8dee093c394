//! Files, on HDFS or on the local disk, behind one trait: our own time limit on every call, errors classified, and
//! write-temporary-then-rename for everything that must appear whole. The only crate that names hdfs-native.

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod glob;
mod hdfs;
mod local;
mod location;
mod publish;
mod registry;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use error::{ErrorKind, FsError};
pub use glob::{expand, is_pattern};
pub use hdfs::Hdfs;
pub use local::LocalDisk;
pub use location::{Base, Location, parent};
pub use publish::{Attempt, PublishedTree, download_tree, next_version, publish_file, publish_tree};
pub use registry::{FileSystems, Timeouts};

pub type Result<T, E = FsError> = std::result::Result<T, E>;

/// Absolute paths, without scheme and authority, everywhere.
#[async_trait]
pub trait FileSystem: Send + Sync {
    /// `hdfs://namenode:8020` or `file://`; with a path behind it, a URI.
    fn uri(&self) -> &str;

    async fn status(&self, path: &str) -> Result<FileStatus>;

    /// The children of a folder, in no order, fetched page by page as the stream is read.
    fn list<'a>(&'a self, path: &str) -> BoxStream<'a, Result<FileStatus>>;

    async fn open(&self, path: &str) -> Result<Box<dyn ReadAt>>;

    async fn create(&self, path: &str, options: CreateOptions) -> Result<Box<dyn Write>>;

    /// Also the missing folders above. An existing one stays as it is.
    async fn mkdirs(&self, path: &str, permission: u16) -> Result<()>;

    /// Without `overwrite` an existing target is [`ErrorKind::AlreadyExists`], and both stay as they were.
    async fn rename(&self, from: &str, to: &str, overwrite: bool) -> Result<()>;

    /// False when there was nothing.
    async fn delete(&self, path: &str, recursive: bool) -> Result<bool>;

    /// Exactly this, whatever the umask.
    async fn set_permission(&self, path: &str, permission: u16) -> Result<()>;
}

/// An open file of known length.
#[async_trait]
pub trait ReadAt: Send + Sync {
    fn length(&self) -> u64;

    /// All of it, or an error: a shorter file is [`ErrorKind::Changed`].
    async fn read_range(&self, offset: u64, length: usize) -> Result<Bytes>;

    /// The same range in pieces, as they arrive.
    fn stream(&self, offset: u64, length: u64) -> BoxStream<'static, Result<Bytes>>;
}

/// Dropped without `close`, the file is of unknown length: write under a temporary name, see [`publish_file`].
#[async_trait]
pub trait Write: Send {
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    async fn close(self: Box<Self>) -> Result<()>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStatus {
    pub path: String,
    /// Bytes; 0 for a folder.
    pub length: u64,
    /// Milliseconds since the epoch.
    pub modification_time: i64,
    pub is_dir: bool,
    pub owner: String,
    pub group: String,
    pub permission: u16,
}

#[derive(Clone, Copy, Debug)]
pub struct CreateOptions {
    pub overwrite: bool,
    pub permission: u16,
    /// Of the file's blocks; the file system's default when absent.
    pub replication: Option<u32>,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self { overwrite: false, permission: 0o644, replication: None }
    }
}

/// A whole small file, refused when it is larger than `limit` bytes.
pub async fn read_small(files: &dyn FileSystem, path: &str, limit: u64) -> Result<Bytes> {
    let file = files.open(path).await?;
    if file.length() > limit {
        return Err(FsError::new(
            ErrorKind::Other,
            "read",
            path,
            format!("the file has {} bytes; allowed are {limit}", file.length()),
        ));
    }
    file.read_range(0, file.length() as usize).await
}
