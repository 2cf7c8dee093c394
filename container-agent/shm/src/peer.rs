//! Is the process on the other side still the one that it was?

use std::{fs, sync::atomic::Ordering};

use crate::layout::{Line, state};

/// Writes this process into a line.
pub fn enter(line: &Line) {
    let pid = std::process::id();
    line.start_time.store(start_time(pid).unwrap_or(0), Ordering::Relaxed);
    line.pid.store(pid, Ordering::Relaxed);
    line.state.store(state::OPEN, Ordering::Release);
}

/// True when the process in the line has ended. A side that was never there is not gone.
pub fn is_gone(line: &Line) -> bool {
    if line.state.load(Ordering::Acquire) == state::ABSENT {
        return false;
    }
    let pid = line.pid.load(Ordering::Relaxed);
    pid != std::process::id() && start_time(pid) != Some(line.start_time.load(Ordering::Relaxed))
}

/// Nothing for a process that is gone or a zombie.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
