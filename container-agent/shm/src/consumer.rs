//! The reading side.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{Ordering, fence},
    },
    time::{Duration, Instant},
};

use crate::{
    RingError,
    frame::{ALIGN, Header, Kind, padded},
    futex,
    layout::state,
    map::Ring,
    peer,
    producer::wake,
};

/// Between looks at the other side.
const SLICE: Duration = Duration::from_millis(100);

pub struct Consumer {
    shared: Arc<Shared>,
    /// Bytes taken.
    position: u64,
    batches: u64,
    rows: u64,
    ended: bool,
}

struct Shared {
    ring: Arc<Ring>,
    held: Mutex<Held>,
}

/// Frames that are taken and not yet passed by the tail, oldest first.
#[derive(Default)]
struct Held {
    first: u64,
    frames: VecDeque<(u64, bool)>,
}

/// Acknowledges, and nothing else.
#[derive(Clone)]
pub struct Acknowledger {
    ring: Arc<Ring>,
}

pub enum Next {
    Frame(FrameRef),
    /// Nothing came in time.
    Idle,
    /// The producer has said so, and its totals are ours.
    End,
}

/// A frame in place. Its room is given back when it is dropped and all before it are.
pub struct FrameRef {
    shared: Arc<Shared>,
    number: u64,
    header: Header,
    /// Of the payload.
    begin: std::ptr::NonNull<u8>,
}

// SAFETY: the pointer is into memory that `shared` keeps mapped, and the frame is this value's alone until it is dropped.
unsafe impl Send for FrameRef {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for FrameRef {}

impl Consumer {
    /// The only one of its ring.
    pub fn new(ring: Arc<Ring>) -> Self {
        peer::enter(&ring.header().consumer);
        Self {
            shared: Arc::new(Shared { ring, held: Mutex::default() }),
            position: 0,
            batches: 0,
            rows: 0,
            ended: false,
        }
    }

    /// The next frame, waiting for at most `limit`.
    pub fn next(&mut self, limit: Duration) -> Result<Next, RingError> {
        if self.ended {
            return Ok(Next::End);
        }
        let deadline = Instant::now() + limit;
        loop {
            let published = self.published()?;
            if published > 0 {
                return self.take(published);
            }
            let line = &self.shared.ring.header().producer;
            let closed = line.state.load(Ordering::Acquire) == state::CLOSED;
            if closed || peer::is_gone(line) {
                // It may have published and then gone.
                let published = self.published()?;
                if published > 0 {
                    return self.take(published);
                }
                return Err(RingError::ProducerGone { pid: line.pid.load(Ordering::Relaxed) });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Next::Idle);
            }
            let seen = line.futex.load(Ordering::Acquire);
            line.peer_waits.store(1, Ordering::SeqCst);
            // SYNC POINT: frame published. The flag is set before the position is looked at again, and the producer stores the
            // position before it looks at the flag.
            fence(Ordering::SeqCst);
            if self.published()? == 0 {
                futex::wait(&line.futex, seen, left.min(SLICE));
            }
            line.peer_waits.store(0, Ordering::Relaxed);
        }
    }

    /// Bytes published and not taken.
    fn published(&self) -> Result<u64, RingError> {
        // SYNC POINT: frame published. Pairs with the producer's Release store.
        let head = self.shared.ring.header().producer.position.load(Ordering::Acquire);
        let published = head.wrapping_sub(self.position);
        if published > self.shared.ring.capacity() as u64 || !published.is_multiple_of(ALIGN as u64) {
            return Err(RingError::corrupt(
                "the producer's position",
                head,
                format!("the consumer is at {}", self.position),
            ));
        }
        Ok(published)
    }

