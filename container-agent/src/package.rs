//! The `yarn_ml` package and its libraries, carried by the agent.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

static PACKAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/yarn_ml.tar.gz"));

/// Unpacks it below `work_dir`; returns the folder for `PYTHONPATH`.
pub fn unpack(work_dir: &Path) -> Result<PathBuf> {
    let folder = work_dir.join("yarn-ml-python");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    tar::Archive::new(flate2::read::GzDecoder::new(PACKAGE))
        .unpack(&folder)
        .with_context(|| format!("failed to unpack yarn_ml into {}", folder.display()))?;
    Ok(folder)
}
