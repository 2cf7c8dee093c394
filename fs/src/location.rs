//! From what a job file says to a place: Hadoop's `Path.makeQualified`.

use std::fmt;

use crate::{ErrorKind, FsError, Result};

/// A file system and an absolute path on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// `hdfs://namenode:8020` or `file://`.
    pub file_system: String,
    pub path: String,
}

/// What paths without scheme, and relative ones, are relative to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// `hdfs://namenode:8020` or `file://`.
    pub file_system: String,
    /// Absolute.
    pub working_dir: String,
}

impl Base {
    /// `default_fs` as Hadoop writes it: `hdfs://namenode:8020`, `hdfs://namenode:8020/`, `file:///`.
    pub fn new(default_fs: &str, working_dir: &str) -> Result<Self> {
        let (file_system, _) = split_uri(default_fs)?
            .ok_or_else(|| invalid(default_fs, "a file system needs a scheme; allowed are hdfs:// and file://"))?;
        let working_dir =
            normalize(working_dir).ok_or_else(|| invalid(working_dir, "the working directory must be absolute"))?;
        Ok(Self { file_system, working_dir })
    }

    pub fn qualify(&self, path: &str) -> Result<Location> {
        if path.trim().is_empty() {
            return Err(invalid(path, "the path is empty"));
        }
        if path.contains('\0') {
            return Err(invalid(path, "the path holds a NUL"));
        }
        if let Some((file_system, rest)) = split_uri(path)? {
            let path = normalize(rest).ok_or_else(|| invalid(path, "a path behind a scheme must be absolute"))?;
            return Ok(Location { file_system, path });
        }
        let joined = match path.strip_prefix('/') {
            Some(_) => path.to_owned(),
            None => format!("{}/{path}", self.working_dir),
        };
        let normalized = normalize(&joined).ok_or_else(|| invalid(path, "the path leaves the root"))?;
        Ok(Location { file_system: self.file_system.clone(), path: normalized })
    }
}

impl Location {
    /// Reads what [`Location`] prints.
    pub fn parse(uri: &str) -> Result<Self> {
        let (file_system, path) =
            split_uri(uri)?.ok_or_else(|| invalid(uri, "a URI needs a scheme; allowed are hdfs:// and file://"))?;
        let path = normalize(path).ok_or_else(|| invalid(uri, "a path behind a scheme must be absolute"))?;
        Ok(Self { file_system, path })
    }

    pub fn join(&self, name: &str) -> Self {
        Self { file_system: self.file_system.clone(), path: format!("{}/{name}", self.path.trim_end_matches('/')) }
    }

    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.file_system, self.path)
    }
}

/// The folder above; the root is its own.
pub fn parent(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

/// `scheme://authority` and the rest, or nothing when there is no scheme.
fn split_uri(text: &str) -> Result<Option<(String, &str)>> {
    let Some((scheme, rest)) = text.split_once(':') else {
        return Ok(None);
    };
    // `a/b:c` is a path.
    if scheme.is_empty() || !scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) {
        return Ok(None);
    }
    match scheme {
        "file" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(invalid(text, "a file: URI has no host and an absolute path, as in file:///data/a.csv"));
            }
            Ok(Some(("file://".to_owned(), path)))
        }
        "hdfs" => {
            let Some(rest) = rest.strip_prefix("//") else {
                return Err(invalid(text, "write hdfs://namenode:port/path"));
            };
            let at = rest.find('/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at(at);
            if authority.is_empty() {
                return Err(invalid(text, "names no NameNode; write hdfs://namenode:port/path, or the path alone"));
            }
            Ok(Some((format!("hdfs://{authority}"), if path.is_empty() { "/" } else { path })))
        }
        other => Err(FsError::new(
            ErrorKind::Unsupported,
            "resolve",
            text,
            format!("the scheme `{other}` is not known; allowed are hdfs and file"),
        )),
    }
}

/// Without `.`, `..`, doubled and trailing slashes. Nothing for a relative path or one that leaves the root.
fn normalize(path: &str) -> Option<String> {
    let rest = path.strip_prefix('/')?;
    let mut parts: Vec<&str> = Vec::new();
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

fn invalid(path: &str, message: &str) -> FsError {
    FsError::new(ErrorKind::InvalidPath, "resolve", path, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base() -> Base {
        Base::new("hdfs://n:8020/", "/user/alice").unwrap()
    }

    #[test]
    fn paths_are_qualified_as_hadoop_does() {
        for (given, expected) in [
            ("a.csv", "hdfs://n:8020/user/alice/a.csv"),
            ("./d//../a", "hdfs://n:8020/user/alice/a"),
            ("/data/a", "hdfs://n:8020/data/a"),
            ("hdfs://other/data/", "hdfs://other/data"),
            ("file:///data/*.csv", "file:///data/*.csv"),
            ("file:/data", "file:///data"),
            ("a/b:c", "hdfs://n:8020/user/alice/a/b:c"),
        ] {
            let found = base().qualify(given).unwrap();
            assert_eq!(found.to_string(), expected);
            assert_eq!(Location::parse(expected).unwrap(), found);
        }
    }

    #[test]
    fn what_cannot_be_a_place_is_refused_with_what_is_allowed() {
        for (given, part) in [
            ("s3://bucket/a", "hdfs and file"),
            ("hdfs:///a", "NameNode"),
            ("/../a", "leaves the root"),
            ("", "empty"),
            ("file://host/a", "no host"),
        ] {
            let message = base().qualify(given).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_normal_place_or_an_error(text in "\\PC{0,40}") {
            if let Ok(location) = base().qualify(&text) {
                prop_assert!(location.path.starts_with('/') && !location.path.contains("//"));
                prop_assert!(!location.path.split('/').any(|part| part == ".."));
            }
        }
    }
}
