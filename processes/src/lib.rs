//! What `/proc` tells of processes: their memory, their descendants, their session.

use std::fs;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Proportional bytes of one process; 0 when it is gone. Resident ones where the kernel has no `smaps_rollup` (before 4.14).
pub fn pss(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kilobytes = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    match kilobytes {
        Some(kilobytes) => kilobytes << 10,
        None => resident(pid),
    }
}

/// `root` and everything below it, parents first.
pub fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_ascii_whitespace().filter_map(|c| c.parse::<u32>().ok()));
        }
    }
    found
}

/// Proportional bytes of a process and all its descendants.
pub fn tree_pss(root: u32) -> u64 {
    tree(root).into_iter().map(pss).sum()
}

/// Processes of the session that `leader` began.
pub fn session(leader: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| session_of(*pid) == Some(leader))
        .collect()
}

/// SIGKILL to everything that is left of a session.
pub fn kill_session(leader: u32) {
    for pid in session(leader) {
        // Gone in the meantime is what was wanted.
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
}

/// Bytes of memory of this machine.
pub fn machine_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}

/// Fields after the command's name, which may itself hold spaces and parentheses.
fn session_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(3)?.parse().ok()
}

fn resident(pid: u32) -> u64 {
    let page = 4096;
    let pages = fs::read_to_string(format!("/proc/{pid}/statm"))
        .ok()
        .and_then(|text| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_descendants_and_a_session() {
        let me = std::process::id();
        assert!(pss(me) > 1 << 20 && tree_pss(me) >= pss(me));
        assert_eq!(tree(me)[0], me);
        let mine = session_of(me).unwrap();
        assert!(session(mine).contains(&me));
        assert_eq!(pss(u32::MAX), 0);
        assert!(machine_memory() > 1 << 28);
    }
}
