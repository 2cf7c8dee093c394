//! The local disk, with HDFS's semantics.

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};

use crate::{CreateOptions, ErrorKind, FileStatus, FileSystem, FsError, ReadAt, Result, Write, hdfs::within};

/// Bytes of one piece of a stream.
const PIECE: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, Default)]
pub struct LocalDisk;

/// File operations block: they run where blocking is allowed.
async fn blocking<T: Send + 'static>(
    operation: &'static str,
    path: &str,
    call: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let owned = path.to_owned();
    let answer = tokio::task::spawn_blocking(move || call(Path::new(&owned))).await;
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(FsError::from_io(operation, path, &error)),
        Err(error) => Err(FsError::new(ErrorKind::Other, operation, path, error)),
    }
}

fn status_of(path: String, found: &fs::Metadata) -> FileStatus {
    FileStatus {
        path,
        length: if found.is_dir() { 0 } else { found.len() },
        modification_time: found.mtime() * 1000 + found.mtime_nsec() / 1_000_000,
        is_dir: found.is_dir(),
        owner: found.uid().to_string(),
        group: found.gid().to_string(),
        permission: (found.mode() & 0o7777) as u16,
    }
}

#[async_trait]
impl FileSystem for LocalDisk {
    fn uri(&self) -> &str {
        "file://"
    }

    async fn status(&self, path: &str) -> Result<FileStatus> {
        let found = blocking("look at", path, |path| fs::metadata(path)).await?;
        Ok(status_of(path.to_owned(), &found))
    }

