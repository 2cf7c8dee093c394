//! Finding the files of a stream, for the core to cut into splits.

use tokio::sync::mpsc;
use yarn_ml_am_core::{Event, SourceFile};
use yarn_ml_fs::FileSystems;

/// Files told at once.
const PAGE: usize = 1000;

/// Lists a stream's files and tells them page by page. A listing that fails is an event, not a shorter list.
pub async fn discover(files: &FileSystems, stream: &str, uri: &str, events: &mpsc::Sender<Event>) {
    let ended = match list(files, stream, uri, events).await {
        Ok(()) => Event::DiscoveryFinished { stream: stream.to_owned() },
        Err(error) => Event::DiscoveryFailed { stream: stream.to_owned(), message: error.to_string() },
    };
    // The driver is gone only when the process ends.
    let _ = events.send(ended).await;
}

async fn list(files: &FileSystems, stream: &str, uri: &str, events: &mpsc::Sender<Event>) -> yarn_ml_fs::Result<()> {
    let (files, location) = files.resolve(uri)?;
    let found = yarn_ml_fs::expand(&*files, &location.path).await?;
    for page in found.chunks(PAGE) {
        let page = page
            .iter()
            .map(|file| SourceFile {
                uri: format!("{}{}", files.uri(), file.path),
                length: file.length,
                modification_time: file.modification_time,
            })
            .collect();
        let _ = events.send(Event::FilesDiscovered { stream: stream.to_owned(), files: page }).await;
    }
    Ok(())
}
