//! Why a job failed, for people: cause first, at most 4 KiB.

use std::fmt::Write;

use yarn_ml_protocol::ids::{ContainerId, Rank};

/// What the ResourceManager shows; the full text is in the report.
pub const MAX_DIAGNOSTICS: usize = 4 << 10;

/// The first thing that went wrong. What follows from it is counted, not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    pub rank: Option<Rank>,
    pub container: Option<ContainerId>,
    pub node: Option<String>,
    /// A sentence.
    pub what: String,
    pub log: Option<String>,
    pub traceback: Option<String>,
}

impl Cause {
    pub fn of_job(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    pub fn text(&self) -> String {
        let mut text = match &self.rank {
            Some(rank) => format!("{rank}: {}", self.what),
            None => self.what.clone(),
        };
        if let Some(container) = &self.container {
            let _ = write!(text, "\ncontainer: {container}");
            if let Some(node) = &self.node {
                let _ = write!(text, " on {node}");
            }
        }
        if let Some(log) = self.log.as_ref().filter(|log| !log.is_empty()) {
            let _ = write!(text, "\nlog: {log}");
        }
        if let Some(traceback) = self.traceback.as_ref().filter(|t| !t.is_empty()) {
            let _ = write!(text, "\n{traceback}");
        }
        text
    }
}

/// Cuts in the middle: the cause stands at the beginning, the exception at the end of a traceback.
pub fn cut(text: &str, limit: usize) -> String {
    const GAP: &str = "\n…\n";
    if text.len() <= limit {
        return text.to_owned();
    }
    let half = limit.saturating_sub(GAP.len()) / 2;
    let head = text.floor_char_boundary(half);
    let tail = text.ceil_char_boundary(text.len() - half);
    format!("{}{GAP}{}", &text[..head], &text[tail..])
}

/// What an exit code of a trainer means.
pub fn explain_exit(code: i32, signal: i32) -> String {
    let name = match signal {
        0 => return format!("the trainer exited with {code}{}", hint(code)),
        6 => "SIGABRT (it aborted itself)",
        9 => "SIGKILL",
        11 => "SIGSEGV (a crash in native code)",
        15 => "SIGTERM",
        other => return format!("the trainer was ended by signal {other}"),
    };
    format!("the trainer was ended by {name}")
}

fn hint(code: i32) -> &'static str {
    match code {
        126 => " (the program is not executable)",
        127 => " (the program was not found)",
        134 => " (it aborted itself)",
        137 => " (SIGKILL: perhaps out of memory)",
        139 => " (a crash in native code)",
        _ => "",
    }
}

/// What YARN's exit status of a container means. `role` is named where something can be done in the job file.
pub fn explain_container(status: i32, role: &str) -> String {
    match status {
        -100 => "the container was lost with its node, or released".into(),
        -101 => "the node's disks failed".into(),
        -102 => "YARN preempted the container".into(),
        -103 => format!(
            "the container exceeded its virtual memory (exit status -103); CUDA maps far more than it uses, so the admin should set yarn.nodemanager.vmem-check-enabled=false, or raise roles.{role}.memory"
        ),
        -104 => {
            format!("the container exceeded its memory and was killed (exit status -104); raise roles.{role}.memory")
        }
        -105 => "the container was killed by the application master".into(),
        -106 => "the container was killed by the ResourceManager".into(),
        -107 => "the container ended with its application".into(),
        -108 => "the container was killed by the node's scheduler".into(),
        -109 => "the container wrote more logs than the node allows".into(),
        -1000 => "the container could not be started".into(),
        137 => "the agent was killed (exit status 137)".into(),
        143 => "the agent was terminated (exit status 143)".into(),
        other => format!("the agent ended with exit status {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_cause_and_its_exception() {
        let text = format!("cause\n{}\nValueError: é", "é".repeat(5000));
        let short = cut(&text, MAX_DIAGNOSTICS);
        assert!(short.len() <= MAX_DIAGNOSTICS);
        assert!(short.starts_with("cause\n") && short.ends_with("ValueError: é"));
        assert_eq!(cut("short", MAX_DIAGNOSTICS), "short");
    }

    #[test]
    fn memory_kills_name_the_key_to_raise() {
        assert!(explain_container(-104, "ps").contains("roles.ps.memory"));
    }
}
