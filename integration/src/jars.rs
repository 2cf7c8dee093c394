//! Hadoop's jars, fetched once a version.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

/// The folder of jars of a version, complete.
pub fn fetch(root: &Path, version: &str) -> Result<PathBuf> {
    let home = root.join("target/hadoop").join(version);
    let lib = home.join("lib");
    let complete = home.join("complete");
    fs::create_dir_all(&home).with_context(|| format!("failed to make {}", home.display()))?;
    let lock = File::create(home.join("lock")).context("failed to make a lock file")?;
    let _held = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, e)| e).context("failed to lock the jars")?;
    if complete.exists() {
        return Ok(lib);
    }
    let status = Command::new("mvn")
        .args(["-B", "-q", "-f"])
        .arg(root.join("integration/fixture/pom.xml"))
        .arg("dependency:copy-dependencies")
        .arg("-DincludeScope=runtime")
        .arg(format!("-DoutputDirectory={}", lib.display()))
        .arg(format!("-Dhadoop.version={version}"))
        .stdout(std::process::Stdio::null())
        .status()
        .context("failed to run mvn; the test cluster needs Maven and JDK 17")?;
    if !status.success() {
        bail!("mvn could not fetch Hadoop {version}: {status}");
    }
    File::create(complete).context("failed to mark the jars as complete")?;
    Ok(lib)
}
