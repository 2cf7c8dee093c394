//! What types cannot say about a job file: references that must exist, numbers that must fit, roles that a type needs.

use std::fmt;

use crate::{
    job::{Job, JobType, Program, Role, Strategy},
    parse::did_you_mean,
};

/// One mistake, by the key where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `roles.worker.input.stream`
    pub key: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// Smallest ring: a page of header and a few small frames.
const RING_MIN: u64 = 64 << 10;
/// Largest: beyond it a ring only falls out of the cache.
const RING_MAX: u64 = 1 << 30;

/// Every mistake at once, in the order of the file.
pub fn problems(job: &Job) -> Vec<Problem> {
    let mut found = Problems(Vec::new());
    found.unless(!job.name.trim().is_empty(), "name", || "is empty".into());
    found.unless(job.am.max_attempts >= 1, "am.max_attempts", || "must be at least 1".into());
    found.unless(job.tags.len() <= 10, "tags", || format!("has {} entries; YARN allows 10", job.tags.len()));
    found.unless(job.logs.keep >= 1, "logs.keep", || "must be at least 1".into());
    for (name, stream) in &job.streams {
        let key = format!("streams.{name}");
        let source = &stream.source;
        found.unless(!source.path.trim().is_empty(), &format!("{key}.source.path"), || "is empty".into());
        found.unless(
            source.delimiter.is_ascii() && !"\"\r\n".contains(source.delimiter),
            &format!("{key}.source.delimiter"),
            || {
                format!(
                    "is {:?}; allowed is one ASCII character that is neither a quote nor a line break",
                    source.delimiter
                )
            },
        );
        found.unless(source.header || !source.schema.is_empty(), &format!("{key}.source.schema"), || {
            "is needed when `header` is false: it names the columns, in order".into()
        });
        found.unless(source.split_size.0 > 0, &format!("{key}.source.split_size"), || "must not be 0".into());
        found.unless((1..=1 << 30).contains(&source.max_record.0), &format!("{key}.source.max_record"), || {
            format!("is {}; allowed is 1B to 1GiB", source.max_record)
        });
        for (column, spec) in stream.columns.iter().flatten() {
            let key = format!("{key}.columns.{column}");
            found.unless(!column.ends_with("_valid"), &key, || {
                "ends in `_valid`, which is what masks of nullable columns are called".into()
            });
            found.unless(spec.metadata.is_none() || (spec.from.is_none() && spec.column_type.is_none()), &key, || {
                "has `metadata` and also `from` or `type`; metadata has its own type".into()
            });
        }
        if let Some(columns) = &stream.columns {
            found.unless(!columns.is_empty(), &format!("{key}.columns"), || "selects nothing".into());
        }
    }
    found.unless(!job.roles.is_empty(), "roles", || "is empty; a job needs at least one role".into());
    for (name, role) in &job.roles {
        found.role(job, name, role);
    }
    if job.job_type == JobType::TensorFlowBatch {
        found.tensorflow(job);
    }
    found.0
}

/// The job's program with the role's keys over it.
pub fn program_of(job: &Job, role: &Role) -> Program {
    let mut program = job.program.clone().unwrap_or_default();
    let Some(own) = &role.program else {
        return program;
    };
    // Entry and command exclude each other, so that either of them replaces both.
    if own.entry.is_some() || own.command.is_some() {
        program.entry = own.entry.clone();
        program.command = own.command.clone();
        program.args = own.args.clone();
    } else if !own.args.is_empty() {
        program.args = own.args.clone();
    }
    if !own.files.is_empty() {
        program.files = own.files.clone();
    }
    program.python = own.python.clone().or(program.python);
    program.strategy = own.strategy.or(program.strategy);
    program.env.extend(own.env.clone());
    program
}

struct Problems(Vec<Problem>);

impl Problems {
    fn unless(&mut self, good: bool, key: &str, message: impl FnOnce() -> String) {
        if !good {
            self.0.push(Problem { key: key.to_owned(), message: message() });
        }
    }

