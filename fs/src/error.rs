//! What went wrong with a file, in words and as a kind that code can act on.

use std::{fmt, io};

use hdfs_native::HdfsError;
use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    NotFound,
    AlreadyExists,
    PermissionDenied,
    NotADirectory,
    IsADirectory,
    /// HDFS is starting, or an admin has made it read-only.
    SafeMode,
    Standby,
    Timeout,
    Unreachable,
    /// The file is not what it was when it was discovered.
    Changed,
    Corrupt,
    InvalidPath,
    Unsupported,
    Other,
}

/// `failed to read hdfs://n:8020/a: …`
#[derive(Debug, Error)]
#[error("failed to {operation} {path}: {message}")]
pub struct FsError {
    pub kind: ErrorKind,
    pub operation: &'static str,
    pub path: String,
    pub message: String,
    /// Java's class, when a NameNode said it.
    pub exception_class: Option<String>,
}

impl FsError {
    pub fn new(kind: ErrorKind, operation: &'static str, path: &str, message: impl fmt::Display) -> Self {
        Self { kind, operation, path: path.to_owned(), message: message.to_string(), exception_class: None }
    }

    /// Trying again later can help.
    pub fn is_retriable(&self) -> bool {
        matches!(self.kind, ErrorKind::SafeMode | ErrorKind::Standby | ErrorKind::Timeout | ErrorKind::Unreachable)
    }

    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    pub(crate) fn from_io(operation: &'static str, path: &str, error: &io::Error) -> Self {
        use io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::AlreadyExists | Io::DirectoryNotEmpty => ErrorKind::AlreadyExists,
            Io::PermissionDenied => ErrorKind::PermissionDenied,
            Io::NotADirectory => ErrorKind::NotADirectory,
            Io::IsADirectory => ErrorKind::IsADirectory,
            Io::UnexpectedEof => ErrorKind::Changed,
            Io::ConnectionRefused | Io::ConnectionReset | Io::HostUnreachable | Io::NetworkUnreachable => {
                ErrorKind::Unreachable
            }
            Io::TimedOut => ErrorKind::Timeout,
            _ => ErrorKind::Other,
        };
        Self::new(kind, operation, path, error)
    }

    pub(crate) fn from_hdfs(operation: &'static str, path: &str, error: HdfsError) -> Self {
        match error {
            HdfsError::IOError(error) => Self {
                // hdfs-native reports a NameNode that refuses connections as a plain I/O error.
                kind: match Self::from_io(operation, path, &error).kind {
                    ErrorKind::Other | ErrorKind::NotFound => ErrorKind::Unreachable,
                    kind => kind,
                },
                ..Self::new(ErrorKind::Other, operation, path, error)
            },
            HdfsError::RPCError(class, message) | HdfsError::FatalRPCError(class, message) => Self {
                exception_class: Some(class.clone()),
                ..Self::new(kind_of_class(&class), operation, path, first_line(&message))
            },
            HdfsError::FileNotFound(_) => Self::new(ErrorKind::NotFound, operation, path, "no such file or folder"),
            HdfsError::AlreadyExists(_) => Self::new(ErrorKind::AlreadyExists, operation, path, "it exists already"),
            HdfsError::IsADirectoryError(_) => Self::new(ErrorKind::IsADirectory, operation, path, "it is a folder"),
            HdfsError::InvalidPath(m) => Self::new(ErrorKind::InvalidPath, operation, path, m),
            HdfsError::ChecksumError | HdfsError::BlocksNotFound(_) => {
                Self::new(ErrorKind::Corrupt, operation, path, error)
            }
            HdfsError::UnsupportedFeature(m) => Self::new(ErrorKind::Unsupported, operation, path, m),
            other => Self::new(ErrorKind::Other, operation, path, other),
        }
    }
}

fn kind_of_class(class: &str) -> ErrorKind {
    match class.rsplit('.').next().unwrap_or(class) {
        "FileNotFoundException" => ErrorKind::NotFound,
        "FileAlreadyExistsException" => ErrorKind::AlreadyExists,
        "PathIsNotEmptyDirectoryException" => ErrorKind::AlreadyExists,
        "AccessControlException" => ErrorKind::PermissionDenied,
        "ParentNotDirectoryException" => ErrorKind::NotADirectory,
        "SafeModeException" => ErrorKind::SafeMode,
        "StandbyException" => ErrorKind::Standby,
        "InvalidPathException" => ErrorKind::InvalidPath,
        _ => ErrorKind::Other,
    }
}

/// A Java message carries its stack.
fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or(message)
}
