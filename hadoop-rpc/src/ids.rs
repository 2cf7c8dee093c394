//! Hadoop's ids as text, and back. Strict: what does not print as it was read is refused.

use thiserror::Error;

use crate::proto::yarn::{ApplicationAttemptIdProto, ApplicationIdProto, ContainerIdProto, NodeIdProto};

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{found}` is no {what}; such an id looks like `{example}`")]
pub struct IdError {
    found: String,
    what: &'static str,
    example: &'static str,
}

/// The upper bits of a container's number hold the ResourceManager's epoch.
const EPOCH_SHIFT: u32 = 40;

pub fn application_id(text: &str) -> Result<ApplicationIdProto, IdError> {
    let error =
        || IdError { found: text.to_owned(), what: "application id", example: "application_1700000000000_0001" };
    let parsed = text.strip_prefix("application_").and_then(|rest| {
        let (timestamp, id) = rest.split_once('_')?;
        Some(ApplicationIdProto { id: Some(id.parse().ok()?), cluster_timestamp: Some(timestamp.parse().ok()?) })
    });
    parsed.filter(|id| application_text(id) == text).ok_or_else(error)
}

pub fn application_text(id: &ApplicationIdProto) -> String {
    format!("application_{}_{:04}", id.cluster_timestamp.unwrap_or(0), id.id.unwrap_or(0))
}

pub fn container_id(text: &str) -> Result<ContainerIdProto, IdError> {
    let error = || IdError {
        found: text.to_owned(),
        what: "container id",
        example: "container_e17_1700000000000_0001_01_000002",
    };
    let parse = || {
        let mut parts: Vec<&str> = text.strip_prefix("container_")?.split('_').collect();
        let mut epoch = 0i64;
        if let Some(number) = parts.first()?.strip_prefix('e') {
            epoch = number.parse().ok()?;
            parts.remove(0);
        }
        let [timestamp, application, attempt, number] = parts[..] else {
            return None;
        };
        let app = ApplicationIdProto {
            id: Some(application.parse().ok()?),
            cluster_timestamp: Some(timestamp.parse().ok()?),
        };
        let number: i64 = number.parse().ok()?;
        Some(ContainerIdProto {
            app_id: Some(app.clone()),
            app_attempt_id: Some(ApplicationAttemptIdProto {
                application_id: Some(app),
                attempt_id: Some(attempt.parse().ok()?),
            }),
            id: Some(number | epoch.checked_mul(1 << EPOCH_SHIFT)?),
        })
    };
    parse().filter(|id| container_text(id) == text).ok_or_else(error)
}

pub fn container_text(id: &ContainerIdProto) -> String {
    let attempt = id.app_attempt_id.clone().unwrap_or_default();
    let app = attempt.application_id.unwrap_or_default();
    let number = id.id.unwrap_or(0);
    let epoch = number >> EPOCH_SHIFT;
    let prefix = if epoch == 0 { String::new() } else { format!("e{epoch:02}_") };
    format!(
        "container_{prefix}{}_{:04}_{:02}_{:06}",
        app.cluster_timestamp.unwrap_or(0),
        app.id.unwrap_or(0),
        attempt.attempt_id.unwrap_or(0),
        number & ((1 << EPOCH_SHIFT) - 1)
    )
}

/// `host:port`
pub fn node_text(id: &NodeIdProto) -> String {
    format!("{}:{}", id.host.as_deref().unwrap_or_default(), id.port.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_as_they_were_read() {
        for text in ["container_1700000000000_0001_01_000002", "container_e17_1700000000000_12345_02_1000002"] {
            assert_eq!(container_text(&container_id(text).unwrap()), text);
        }
        let text = "application_1700000000000_0001";
        assert_eq!(application_text(&application_id(text).unwrap()), text);
        for wrong in [
            "application_1_1",
            "container_x",
            "",
            "application_1700000000000_00x1",
            "container_e99999999_1_0001_01_000002",
        ] {
            assert!(application_id(wrong).is_err() && container_id(wrong).is_err(), "{wrong}");
        }
    }
}
