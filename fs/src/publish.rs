//! Appearing whole: written under a temporary name which carries the attempt, then renamed once.

use std::path::Path;

use bytes::Bytes;
use futures::StreamExt;

use crate::{CreateOptions, ErrorKind, FileSystem, FsError, LocalDisk, Location, Result, local::piece, parent};

/// Bytes read and written at once.
const PIECE: usize = 1 << 20;

/// Goes into temporary names, so that attempts do not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt(pub String);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishedTree {
    pub files: u64,
    pub bytes: u64,
}

impl Attempt {
    fn temporary(&self, path: &str) -> String {
        let name = path.rsplit('/').next().unwrap_or_default();
        format!("{}/.{name}.{}.tmp", parent(path).trim_end_matches('/'), self.0)
    }
}

/// A file that appears with all of `bytes`, or not at all. An existing one is [`ErrorKind::AlreadyExists`] unless `overwrite`.
pub async fn publish_file(
    files: &dyn FileSystem,
    path: &str,
    bytes: Bytes,
    permission: u16,
    overwrite: bool,
    attempt: &Attempt,
) -> Result<()> {
    let temporary = attempt.temporary(path);
    let written = async {
        let length = bytes.len() as u64;
        let options = CreateOptions { overwrite: true, permission, ..CreateOptions::default() };
        let mut file = files.create(&temporary, options).await?;
        file.write(bytes).await?;
        file.close().await?;
        files.set_permission(&temporary, permission).await?;
        rename_into_place(files, &temporary, path, overwrite, Expected::File(length)).await
    };
    clean(files, &temporary, written.await).await
}

/// A local folder, or file, as a folder, or file, elsewhere. `to` must not exist unless `overwrite`, which replaces it.
pub async fn publish_tree(
    from: &Path,
    files: &dyn FileSystem,
    to: &str,
    overwrite: bool,
    attempt: &Attempt,
) -> Result<PublishedTree> {
    let temporary = attempt.temporary(to);
    let published = async {
        files.delete(&temporary, true).await?;
        let done = upload(from, files, &temporary).await?;
        if overwrite {
            files.delete(to, true).await?;
        }
        rename_into_place(files, &temporary, to, false, Expected::Any).await?;
        Ok(done)
    };
    clean(files, &temporary, published.await).await
}

/// The reverse: a folder of another file system to the local disk, complete or not at all.
pub async fn download_tree(files: &dyn FileSystem, from: &str, to: &Path) -> Result<PublishedTree> {
    let target = to.to_string_lossy().into_owned();
    let temporary = Attempt("download".into()).temporary(&target);
    let fetched = async {
        LocalDisk.delete(&temporary, true).await?;
        let mut done = PublishedTree::default();
        let mut left = vec![(from.to_owned(), temporary.clone())];
        while let Some((source, target)) = left.pop() {
            let status = files.status(&source).await?;
            if status.is_dir {
                LocalDisk.mkdirs(&target, 0o755).await?;
                let mut children = files.list(&source);
                while let Some(child) = children.next().await.transpose()? {
                    let name = child.path.rsplit('/').next().unwrap_or_default();
                    left.push((child.path.clone(), format!("{target}/{name}")));
                }
                continue;
            }
            let source = files.open(&source).await?;
            let mut file = LocalDisk.create(&target, CreateOptions::default()).await?;
            let mut pieces = source.stream(0, source.length());
            while let Some(bytes) = pieces.next().await.transpose()? {
                file.write(bytes).await?;
            }
            file.close().await?;
            done.files += 1;
            done.bytes += status.length;
        }
        LocalDisk.rename(&temporary, &target, false).await?;
        Ok(done)
    };
    clean(&LocalDisk, &temporary, fetched.await).await
}

async fn upload(from: &Path, files: &dyn FileSystem, to: &str) -> Result<PublishedTree> {
    let mut done = PublishedTree::default();
    let mut left = vec![(from.to_string_lossy().into_owned(), to.to_owned())];
    while let Some((source, target)) = left.pop() {
        let status = LocalDisk.status(&source).await?;
        if status.is_dir {
            files.mkdirs(&target, 0o755).await?;
            let mut children = LocalDisk.list(&source);
            while let Some(child) = children.next().await.transpose()? {
                let name = child.path.rsplit('/').next().unwrap_or_default().to_owned();
                left.push((child.path, format!("{target}/{name}")));
            }
            continue;
        }
        let mut file = files.create(&target, CreateOptions::default()).await?;
        let mut at = 0;
        while at < status.length {
            let now = (status.length - at).min(PIECE as u64) as usize;
            file.write(piece(&source, at, now).await?).await?;
            at += now as u64;
        }
        file.close().await?;
        let arrived = files.status(&target).await?.length;
        if arrived != status.length {
            return Err(FsError::new(
                ErrorKind::Changed,
                "upload",
                &target,
                format!("{arrived} of {} bytes arrived; the local file may have changed", status.length),
            ));
        }
        done.files += 1;
        done.bytes += status.length;
    }
    Ok(done)
}

enum Expected {
    File(u64),
    Any,
}

/// The answer to a rename may be lost, and hdfs-native does not ask again: then the target tells.
async fn rename_into_place(
    files: &dyn FileSystem,
    temporary: &str,
    path: &str,
    overwrite: bool,
    expected: Expected,
) -> Result<()> {
    let Err(error) = files.rename(temporary, path, overwrite).await else {
        return Ok(());
    };
    if !error.is_retriable() {
        return Err(error);
    }
    let gone = matches!(files.status(temporary).await, Err(e) if e.is_not_found());
    let arrived = files.status(path).await.is_ok_and(|found| match expected {
        Expected::File(length) => found.length == length,
        Expected::Any => true,
    });
    if gone && arrived { Ok(()) } else { Err(error) }
}

/// After a failure the temporary name is removed, as far as that is possible; the first error is told.
async fn clean<T>(files: &dyn FileSystem, temporary: &str, result: Result<T>) -> Result<T> {
    if result.is_err()
        && let Err(error) = files.delete(temporary, true).await
    {
        tracing::debug!(%error, "a temporary name was left behind");
    }
    result
}

/// The final place with `{version}` replaced by the first number that is free.
pub async fn next_version(files: &dyn FileSystem, location: &Location) -> Result<Location> {
    const MARK: &str = "{version}";
    if !location.path.contains(MARK) {
        return Ok(location.clone());
    }
    for version in 1u64.. {
        let path = location.path.replace(MARK, &version.to_string());
        match files.status(&path).await {
            Err(error) if error.is_not_found() => {
                return Ok(Location { path, ..location.clone() });
            }
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Err(FsError::new(ErrorKind::Other, "number", &location.path, "there is no free version"))
}
