//! Which command a rank runs: a Python entry or a shell command.

use std::path::Path;

use anyhow::{Result, bail};
use yarn_ml_protocol::job::Program;

/// Program and arguments, run in the working directory.
pub fn command(program: &Program, work_dir: &Path) -> Result<(String, Vec<String>)> {
    match (&program.entry, &program.command) {
        (Some(entry), None) => {
            let file = base_name(entry);
            if !work_dir.join(file).is_file() {
                bail!(
                    "the entry script `{file}` is not in the container's working directory; `program.entry` names a file beside the job file"
                );
            }
            let mut arguments = vec![file.to_owned()];
            arguments.extend(program.args.clone());
            Ok((python(program, work_dir), arguments))
        }
        (None, Some(command)) => {
            let mut arguments = vec!["-c".to_owned(), command.clone(), "command".to_owned()];
            arguments.extend(program.args.clone());
            Ok(("bash".to_owned(), arguments))
        }
        _ => bail!("the program has neither `entry` nor `command`"),
    }
}

/// An archive lies unpacked under its own name; `yarn-ml` ships it so.
fn python(program: &Program, work_dir: &Path) -> String {
    let Some(python) = program.python.as_deref() else {
        return "python3".to_owned();
    };
    let unpacked = work_dir.join(base_name(python)).join("bin/python");
    if is_archive(python) { unpacked.display().to_string() } else { python.to_owned() }
}

pub fn is_archive(path: &str) -> bool {
    [".tar.gz", ".tgz", ".zip"].iter().any(|suffix| path.ends_with(suffix))
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_runs_under_its_python_and_a_command_under_bash() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("train.py"), "").unwrap();
        let mut program = Program { entry: Some("src/train.py".into()), args: vec!["x".into()], ..Program::default() };
        let (python, arguments) = command(&program, dir.path()).unwrap();
        assert_eq!(
            (python.as_str(), arguments.as_slice()),
            ("python3", ["train.py".to_owned(), "x".to_owned()].as_slice())
        );
        program.python = Some("envs/env.tar.gz".into());
        assert!(command(&program, dir.path()).unwrap().0.ends_with("/env.tar.gz/bin/python"));
        program.entry = Some("gone.py".into());
        assert!(command(&program, dir.path()).unwrap_err().to_string().contains("`gone.py`"));
        let shell = Program { command: Some("date".into()), ..Program::default() };
        assert_eq!(command(&shell, dir.path()).unwrap().1, ["-c", "date", "command"]);
    }
}
