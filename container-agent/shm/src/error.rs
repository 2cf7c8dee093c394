//! What can be wrong with a ring.

use std::{io, time::Duration};

use thiserror::Error;

#[derive(Debug, Error)]
pub enum RingError {
    #[error("failed to {what}")]
    System {
        what: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("the ring is damaged: {what} is {found}; {expected}")]
    Corrupt { what: &'static str, found: u64, expected: String },
    #[error(
        "a frame of {bytes} bytes does not fit into a ring of {capacity} bytes, of which a frame may take a half; raise `input.ring` or lower `input.batch`"
    )]
    TooLarge { bytes: usize, capacity: usize },
    #[error("the producer (pid {pid}) ended without an end of data")]
    ProducerGone { pid: u32 },
    #[error("the consumer (pid {pid}) is gone")]
    ConsumerGone { pid: u32 },
    #[error("the consumer closed the ring")]
    Closed,
    #[error("the producer failed: {0}")]
    Failed(String),
    #[error("nothing happened for {0:?}")]
    Timeout(Duration),
}

impl RingError {
    pub(crate) fn corrupt(what: &'static str, found: u64, expected: impl Into<String>) -> Self {
        Self::Corrupt { what, found, expected: expected.into() }
    }

    pub(crate) fn last(what: &'static str) -> Self {
        Self::System { what, source: io::Error::last_os_error() }
    }
}
