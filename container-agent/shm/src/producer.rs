//! The writing side.

use std::{
    sync::{
        Arc,
        atomic::{Ordering, fence},
    },
    time::Duration,
};

use crate::{
    RingError,
    frame::{ALIGN, Header, Kind, padded},
    futex,
    layout::state,
    map::Ring,
    peer,
};

/// Between looks at the other side.
const SLICE: Duration = Duration::from_millis(100);

pub struct Producer {
    ring: Arc<Ring>,
    /// Bytes published.
    head: u64,
    batches: u64,
    rows: u64,
}

/// How far the consumer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Batches taken out.
    pub taken: u64,
    /// Batches acknowledged by the consumer itself.
    pub acknowledged: u64,
}

/// Room for one frame, not yet published.
pub struct Reservation<'a> {
    producer: &'a mut Producer,
    length: usize,
}

impl Producer {
    /// The only one of its ring.
    pub fn new(ring: Arc<Ring>) -> Self {
        peer::enter(&ring.header().producer);
        Self { ring, head: 0, batches: 0, rows: 0 }
    }

    /// Largest payload: two frames must fit, or producer and consumer would wait for each other in turn.
    pub fn largest(&self) -> usize {
        self.ring.capacity() / 2 - ALIGN
    }

    /// Waits until there is room for a payload of `length` bytes. `go_on` is asked about ten times a second; when it says no,
    /// [`RingError::Closed`].
    pub fn reserve(&mut self, length: usize, mut go_on: impl FnMut() -> bool) -> Result<Reservation<'_>, RingError> {
        if length > self.largest() {
            return Err(RingError::TooLarge { bytes: length, capacity: self.ring.capacity() });
        }
        let need = padded((ALIGN + length) as u64);
        while self.free()? < need {
            let line = &self.ring.header().consumer;
            if line.state.load(Ordering::Acquire) == state::CLOSED || !go_on() {
                return Err(RingError::Closed);
            }
            if peer::is_gone(line) {
                return Err(RingError::ConsumerGone { pid: line.pid.load(Ordering::Relaxed) });
            }
            let seen = line.futex.load(Ordering::Acquire);
            line.peer_waits.store(1, Ordering::SeqCst);
            // SYNC POINT: space released. The flag is set before the position is looked at again, and the consumer stores the
            // position before it looks at the flag: one of the two sees the other.
            fence(Ordering::SeqCst);
            if self.free()? < need {
                futex::wait(&line.futex, seen, SLICE);
            }
            line.peer_waits.store(0, Ordering::Relaxed);
        }
        Ok(Reservation { producer: self, length })
    }

    /// Bytes free. The consumer's position is its own, and it may be mad.
    fn free(&self) -> Result<u64, RingError> {
        // SYNC POINT: space released. Pairs with the consumer's Release store.
        let tail = self.ring.header().consumer.position.load(Ordering::Acquire);
        let used = self.head.wrapping_sub(tail);
        if used > self.ring.capacity() as u64 {
            return Err(RingError::corrupt(
                "the consumer's position",
                tail,
                format!("the producer is at {}", self.head),
            ));
        }
        Ok(self.ring.capacity() as u64 - used)
    }

    /// One frame from bytes at hand.
    pub fn push(&mut self, kind: Kind, payload: &[u8], go_on: impl FnMut() -> bool) -> Result<(), RingError> {
        let mut reservation = self.reserve(payload.len(), go_on)?;
        reservation.bytes().copy_from_slice(payload);
        reservation.publish(kind, 0, 0);
        Ok(())
    }

    /// The end of data, with totals that the consumer checks.
    pub fn finish(&mut self, go_on: impl FnMut() -> bool) -> Result<(), RingError> {
        self.push(Kind::Eof, &[], go_on)
    }

    pub fn progress(&self) -> Progress {
        let line = &self.ring.header().consumer;
        Progress {
            taken: line.taken.load(Ordering::Acquire).min(self.batches),
            acknowledged: line.acknowledged.load(Ordering::Acquire),
        }
    }

    pub fn batches(&self) -> u64 {
        self.batches
    }

    fn publish(&mut self, kind: Kind, codec: u32, length: usize, rows: u64) {
        let (seq, total) = match kind {
            Kind::Eof => (self.batches, self.rows),
            _ => (self.batches, rows),
        };
        let header = Header { kind, codec, length: length as u64, seq, rows: total, epoch: self.ring.epoch() }.encode();
        // JUSTIFICATION: the frame lies in memory that another process maps.
        // SAFETY: `reserve` has seen that header and payload lie between head and tail + capacity, where nobody reads.
        unsafe {
            self.ring.at(self.head).as_ptr().cast::<[u8; ALIGN]>().write(header);
        }
        if kind == Kind::Batch {
            self.batches += 1;
            self.rows += rows;
        }
        self.head += padded((ALIGN + length) as u64);
        let line = &self.ring.header().producer;
        // SYNC POINT: frame published. Everything of the frame is written before the position says so.
        line.position.store(self.head, Ordering::Release);
        wake(line);
    }
}

/// Wakes the side that sleeps on a line, and makes no system call otherwise.
pub(crate) fn wake(line: &crate::layout::Line) {
    // The position was stored before this fence; the other side sets its flag before it looks at the position.
    fence(Ordering::SeqCst);
    if line.peer_waits.swap(0, Ordering::Relaxed) != 0 {
        line.futex.fetch_add(1, Ordering::Release);
        futex::wake(&line.futex);
    }
}

impl Reservation<'_> {
    /// To be filled; what is left out holds bytes of an old frame.
    pub fn bytes(&mut self) -> &mut [u8] {
        let begin = self.producer.ring.at(self.producer.head + ALIGN as u64);
        // JUSTIFICATION: as in `publish`.
        // SAFETY: the bytes are reserved, nobody else touches them before they are published, and the borrow of the producer lasts
        // as long as the slice.
        unsafe { std::slice::from_raw_parts_mut(begin.as_ptr(), self.length) }
    }

    pub fn publish(self, kind: Kind, codec: u32, rows: u64) {
        self.producer.publish(kind, codec, self.length, rows);
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let line = &self.ring.header().producer;
        line.state.store(state::CLOSED, Ordering::Release);
        line.futex.fetch_add(1, Ordering::Release);
        futex::wake(&line.futex);
    }
}
