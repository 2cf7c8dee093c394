//! From the text of a job file to a [`Job`]: YAML or JSON, `--set` applied, every mistake with its place and a suggestion.

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::job::Job;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum JobFileError {
    /// Shown as compilers do: place, what was found, the lines around it, a hint.
    #[error("{place}: {message}{snippet}{hint}")]
    Text {
        /// `job.yaml:5:3`
        place: String,
        message: String,
        snippet: String,
        hint: String,
    },
    #[error("--set {set}: {message}{hint}")]
    Set { set: String, message: String, hint: String },
}

/// Reads a job file. `name` is what messages call it. `sets` are `roles.worker.instances=5`, applied in order; what stands
/// right of `=` is YAML, so numbers, lists and mappings work.
pub fn job(text: &str, name: &str, sets: &[String]) -> Result<Job, JobFileError> {
    let options = serde_saphyr::Options::default();
    let mut job: Job =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| in_text(&error, text, name))?;
    for set in sets {
        job = apply(&job, set)?;
    }
    Ok(job)
}

fn apply(job: &Job, set: &str) -> Result<Job, JobFileError> {
    let wrong = |message: String| {
        let hint = suggestion(&message);
        JobFileError::Set { set: set.to_owned(), message, hint }
    };
    let (path, value) = set.split_once('=').ok_or_else(|| wrong("there is no `=`; write KEY.KEY=VALUE".into()))?;
    let value: Value = serde_saphyr::from_str(value).map_err(|e| wrong(format!("the value is not YAML: {e}")))?;
    let mut tree = serde_json::to_value(job).map_err(|e| wrong(e.to_string()))?;
    let mut place = &mut tree;
    for key in path.split('.') {
        if key.is_empty() {
            return Err(wrong(format!("`{path}` has an empty key")));
        }
        if place.is_null() {
            *place = Value::Object(serde_json::Map::new());
        }
        place = match place {
            Value::Object(map) => map.entry(key).or_insert(Value::Null),
            other => {
                return Err(wrong(format!("there is nothing below `{other}` to set `{key}` in")));
            }
        };
    }
    *place = value;
    Job::deserialize(tree).map_err(|e| wrong(e.to_string()))
}

fn in_text(error: &serde_saphyr::Error, text: &str, name: &str) -> JobFileError {
    let location = error.location();
    let full = error.without_snippet().to_string();
    let message = full
        .rsplit_once(" at line ")
        .map_or(full.as_str(), |(message, _)| message)
        .replace(", set DuplicateKeyPolicy in Options if acceptable", "");
    let (place, snippet) = match location {
        Some(at) => {
            (format!("{name}:{}:{}", at.line(), at.column()), snippet(text, at.line() as usize, at.column() as usize))
        }
        None => (name.to_owned(), String::new()),
    };
    JobFileError::Text { place, hint: suggestion(&message), message, snippet }
}

/// The line and a caret under the column.
fn snippet(text: &str, line: usize, column: usize) -> String {
    const WIDTH: usize = 120;
    let Some(found) = text.lines().nth(line.saturating_sub(1)) else {
        return String::new();
    };
    if column > WIDTH {
        return String::new();
    }
    let shown: String = found.chars().take(WIDTH).collect();
    let gutter = line.to_string();
    let blank = " ".repeat(gutter.len());
    let caret = " ".repeat(column.saturating_sub(1));
    format!("\n{blank} |\n{gutter} | {shown}\n{blank} | {caret}^")
}

/// "unknown field `memroy`, expected one of instances, memory" → "did you mean `memory`?".
fn suggestion(message: &str) -> String {
    let Some((found, allowed)) =
        message.split_once("expected ").and_then(|(before, after)| Some((before.split('`').nth(1)?, after)))
    else {
        return String::new();
    };
    let allowed = allowed.trim_start_matches("one of ");
    let nearest = allowed.split([',', ' ']).map(|name| name.trim_matches('`')).filter(|name| !name.is_empty());
    match did_you_mean(found, nearest) {
        Some(name) => format!("\n\nhint: did you mean `{name}`?"),
        None => String::new(),
    }
}

/// The candidate most like `found`, if any is like it at all.
pub fn did_you_mean<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|name| (strsim::jaro_winkler(found, name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "name: a\ntype: generic\nroles:\n  worker:\n    memory: 1GiB\n";

    fn error(text: &str, sets: &[&str]) -> String {
        let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
        job(text, "job.yaml", &sets).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest_one() {
        let text = JOB.replace("memory", "memroy");
        assert_eq!(
            error(&text, &[]),
            "job.yaml:5:5: unknown field `memroy`, expected one of instances, memory, vcores, resources, input, program, env\n  \
             |\n5 |     memroy: 1GiB\n  |     ^\n\nhint: did you mean `memory`?"
        );
    }

    #[test]
    fn a_wrong_unit_is_named_with_its_place_and_the_units_allowed() {
        let found = error(&JOB.replace("1GiB", "1G"), &[]);
        assert!(found.starts_with("job.yaml:5:13: `1G` is not a memory size"), "{found}");
        assert!(found.contains("GiB"), "{found}");
    }

    #[test]
    fn json_is_read_as_well() {
        let text = r#"{"name": "a", "type": "generic", "roles": {"w": {"memory": "1GiB"}}}"#;
        assert_eq!(job(text, "job.json", &[]).unwrap().roles["w"].instances, 1);
    }

    #[test]
    fn set_replaces_adds_and_is_checked_like_the_file() {
        let sets = ["roles.worker.instances=5", "params.hidden=[128, 64]", "params.rate=0.5", "program.entry=a.py"];
        let sets = sets.map(str::to_owned);
        let found = job(JOB, "job.yaml", &sets).unwrap();
        assert_eq!(found.roles["worker"].instances, 5);
        assert_eq!(found.params["hidden"], serde_json::json!([128, 64]));
        assert_eq!(found.params["rate"], serde_json::json!(0.5));
        assert_eq!(found.program.unwrap().entry.as_deref(), Some("a.py"));
        let unknown = error(JOB, &["roles.worker.instance=5"]);
        assert!(unknown.starts_with("--set roles.worker.instance=5: unknown field `instance`"), "{unknown}");
        assert!(unknown.ends_with("did you mean `instances`?"), "{unknown}");
        assert!(error(JOB, &["roles.worker.memory=5"]).contains("units"));
        assert!(error(JOB, &["nothing"]).contains("no `=`"));
        assert!(error(JOB, &["name.a=b"]).contains("nothing below"));
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        let found = error(&format!("{JOB}name: b\n"), &[]);
        assert!(found.starts_with("job.yaml:6:1: duplicate mapping key: name\n"), "{found}");
    }
}
