//! One file system an authority, made when it is first needed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{FileSystem, FsError, Hdfs, LocalDisk, Location, Result};

/// hdfs-native waits without end for a frozen NameNode, so every call has a limit of ours.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Stat, list, rename, delete and the like.
    pub metadata: Duration,
    /// Until the next bytes of a file arrive.
    pub read: Duration,
    /// Until bytes are taken, and until a file is closed.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { metadata: Duration::from_secs(12), read: Duration::from_secs(60), write: Duration::from_secs(60) }
    }
}

/// Hadoop's resolved configuration, the user, and the file systems made from them so far.
pub struct FileSystems {
    configuration: BTreeMap<String, String>,
    user: Option<String>,
    timeouts: Timeouts,
    made: Mutex<BTreeMap<String, Arc<dyn FileSystem>>>,
}

impl FileSystems {
    /// `configuration`: resolved keys; nothing else is read, no `HADOOP_CONF_DIR`.
    pub fn new(configuration: BTreeMap<String, String>, user: Option<String>, timeouts: Timeouts) -> Self {
        Self { configuration, user, timeouts, made: Mutex::new(BTreeMap::new()) }
    }

    /// The file system of a location.
    pub fn at(&self, location: &Location) -> Result<Arc<dyn FileSystem>> {
        // A panic while the map is held is a panic in `insert`: the map is sound.
        let mut made = self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(found) = made.get(&location.file_system) {
            return Ok(found.clone());
        }
        let new: Arc<dyn FileSystem> = if location.file_system == "file://" {
            Arc::new(LocalDisk)
        } else {
            Arc::new(Hdfs::connect(&location.file_system, &self.configuration, self.user.as_deref(), self.timeouts)?)
        };
        made.insert(location.file_system.clone(), new.clone());
        Ok(new)
    }

    /// Parses a URI and finds its file system.
    pub fn resolve(&self, uri: &str) -> Result<(Arc<dyn FileSystem>, Location), FsError> {
        let location = Location::parse(uri)?;
        Ok((self.at(&location)?, location))
    }
}