    fn take(&mut self, published: u64) -> Result<Next, RingError> {
        let at = self.shared.ring.at(self.position);
        // JUSTIFICATION: the frame lies in memory that another process maps.
        // SAFETY: at least one header is published, and `at` has `capacity` bytes behind it. Copied once, so that what is checked
        // is what is used.
        let bytes = unsafe { at.as_ptr().cast::<[u8; ALIGN]>().read_volatile() };
        let header = Header::decode(&bytes, published)?;
        self.position += padded(ALIGN as u64 + header.length);
        let number = self.shared.hold(self.position);
        // SAFETY: header and payload lie within what is published.
        let begin = unsafe { at.add(ALIGN) };
        let frame = FrameRef { shared: self.shared.clone(), number, header, begin };
        let line = &self.shared.ring.header().consumer;
        match header.kind {
            Kind::Batch => {
                if header.seq != self.batches {
                    return Err(RingError::corrupt(
                        "the number of a batch",
                        header.seq,
                        format!("{} is due", self.batches),
                    ));
                }
                self.batches += 1;
                self.rows += header.rows;
                line.taken.store(self.batches, Ordering::Release);
            }
            Kind::Eof => {
                if (header.seq, header.rows) != (self.batches, self.rows) {
                    let ours = format!("{} batches with {} rows came", self.batches, self.rows);
                    return Err(RingError::corrupt("the number of batches at the end of data", header.seq, ours));
                }
                self.ended = true;
                return Ok(Next::End);
            }
            Kind::Error => return Err(RingError::Failed(String::from_utf8_lossy(frame.bytes()).into_owned())),
            Kind::Schema | Kind::Barrier | Kind::EpochEnd => {}
        }
        Ok(Next::Frame(frame))
    }

    /// The step that used every batch up to `seq`, inclusive, has finished.
    pub fn acknowledge(&self, seq: u64) {
        self.acknowledger().acknowledge(seq);
    }

    /// For those who acknowledge while another thread waits for a frame.
    pub fn acknowledger(&self) -> Acknowledger {
        Acknowledger { ring: self.shared.ring.clone() }
    }

    /// Frames that are taken and not given back.
    pub fn held(&self) -> usize {
        let held = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.frames.iter().filter(|(_, released)| !released).count()
    }

    pub fn ring(&self) -> &Ring {
        &self.shared.ring
    }
}

impl Acknowledger {
    /// Every batch up to `seq`, inclusive.
    pub fn acknowledge(&self, seq: u64) {
        self.ring.header().consumer.acknowledged.fetch_max(seq.saturating_add(1), Ordering::AcqRel);
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let line = &self.shared.ring.header().consumer;
        line.state.store(state::CLOSED, Ordering::Release);
        line.futex.fetch_add(1, Ordering::Release);
        futex::wake(&line.futex);
    }
}

impl Shared {
    fn hold(&self, end: u64) -> u64 {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.frames.push_back((end, false));
        held.first + held.frames.len() as u64 - 1
    }

    /// The tail follows the released prefix.
    fn release(&self, number: u64) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let at = (number - held.first) as usize;
        if let Some(frame) = held.frames.get_mut(at) {
            frame.1 = true;
        }
        let mut tail = None;
        while let Some((end, true)) = held.frames.front().copied() {
            held.frames.pop_front();
            held.first += 1;
            tail = Some(end);
        }
        if let Some(tail) = tail {
            let line = &self.ring.header().consumer;
            // SYNC POINT: space released. Nobody on this side looks at the bytes any more.
            line.position.store(tail, Ordering::Release);
            wake(line);
        }
    }
}

impl FrameRef {
    pub fn header(&self) -> Header {
        self.header
    }

    pub fn bytes(&self) -> &[u8] {
        // JUSTIFICATION: as in `take`.
        // SAFETY: the payload stays mapped and unwritten until this frame is dropped: the producer waits for the tail to pass it.
        unsafe { std::slice::from_raw_parts(self.begin.as_ptr(), self.header.length as usize) }
    }

    /// For those who hand the memory on; valid until the frame is dropped.
    pub fn as_ptr(&self) -> *mut u8 {
        self.begin.as_ptr()
    }
}

impl Drop for FrameRef {
    fn drop(&mut self) {
        self.shared.release(self.number);
    }
}
