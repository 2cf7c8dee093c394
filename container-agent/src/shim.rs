//! `yarn-ml-agent exec PID -- COMMAND`: what runs in the child between the agent's fork and the trainer's exec.
//!
//! It could be a `pre_exec` closure, which is unsafe code in a forked copy of a threaded process; as a program of its own it is
//! ordinary code, and costs two milliseconds.

use std::{
    convert::Infallible,
    ffi::OsString,
    os::unix::process::{CommandExt, parent_id},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::{prctl, signal::Signal};

pub const VERB: &str = "exec";

/// Arms the parent-death signal and becomes the command. Returns only when it cannot.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> Result<Infallible> {
    let parent: u32 = arguments
        .next()
        .and_then(|pid| pid.into_string().ok()?.parse().ok())
        .context("failed to read the agent's pid from the first argument of `exec`")?;
    ensure!(arguments.next().is_some_and(|a| a == "--"), "`exec PID` needs `--` and a command");
    let program = arguments.next().context("`exec PID --` needs a command")?;
    prctl::set_pdeathsig(Signal::SIGKILL).context("failed to arm the parent-death signal")?;
    // The agent may have died before the signal was armed.
    if parent_id() != parent {
        bail!("the agent (pid {parent}) is gone");
    }
    let error = Command::new(&program).args(arguments).exec();
    Err(error).with_context(|| format!("failed to run {}", program.to_string_lossy()))
}
