//! A ring of frames in shared memory: one producer, one consumer, one frame a batch.
//!
//! The only crate with `unsafe` code besides the two shims that hand it to Python and to TensorFlow: memory that another process
//! writes has no owner in Rust's sense, and waking that process is a system call.
//!
//! ```text
//!   page 0            header: what the ring is, the producer's line, the consumer's line
//!   4096 … + capacity data, mapped twice in a row, so that a frame never wraps
//!
//!   tail ◀── released ──▶ ◀── held by the consumer ──▶ ◀── published ──▶ head ◀── free ──▶ tail + capacity
//! ```
//!
//! A producer killed in the middle of a frame leaves nothing visible: `head` moves last. Everything read back from the other side
//! is checked before it is used: it may be dying, or not be ours.

#![allow(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]

mod consumer;
pub mod dense;
mod error;
mod frame;
mod futex;
mod layout;
mod map;
mod peer;
mod producer;

pub use consumer::{Acknowledger, Consumer, FrameRef, Next};
pub use error::RingError;
pub use frame::{Header, Kind};
pub use map::{Ring, anonymous_file};
pub use producer::{Producer, Progress, Reservation};

/// Smallest capacity, bytes.
pub const MIN_CAPACITY: usize = 64 << 10;
