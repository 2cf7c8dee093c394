//! What travels with a job: the program, its files, its Python.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Result;
use yarn_ml_protocol::{exit::ExitCode, job::Program, plan::ResourceKind};

use crate::failure::{OrExit, failure};

/// A file or an archive, under the name that it has in containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipped {
    pub name: String,
    pub source: Source,
    pub kind: ResourceKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, as it is.
    File(PathBuf),
    /// A folder, packed on the way.
    Folder(PathBuf),
}

/// Names which containers have for themselves.
const RESERVED: [&str; 6] =
    ["plan.json", "hadoop-conf.xml", "yarn-ml-agent", "yarn-ml-am", "yarn-ml-python", "container_tokens"];

/// Everything that the programs name, relative to the job file's folder.
pub fn shipped(folder: &Path, programs: &[Program]) -> Result<Vec<Shipped>> {
    let mut found: BTreeMap<String, Shipped> = BTreeMap::new();
    for program in programs {
        let python = program.python.iter().filter(|python| is_archive(python));
        for path in program.entry.iter().chain(&program.files).chain(python) {
            let shipped = look_at(folder, path)?;
            if let Some(other) = found.get(&shipped.name)
                && *other != shipped
            {
                return Err(failure(
                    ExitCode::BadInput,
                    format!(
                        "two different files would be called `{}` in the container: {path} is one of them",
                        shipped.name
                    ),
                ));
            }
            found.insert(shipped.name.clone(), shipped);
        }
    }
    Ok(found.into_values().collect())
}

fn look_at(folder: &Path, path: &str) -> Result<Shipped> {
    let full = folder.join(path);
    let full = full.canonicalize().or_exit(ExitCode::BadInput, || {
        format!("`{path}` is not beside the job file (looked for {})", full.display())
    })?;
    let name = full.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if RESERVED.contains(&name.as_str()) || name.is_empty() {
        return Err(failure(ExitCode::BadInput, format!("`{path}`: the name `{name}` is taken in containers")));
    }
    if full.is_dir() {
        return Ok(Shipped { name, source: Source::Folder(full), kind: ResourceKind::Archive });
    }
    let kind = if is_archive(&name) { ResourceKind::Archive } else { ResourceKind::File };
    Ok(Shipped { name, source: Source::File(full), kind })
}

fn is_archive(path: &str) -> bool {
    [".tar.gz", ".tgz", ".zip"].iter().any(|suffix| path.ends_with(suffix))
}

/// The same folder gives the same bytes, so that its content can be its address.
pub fn pack(folder: &Path) -> Result<Vec<u8>> {
    let describe = || format!("failed to pack {}", folder.display());
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    tar.mode(tar::HeaderMode::Deterministic);
    add(&mut tar, folder, Path::new("")).or_exit(ExitCode::BadInput, describe)?;
    tar.into_inner().and_then(flate2::write::GzEncoder::finish).or_exit(ExitCode::BadInput, describe)
}

fn add<W: Write>(tar: &mut tar::Builder<W>, folder: &Path, name: &Path) -> std::io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = name.join(entry.file_name());
        if entry.file_name() == "__pycache__" {
            continue;
        }
        if entry.path().is_dir() {
            add(tar, &entry.path(), &name)?;
        } else {
            tar.append_path_with_name(entry.path(), name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_beside_the_job_file_and_missing_ones_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("train.py"), "x").unwrap();
        std::fs::create_dir(dir.path().join("lib")).unwrap();
        std::fs::write(dir.path().join("lib/a.py"), "x").unwrap();
        let program = Program { entry: Some("train.py".into()), files: vec!["lib".into()], ..Program::default() };
        let found = shipped(dir.path(), &[program.clone(), program]).unwrap();
        let names: Vec<(&str, ResourceKind)> = found.iter().map(|s| (s.name.as_str(), s.kind)).collect();
        assert_eq!(names, [("lib", ResourceKind::Archive), ("train.py", ResourceKind::File)]);
        assert_eq!(pack(&dir.path().join("lib")).unwrap(), pack(&dir.path().join("lib")).unwrap());
        let missing = Program { entry: Some("gone.py".into()), ..Program::default() };
        let error = shipped(dir.path(), &[missing]).unwrap_err().to_string();
        assert!(error.contains("`gone.py` is not beside the job file"), "{error}");
    }
}
