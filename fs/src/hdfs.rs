//! HDFS through hdfs-native, with what it lacks: limits on every call, panics as errors, one configuration.

use std::{collections::BTreeMap, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream::BoxStream};
use hdfs_native::{
    Client, ClientBuilder, HdfsError, WriteOptions,
    file::{FileReader, FileWriter},
};

use crate::{CreateOptions, ErrorKind, FileStatus, FileSystem, FsError, ReadAt, Result, Timeouts, Write};

pub struct Hdfs {
    uri: String,
    client: Client,
    timeouts: Timeouts,
}

/// Bounds the client's own retries, which otherwise outlast two minutes against a NameNode that refuses connections.
const CLIENT_DEFAULTS: [(&str, &str); 4] = [
    ("dfs.client.failover.max.attempts", "3"),
    ("dfs.client.failover.sleep.base.millis", "200"),
    ("dfs.client.failover.sleep.max.millis", "2000"),
    ("dfs.client.socket-timeout", "30000"),
];

/// No folder has this name, so that hdfs-native reads no configuration of its own accord.
const NO_CONFIGURATION: &str = "/nonexistent/yarn-ml";

impl Hdfs {
    pub fn connect(
        uri: &str,
        configuration: &BTreeMap<String, String>,
        user: Option<&str>,
        timeouts: Timeouts,
    ) -> Result<Self> {
        let mut keys: BTreeMap<String, String> = configuration
            .iter()
            .filter(|(key, _)| key.starts_with("dfs.") || key.starts_with("fs.") || key.starts_with("hadoop."))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        for (key, value) in CLIENT_DEFAULTS {
            keys.insert(key.to_owned(), value.to_owned());
        }
        let mut builder = ClientBuilder::new().with_url(uri).with_config_dir(NO_CONFIGURATION).with_config(keys);
        if let Some(user) = user {
            builder = builder.with_user(user);
        }
        let client = builder.build().map_err(|error| FsError::from_hdfs("connect to", uri, error))?;
        Ok(Self { uri: uri.to_owned(), client, timeouts })
    }

    async fn metadata<T>(
        &self,
        operation: &'static str,
        path: &str,
        call: impl Future<Output = hdfs_native::Result<T>> + Send,
    ) -> Result<T> {
        bounded(operation, &self.full(path), self.timeouts.metadata, call).await
    }

    fn full(&self, path: &str) -> String {
        format!("{}{path}", self.uri)
    }
}

/// One call of hdfs-native: in time, and without its panics.
async fn bounded<T>(
    operation: &'static str,
    path: &str,
    limit: Duration,
    call: impl Future<Output = hdfs_native::Result<T>> + Send,
) -> Result<T> {
    let caught = AssertUnwindSafe(call).catch_unwind();
    match tokio::time::timeout(limit, caught).await {
        Err(_) => Err(FsError::new(ErrorKind::Timeout, operation, path, format!("no answer within {limit:?}"))),
        Ok(Err(_)) => Err(FsError::new(ErrorKind::Other, operation, path, "the HDFS client panicked")),
        Ok(Ok(answer)) => answer.map_err(|error: HdfsError| FsError::from_hdfs(operation, path, error)),
    }
}

fn status(found: hdfs_native::client::FileStatus) -> FileStatus {
    FileStatus {
        path: found.path,
        length: found.length as u64,
        modification_time: i64::try_from(found.modification_time).unwrap_or(i64::MAX),
        is_dir: found.isdir,
        owner: found.owner,
        group: found.group,
        permission: found.permission,
    }
}

#[async_trait]
impl FileSystem for Hdfs {
    fn uri(&self) -> &str {
        &self.uri
    }

    async fn status(&self, path: &str) -> Result<FileStatus> {
        self.metadata("look at", path, self.client.get_file_info(path)).await.map(status)
    }

