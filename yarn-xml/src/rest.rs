//! Answers of the ResourceManager and the NodeManagers, read leniently: Jersey 1 (3.3, 3.4) and Jersey 2 (3.5) differ in what is
//! an array, a number or missing.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RestError {
    /// Java said no.
    #[error("{message} ({exception})")]
    Remote { exception: String, message: String },
    #[error("HTTP status {status}: {message}")]
    Status { status: u16, message: String },
    #[error("there is no active ResourceManager")]
    NoActive,
    #[error("this is the standby ResourceManager; the active one is at {location}")]
    Standby { location: String },
    #[error("the answer is not what was asked for: {message}")]
    Shape { message: String },
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct NewApplication {
    #[serde(rename = "application-id")]
    pub application_id: String,
    #[serde(rename = "maximum-resource-capability", default)]
    pub maximum: Capability,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Capability {
    #[serde(default, deserialize_with = "number")]
    pub memory: u64,
    #[serde(rename = "vCores", default, deserialize_with = "number")]
    pub vcores: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct App {
    #[serde(deserialize_with = "text")]
    pub id: String,
    #[serde(deserialize_with = "text")]
    pub user: String,
    #[serde(deserialize_with = "text")]
    pub name: String,
    #[serde(deserialize_with = "text")]
    pub queue: String,
    /// NEW, NEW_SAVING, SUBMITTED, ACCEPTED, RUNNING, FINISHED, FAILED, KILLED
    #[serde(deserialize_with = "text")]
    pub state: String,
    /// UNDEFINED, SUCCEEDED, FAILED, KILLED
    #[serde(deserialize_with = "text")]
    pub final_status: String,
    #[serde(deserialize_with = "text")]
    pub diagnostics: String,
    #[serde(deserialize_with = "text")]
    pub tracking_url: String,
    #[serde(deserialize_with = "text")]
    pub am_container_logs: String,
    #[serde(deserialize_with = "text")]
    pub am_host_http_address: String,
    #[serde(deserialize_with = "text")]
    pub log_aggregation_status: String,
    #[serde(deserialize_with = "number")]
    pub started_time: u64,
    #[serde(deserialize_with = "number")]
    pub finished_time: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    #[serde(deserialize_with = "text")]
    pub id: String,
    #[serde(deserialize_with = "text")]
    pub state: String,
    #[serde(deserialize_with = "text")]
    pub node_host_name: String,
    #[serde(rename = "nodeHTTPAddress", deserialize_with = "text")]
    pub node_http_address: String,
    #[serde(rename = "availMemoryMB", deserialize_with = "number")]
    pub avail_memory_mb: u64,
    #[serde(deserialize_with = "number")]
    pub available_virtual_cores: u64,
}

/// A leaf or parent of the capacity or fair scheduler's tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Queue {
    pub name: String,
    /// RUNNING, STOPPED, DRAINING; empty where the scheduler has none.
    pub state: String,
    pub is_leaf: bool,
}

impl App {
    pub fn is_ended(&self) -> bool {
        matches!(self.state.as_str(), "FINISHED" | "FAILED" | "KILLED")
    }

    /// The ResourceManager has neither refused it nor still thinks about it.
    pub fn is_accepted(&self) -> bool {
        matches!(self.state.as_str(), "ACCEPTED" | "RUNNING" | "FINISHED")
    }
}

/// What an answer is, before its body is believed.
pub fn classify(
    status: u16,
    location: Option<&str>,
    refresh: bool,
    content_type: &str,
    body: &str,
) -> Result<(), RestError> {
    if status == 307 || status == 302 {
        return Err(match location {
            Some(location) => RestError::Standby { location: location.to_owned() },
            None => RestError::NoActive,
        });
    }
    if refresh || body.starts_with("There is no active RM") {
        return Err(RestError::NoActive);
    }
    if (200..300).contains(&status) {
        let is_empty = body.trim().is_empty();
        if is_empty || content_type.starts_with("application/json") {
            return Ok(());
        }
        return Err(RestError::Shape { message: format!("it is {content_type}: {}", first_line(body)) });
    }
    Err(remote(body).unwrap_or_else(|| RestError::Status { status, message: first_line(&strip_tags(body)).to_owned() }))
}

pub fn new_application(body: &str) -> Result<NewApplication, RestError> {
    let found: NewApplication = unwrapped(body, &["NewApplication", "newApplication"])?;
    if found.application_id.is_empty() {
        return Err(RestError::Shape { message: "it has no application-id".into() });
    }
    Ok(found)
}

pub fn app(body: &str) -> Result<App, RestError> {
    unwrapped(body, &["app"])
}

pub fn apps(body: &str) -> Result<Vec<App>, RestError> {
    list(body, "apps", "app")
}

pub fn nodes(body: &str) -> Result<Vec<Node>, RestError> {
    list(body, "nodes", "node")
}

/// `ACTIVE` or `STANDBY`; the standby answers this one itself.
pub fn ha_state(body: &str) -> Result<String, RestError> {
    let info: Value = unwrapped(body, &["clusterInfo"])?;
    Ok(info.get("haState").and_then(Value::as_str).unwrap_or("ACTIVE").to_owned())
}

/// Every queue of `/ws/v1/cluster/scheduler`.
pub fn queues(body: &str) -> Result<Vec<Queue>, RestError> {
    let value = parse(body)?;
    let info = value.pointer("/scheduler/schedulerInfo").unwrap_or(&value);
    let mut found = Vec::new();
    collect_queues(info.get("rootQueue").unwrap_or(info), &mut found, 0);
    Ok(found)
}

/// Names of the log files of a container, from the NodeManager's listing.
pub fn log_files(body: &str) -> Result<Vec<String>, RestError> {
    let value = parse(body)?;
    let infos = value.get("containerLogsInfo").unwrap_or(&value);
    let mut names = Vec::new();
    for info in one_or_many(Some(infos)) {
        for file in one_or_many(info.get("containerLogInfo")) {
            if let Some(name) = file.get("fileName").and_then(Value::as_str) {
                names.push(name.to_owned());
            }
        }
    }
    Ok(names)
}

fn collect_queues(node: &Value, found: &mut Vec<Queue>, depth: u32) {
    // A tree from a socket may be of any depth.
    if depth > 64 {
        return;
    }
    let children = node.get("queues").or_else(|| node.get("childQueues"));
    let children = children.and_then(|c| c.get("queue")).or(children);
    let below = one_or_many(children);
    if let Some(name) = node.get("queueName").and_then(Value::as_str) {
        found.push(Queue {
            name: node.get("queuePath").and_then(Value::as_str).unwrap_or(name).to_owned(),
            state: node.get("state").and_then(Value::as_str).unwrap_or_default().to_owned(),
            is_leaf: below.is_empty(),
        });
    }
    for child in below {
        collect_queues(child, found, depth + 1);
    }
}

fn list<T: DeserializeOwned>(body: &str, outer: &str, inner: &str) -> Result<Vec<T>, RestError> {
    let value = parse(body)?;
    let inside = value.get(outer).and_then(|v| v.get(inner));
    one_or_many(inside)
        .into_iter()
        .map(|v| T::deserialize(v).map_err(|e| RestError::Shape { message: e.to_string() }))
        .collect()
}

/// An array, a single object in its place, or nothing.
fn one_or_many(value: Option<&Value>) -> Vec<&Value> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(many)) => many.iter().collect(),
        Some(one) => vec![one],
    }
}

