//! How a command ends when it does not end well: a message for people and an exit code for scripts.

use yarn_ml_protocol::exit::ExitCode;

/// An error with the exit code it means. Carried through `anyhow` by [`Context::or_exit`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub code: ExitCode,
    pub message: String,
    #[source]
    pub source: Option<anyhow::Error>,
}

/// A failure without a cause below it.
pub fn failure(code: ExitCode, message: impl Into<String>) -> anyhow::Error {
    Failure { code, message: message.into(), source: None }.into()
}

pub trait OrExit<T> {
    /// Says what failed and which exit code it means.
    fn or_exit(self, code: ExitCode, message: impl FnOnce() -> String) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, code: ExitCode, message: impl FnOnce() -> String) -> anyhow::Result<T> {
        self.map_err(|source| Failure { code, message: message(), source: Some(source.into()) }.into())
    }
}

/// The code of the outermost failure that names one; ours otherwise.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    error.chain().find_map(|e| e.downcast_ref::<Failure>()).map_or(ExitCode::Internal, |failure| failure.code)
}

/// Cause behind cause, each on its own words.
pub fn text(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // Some libraries repeat their source in their own text.
        if parts.last().is_none_or(|last| !last.ends_with(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}
