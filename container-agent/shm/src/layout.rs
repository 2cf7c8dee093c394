//! The header page. Each side writes its own line only.

use std::sync::atomic::{AtomicU32, AtomicU64};

pub const MAGIC: u64 = 0x5941_524e_4d4c_0001;
pub const VERSION: u32 = 1;
pub const HEADER_BYTES: usize = 4096;

pub mod state {
    pub const ABSENT: u32 = 0;
    pub const OPEN: u32 = 1;
    pub const CLOSED: u32 = 2;
}

#[repr(C, align(128))]
pub struct Line {
    /// Producer: bytes published. Consumer: bytes released. Both only grow.
    pub position: AtomicU64,
    /// Bumped to wake the other side.
    pub futex: AtomicU32,
    /// The other side sleeps on `futex`.
    pub peer_waits: AtomicU32,
    pub state: AtomicU32,
    pub pid: AtomicU32,
    /// Of the process, in clock ticks since boot.
    pub start_time: AtomicU64,
    /// Consumer: batches taken.
    pub taken: AtomicU64,
    /// Consumer: batches acknowledged.
    pub acknowledged: AtomicU64,
}

#[repr(C)]
pub struct HeaderPage {
    /// Written last by whoever makes the ring.
    pub magic: AtomicU64,
    pub version: AtomicU32,
    pub _unused: AtomicU32,
    pub capacity: AtomicU64,
    /// Number of the cluster spec that the ring belongs to.
    pub epoch: AtomicU64,
    pub rank: AtomicU64,
    pub producer: Line,
    pub consumer: Line,
}

const _: () = assert!(size_of::<HeaderPage>() <= HEADER_BYTES);