/// With or without its root's name around it.
fn unwrapped<T: DeserializeOwned>(body: &str, roots: &[&str]) -> Result<T, RestError> {
    let value = parse(body)?;
    let inner = roots.iter().find_map(|root| value.get(*root)).unwrap_or(&value);
    T::deserialize(inner).map_err(|e| RestError::Shape { message: e.to_string() })
}

fn parse(body: &str) -> Result<Value, RestError> {
    serde_json::from_str(body)
        .map_err(|e| RestError::Shape { message: format!("it is no JSON ({e}): {}", first_line(body)) })
}

/// `{"RemoteException": {"exception", "message", "javaClassName"}}`
fn remote(body: &str) -> Option<RestError> {
    let value: Value = serde_json::from_str(body).ok()?;
    let exception = value.get("RemoteException")?;
    let field = |name: &str| exception.get(name).and_then(Value::as_str).unwrap_or_default();
    Some(RestError::Remote {
        exception: field("exception").to_owned(),
        message: first_line(field("message")).to_owned(),
    })
}

/// Jetty's error pages are HTML.
fn strip_tags(body: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in body.chars().take(4096) {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                out.push(' ');
            }
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn first_line(text: &str) -> &str {
    let line = text.trim().lines().next().unwrap_or_default();
    &line[..line.floor_char_boundary(500)]
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(n) => n.as_u64().unwrap_or(0),
        Value::String(s) => s.trim().parse().unwrap_or(0),
        _ => 0,
    })
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(s) => s,
        Value::Null => String::new(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_jerseys_are_understood() {
        for body in [
            r#"{"application-id":"application_1_0001","maximum-resource-capability":{"memory":4096,"vCores":8}}"#,
            r#"{"NewApplication":{"application-id":"application_1_0001","maximum-resource-capability":{"memory":"4096","vCores":"8"}}}"#,
        ] {
            let found = new_application(body).unwrap();
            assert_eq!((found.maximum.memory, found.maximum.vcores), (4096, 8));
        }
        assert_eq!(nodes(r#"{"nodes":null}"#).unwrap(), []);
        let one = nodes(r#"{"nodes":{"node":{"id":"h:1","availMemoryMB":"5"}}}"#).unwrap();
        let many = nodes(r#"{"nodes":{"node":[{"id":"h:1","availMemoryMB":5}]}}"#).unwrap();
        assert_eq!(one, many);
        assert_eq!(app(r#"{"app":{"state":"RUNNING","unknown":{}}}"#).unwrap().state, "RUNNING");
        for body in [
            r#"{"containerLogsInfo":{"containerLogInfo":{"fileName":"a"}}}"#,
            r#"{"containerLogsInfo":[{"containerLogInfo":[{"fileName":"a"}]}]}"#,
        ] {
            assert_eq!(log_files(body).unwrap(), ["a"]);
        }
    }

    #[test]
    fn what_is_no_answer_is_recognised() {
        let json = "application/json;charset=utf-8";
        assert_eq!(classify(200, None, false, json, "{}"), Ok(()));
        assert_eq!(classify(202, None, false, "", ""), Ok(()));
        assert_eq!(classify(307, None, true, "text/plain", "x"), Err(RestError::NoActive));
        assert_eq!(
            classify(307, Some("http://b/"), false, "text/plain", "x"),
            Err(RestError::Standby { location: "http://b/".into() })
        );
        assert_eq!(
            classify(200, None, false, "text/plain", "There is no active RM right now"),
            Err(RestError::NoActive)
        );
        let body = r#"{"RemoteException":{"exception":"NotFoundException","message":"java.lang.Exception: app with id x not found\n at y","javaClassName":"z"}}"#;
        let error = classify(404, None, false, json, body).unwrap_err().to_string();
        assert_eq!(error, "java.lang.Exception: app with id x not found (NotFoundException)");
        let html = classify(403, None, false, "text/html", "<html><b>HTTP ERROR 403</b> no</html>").unwrap_err();
        assert_eq!(html, RestError::Status { status: 403, message: "HTTP ERROR 403 no".into() });
    }

    #[test]
    fn queues_are_found_in_the_tree() {
        let body = r#"{"scheduler":{"schedulerInfo":{"queueName":"root","queues":{"queue":[{"queueName":"default","queuePath":"root.default","state":"RUNNING"},{"queueName":"s","queuePath":"root.s","state":"STOPPED"}]}}}}"#;
        let names: Vec<(String, String)> = queues(body).unwrap().into_iter().map(|q| (q.name, q.state)).collect();
        assert_eq!(names[1..], [("root.default".into(), "RUNNING".into()), ("root.s".into(), "STOPPED".into())]);
    }

    proptest! {
        #[test]
        fn hostile_bodies_are_refused(body in "\\PC{0,80}") {
            let _ = (app(&body), nodes(&body), queues(&body), log_files(&body), new_application(&body));
            let _ = classify(500, None, false, "", &body);
        }
    }
}