    fn role(&mut self, job: &Job, name: &str, role: &Role) {
        let key = format!("roles.{name}");
        self.unless(is_role_name(name), &key, || {
            "is no role name; allowed are lower-case letters, digits, `-` and `_`, beginning with a letter".into()
        });
        self.unless((1..=100_000).contains(&role.instances), &format!("{key}.instances"), || {
            format!("is {}; allowed is 1 to 100000", role.instances)
        });
        self.unless(role.vcores >= 1, &format!("{key}.vcores"), || "must be at least 1".into());
        self.unless(role.memory.0 >= 1 << 20, &format!("{key}.memory"), || {
            format!("is {}; a process needs at least 1MiB", role.memory)
        });
        let program = program_of(job, role);
        match (&program.entry, &program.command) {
            (Some(_), None) | (None, Some(_)) => {}
            (None, None) => self.unless(false, &format!("{key}.program"), || {
                "is missing; give it here or for the whole job, with `entry: FILE.py` or `command: …`".into()
            }),
            (Some(_), Some(_)) => self
                .unless(false, &format!("{key}.program"), || "has both `entry` and `command`; one of them runs".into()),
        }
        let Some(input) = &role.input else { return };
        self.unless(job.streams.contains_key(&input.stream), &format!("{key}.input.stream"), || {
            let streams: Vec<&str> = job.streams.keys().map(String::as_str).collect();
            let hint = did_you_mean(&input.stream, streams.iter().copied())
                .map(|name| format!("; did you mean `{name}`?"))
                .unwrap_or_default();
            match streams.as_slice() {
                [] => format!("`{}` is not a stream, and `streams` has none", input.stream),
                _ => format!("`{}` is not a stream; there are {}{hint}", input.stream, streams.join(", ")),
            }
        });
        self.unless(input.epochs >= 1, &format!("{key}.input.epochs"), || "must be at least 1".into());
        self.unless((1..=1 << 24).contains(&input.batch), &format!("{key}.input.batch"), || {
            format!("is {}; allowed is 1 to {}", input.batch, 1 << 24)
        });
        self.unless(
            (RING_MIN..=RING_MAX).contains(&input.ring.0) && input.ring.0.is_power_of_two(),
            &format!("{key}.input.ring"),
            || format!("is {}; allowed is a power of two from 64KiB to 1GiB", input.ring),
        );
    }

    fn tensorflow(&mut self, job: &Job) {
        const ROLES: [&str; 4] = ["chief", "worker", "ps", "evaluator"];
        for name in job.roles.keys() {
            self.unless(ROLES.contains(&name.as_str()), &format!("roles.{name}"), || {
                let hint = did_you_mean(name, ROLES).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
                format!("is no task type of TensorFlow; allowed are {}{hint}", ROLES.join(", "))
            });
        }
        let instances = |role: &str| job.roles.get(role).map_or(0, |r| r.instances);
        self.unless(instances("chief") <= 1, "roles.chief.instances", || {
            format!("is {}; TensorFlow has one chief", instances("chief"))
        });
        let strategy = job.program.as_ref().and_then(|p| p.strategy);
        if strategy == Some(Strategy::Ps) {
            for role in ["chief", "worker", "ps"] {
                self.unless(instances(role) >= 1, "roles", || format!("has no `{role}`, which `strategy: ps` needs"));
            }
        }
    }
}

fn is_role_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let job = crate::parse::job(text, "job.yaml", &[]).unwrap();
        problems(&job).iter().map(Problem::to_string).collect()
    }

    #[test]
    fn every_mistake_is_listed_at_once_by_its_key() {
        let text = "
name: x
type: tensorflow/batch
program: {entry: train.py, strategy: ps}
streams:
  flights: {source: {path: a.csv, format: csv}, columns: {a_valid: float32, b: {metadata: offset, type: int64}}}
roles:
  cheif: {memory: 1GiB, instances: 0}
  worker: {memory: 1GiB, input: {stream: flight, batch: 0, ring: 3MiB}}
";
        assert_eq!(
            found(text),
            [
                "streams.flights.columns.a_valid: ends in `_valid`, which is what masks of nullable columns are called",
                "streams.flights.columns.b: has `metadata` and also `from` or `type`; metadata has its own type",
                "roles.cheif.instances: is 0; allowed is 1 to 100000",
                "roles.worker.input.stream: `flight` is not a stream; there are flights; did you mean `flights`?",
                "roles.worker.input.batch: is 0; allowed is 1 to 16777216",
                "roles.worker.input.ring: is 3MiB; allowed is a power of two from 64KiB to 1GiB",
                "roles.cheif: is no task type of TensorFlow; allowed are chief, worker, ps, evaluator; did you mean `chief`?",
                "roles: has no `chief`, which `strategy: ps` needs",
                "roles: has no `ps`, which `strategy: ps` needs",
            ]
        );
    }

    #[test]
    fn a_role_overrides_the_program_key_by_key() {
        let text = "
name: x
type: generic
program: {entry: train.py, args: [a], env: {A: '1', B: '1'}}
roles:
  same: {memory: 1GiB, program: {env: {B: '2'}}}
  other: {memory: 1GiB, program: {command: date}}
";
        let job = crate::parse::job(text, "job.yaml", &[]).unwrap();
        let same = program_of(&job, &job.roles["same"]);
        assert_eq!((same.entry.as_deref(), same.args.len()), (Some("train.py"), 1));
        assert_eq!((same.env["A"].as_str(), same.env["B"].as_str()), ("1", "2"));
        let other = program_of(&job, &job.roles["other"]);
        assert_eq!((other.entry, other.command.as_deref(), other.args.len()), (None, Some("date"), 0));
        assert_eq!(found(text), [] as [String; 0]);
    }
}