    fn list<'a>(&'a self, path: &str) -> BoxStream<'a, Result<FileStatus>> {
        let path = path.to_owned();
        let opened = async move {
            let folder = path.clone();
            let entries = blocking("list", &path, |path| fs::read_dir(path)).await?;
            Ok::<_, FsError>((folder, entries))
        };
        futures::stream::once(opened)
            .flat_map(|opened| match opened {
                Err(error) => futures::stream::once(async { Err(error) }).boxed(),
                Ok((folder, entries)) => futures::stream::iter(entries.filter_map(move |entry| {
                    let found = entry.and_then(|entry| {
                        let path = format!("{}/{}", folder.trim_end_matches('/'), entry.file_name().to_string_lossy());
                        Ok((path, fs::metadata(entry.path())?))
                    });
                    match found {
                        Ok((path, found)) => Some(Ok(status_of(path, &found))),
                        // Gone since the folder was read.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                        Err(error) => Some(Err(FsError::from_io("list", &folder, &error))),
                    }
                }))
                .boxed(),
            })
            .boxed()
    }

    async fn open(&self, path: &str) -> Result<Box<dyn ReadAt>> {
        let opened = blocking("open", path, |path| {
            let file = fs::File::open(path)?;
            let found = file.metadata()?;
            if found.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            Ok((file, found.len()))
        });
        let (file, length) = opened.await?;
        Ok(Box::new(Reader { file: Arc::new(file), length, path: path.to_owned() }))
    }

    async fn create(&self, path: &str, options: CreateOptions) -> Result<Box<dyn Write>> {
        let file = blocking("create", path, move |path| {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut open = fs::OpenOptions::new();
            open.write(true).mode(u32::from(options.permission));
            if options.overwrite {
                open.create(true).truncate(true);
            } else {
                open.create_new(true);
            }
            let file = open.open(path)?;
            // The umask has taken part in `mode`.
            file.set_permissions(fs::Permissions::from_mode(u32::from(options.permission)))?;
            Ok(file)
        });
        Ok(Box::new(Writer { file: Some(file.await?), path: path.to_owned() }))
    }

    async fn mkdirs(&self, path: &str, permission: u16) -> Result<()> {
        blocking("make the folder", path, move |path| {
            if path.is_dir() {
                return Ok(());
            }
            fs::DirBuilder::new().recursive(true).mode(u32::from(permission)).create(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(u32::from(permission)))
        })
        .await
    }

    async fn rename(&self, from: &str, to: &str, overwrite: bool) -> Result<()> {
        let target = to.to_owned();
        let renamed = blocking("rename", from, move |from| {
            let to = Path::new(&target);
            if overwrite {
                return fs::rename(from, to);
            }
            if from.is_dir() {
                // `rename` replaces an empty folder only, and the check keeps even that one.
                if to.exists() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                return fs::rename(from, to);
            }
            // A link refuses an existing name in one step, on every kernel.
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        });
        renamed.await.map_err(|error| FsError { message: format!("to {to}: {}", error.message), ..error })
    }

    async fn delete(&self, path: &str, recursive: bool) -> Result<bool> {
        blocking("delete", path, move |path| {
            let removed = match fs::symlink_metadata(path) {
                Ok(found) if !found.is_dir() => fs::remove_file(path),
                Ok(_) if recursive => fs::remove_dir_all(path),
                Ok(_) => fs::remove_dir(path),
                Err(error) => Err(error),
            };
            match removed {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn set_permission(&self, path: &str, permission: u16) -> Result<()> {
        blocking("set the permission of", path, move |path| {
            fs::set_permissions(path, fs::Permissions::from_mode(u32::from(permission)))
        })
        .await
    }
}

struct Reader {
    file: Arc<fs::File>,
    length: u64,
    path: String,
}

fn read_exactly(file: &fs::File, offset: u64, length: usize) -> io::Result<Bytes> {
    use std::os::unix::fs::FileExt;
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, offset)?;
    Ok(buffer.into())
}

#[async_trait]
impl ReadAt for Reader {
    fn length(&self) -> u64 {
        self.length
    }

    async fn read_range(&self, offset: u64, length: usize) -> Result<Bytes> {
        within(&self.path, offset, length as u64, self.length)?;
        let file = self.file.clone();
        blocking("read", &self.path, move |_| read_exactly(&file, offset, length)).await
    }

    fn stream(&self, offset: u64, length: u64) -> BoxStream<'static, Result<Bytes>> {
        if let Err(error) = within(&self.path, offset, length, self.length) {
            return futures::stream::once(async { Err(error) }).boxed();
        }
        let (file, path) = (self.file.clone(), self.path.clone());
        futures::stream::unfold(offset, move |at| {
            let (file, path) = (file.clone(), path.clone());
            async move {
                let left = offset + length - at;
                if left == 0 {
                    return None;
                }
                let now = left.min(PIECE) as usize;
                let read = blocking("read", &path, move |_| read_exactly(&file, at, now)).await;
                // After an error the stream is over.
                let next = if read.is_ok() { at + now as u64 } else { offset + length };
                Some((read, next))
            }
        })
        .boxed()
    }
}

struct Writer {
    file: Option<fs::File>,
    path: String,
}

#[async_trait]
impl Write for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let Some(mut file) = self.file.take() else {
            return Err(FsError::new(ErrorKind::Other, "write", &self.path, "an earlier write failed"));
        };
        let file = blocking("write", &self.path, move |_| {
            file.write_all(&bytes)?;
            Ok(file)
        });
        self.file = Some(file.await?);
        Ok(())
    }

    async fn close(mut self: Box<Self>) -> Result<()> {
        let Some(file) = self.file.take() else {
            return Err(FsError::new(ErrorKind::Other, "close", &self.path, "an earlier write failed"));
        };
        blocking("close", &self.path, move |_| file.sync_all()).await
    }
}

/// Reads a local file for an upload, piece by piece.
pub(crate) async fn piece(path: &str, offset: u64, length: usize) -> Result<Bytes> {
    blocking("read", path, move |path| {
        let mut file = fs::File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut buffer = vec![0; length];
        file.read_exact(&mut buffer)?;
        Ok(buffer.into())
    })
    .await
}
