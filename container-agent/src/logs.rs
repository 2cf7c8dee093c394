//! A trainer's output: to a file that is rotated, and the last part kept for diagnostics.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Bytes of the tail kept for diagnostics.
const TAIL: usize = 16 << 10;

/// `stderr`, `stderr.1`, … `stderr.<keep - 1>`: the newest has no number, as log viewers expect.
pub struct RotatingLog {
    path: PathBuf,
    max_size: u64,
    keep: u32,
    file: File,
    written: u64,
    tail: VecDeque<u8>,
}

impl RotatingLog {
    pub fn create(path: PathBuf, max_size: u64, keep: u32) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let written = file.metadata()?.len();
        Ok(Self { path, max_size: max_size.max(1), keep: keep.max(1), file, written, tail: VecDeque::new() })
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tail.extend(&bytes[bytes.len().saturating_sub(TAIL)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.written >= self.max_size {
                self.rotate()?;
            }
            let room = usize::try_from(self.max_size - self.written).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(rest.len().min(room));
            self.file.write_all(now)?;
            self.written += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last lines, as text.
    pub fn tail(&self) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |n: u32| match n {
            0 => self.path.clone(),
            n => PathBuf::from(format!("{}.{n}", self.path.display())),
        };
        for n in (1..self.keep).rev() {
            match fs::rename(numbered(n - 1), numbered(n)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.file = File::create(&self.path)?;
        self.written = 0;
        Ok(())
    }
}

/// The last Python traceback in `stderr`, or its last lines: what a person would look for first.
pub fn cause(stderr: &str) -> String {
    const LINES: usize = 12;
    const MARK: &str = "Traceback (most recent call last):";
    if let Some(at) = stderr.rfind(MARK) {
        return stderr[at..].trim_end().to_owned();
    }
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_cut_into_so_many_files_of_so_many_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stderr");
        let mut log = RotatingLog::create(path.clone(), 10, 3).unwrap();
        for n in 0..8 {
            log.write(format!("line{n}\n").as_bytes()).unwrap();
        }
        let read = |suffix: &str| fs::read_to_string(format!("{}{suffix}", path.display())).unwrap();
        assert_eq!(
            format!("{}{}{}", read(".2"), read(".1"), read("")),
            "line3\nline4\nline5\nline6\nline7\n"[2..].to_owned()
        );
        assert!(!dir.path().join("stderr.3").exists());
        assert!(log.tail().ends_with("line6\nline7\n"));
    }

    #[test]
    fn the_last_traceback_is_the_cause() {
        let text = "noise\nTraceback (most recent call last):\n  a\nValueError: 1\nmore\nTraceback (most recent call last):\n  b\nKeyError: 2\n";
        assert_eq!(cause(text), "Traceback (most recent call last):\n  b\nKeyError: 2");
        assert_eq!(cause("one\n\ntwo\n"), "one\ntwo");
    }
}