    fn list<'a>(&'a self, path: &str) -> BoxStream<'a, Result<FileStatus>> {
        let pages = Arc::new(self.client.list_status_iter(path, false));
        let full = self.full(path);
        let limit = self.timeouts.metadata;
        futures::stream::unfold(false, move |over| {
            let (pages, full) = (pages.clone(), full.clone());
            async move {
                if over {
                    return None;
                }
                let next = bounded("list", &full, limit, async { pages.next().await.transpose() }).await;
                match next {
                    Ok(None) => None,
                    Ok(Some(found)) => Some((Ok(status(found)), false)),
                    Err(error) => Some((Err(error), true)),
                }
            }
        })
        .boxed()
    }

    async fn open(&self, path: &str) -> Result<Box<dyn ReadAt>> {
        let reader = self.metadata("open", path, self.client.read(path)).await?;
        Ok(Box::new(Reader { reader: Arc::new(reader), path: self.full(path), limit: self.timeouts.read }))
    }

    async fn create(&self, path: &str, options: CreateOptions) -> Result<Box<dyn Write>> {
        let mut write = WriteOptions::default()
            .overwrite(options.overwrite)
            .permission(u32::from(options.permission))
            .create_parent(true);
        write.replication = options.replication;
        let writer = self.metadata("create", path, self.client.create(path, write)).await?;
        Ok(Box::new(Writer { writer, path: self.full(path), limit: self.timeouts.write }))
    }

    async fn mkdirs(&self, path: &str, permission: u16) -> Result<()> {
        self.metadata("make the folder", path, self.client.mkdirs(path, u32::from(permission), true)).await
    }

    async fn rename(&self, from: &str, to: &str, overwrite: bool) -> Result<()> {
        self.metadata("rename", from, self.client.rename(from, to, overwrite))
            .await
            .map_err(|error| FsError { message: format!("to {to}: {}", error.message), ..error })
    }

    async fn delete(&self, path: &str, recursive: bool) -> Result<bool> {
        self.metadata("delete", path, self.client.delete(path, recursive)).await
    }

    async fn set_permission(&self, path: &str, permission: u16) -> Result<()> {
        self.metadata("set the permission of", path, self.client.set_permission(path, u32::from(permission))).await
    }
}

struct Reader {
    reader: Arc<FileReader>,
    path: String,
    limit: Duration,
}

#[async_trait]
impl ReadAt for Reader {
    fn length(&self) -> u64 {
        self.reader.file_length() as u64
    }

    async fn read_range(&self, offset: u64, length: usize) -> Result<Bytes> {
        within(&self.path, offset, length as u64, self.length())?;
        let bytes = bounded("read", &self.path, self.limit, self.reader.read_range(offset as usize, length)).await?;
        if bytes.len() != length {
            return Err(FsError::new(
                ErrorKind::Changed,
                "read",
                &self.path,
                format!("{} of {length} bytes came from byte {offset} on", bytes.len()),
            ));
        }
        Ok(bytes)
    }

    fn stream(&self, offset: u64, length: u64) -> BoxStream<'static, Result<Bytes>> {
        if let Err(error) = within(&self.path, offset, length, self.length()) {
            return futures::stream::once(async { Err(error) }).boxed();
        }
        let pieces = self.reader.read_range_stream(offset as usize, length as usize).boxed();
        let (path, limit) = (self.path.clone(), self.limit);
        futures::stream::unfold((pieces, false), move |(mut pieces, over)| {
            let path = path.clone();
            async move {
                if over {
                    return None;
                }
                let next = bounded("read", &path, limit, async { pieces.next().await.transpose() }).await;
                match next {
                    Ok(None) => None,
                    Ok(Some(bytes)) => Some((Ok(bytes), (pieces, false))),
                    Err(error) => Some((Err(error), (pieces, true))),
                }
            }
        })
        .boxed()
    }
}

/// hdfs-native panics beyond the end.
pub(crate) fn within(path: &str, offset: u64, length: u64, file: u64) -> Result<()> {
    if offset.checked_add(length).is_some_and(|end| end <= file) {
        return Ok(());
    }
    Err(FsError::new(
        ErrorKind::Changed,
        "read",
        path,
        format!("bytes {offset} to {} are wanted, and the file has {file}", offset.saturating_add(length)),
    ))
}

struct Writer {
    writer: FileWriter,
    path: String,
    limit: Duration,
}

#[async_trait]
impl Write for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        bounded("write", &self.path, self.limit, self.writer.write_bytes(bytes)).await.map(drop)
    }

    async fn close(mut self: Box<Self>) -> Result<()> {
        bounded("close", &self.path, self.limit, self.writer.close()).await
    }
}
