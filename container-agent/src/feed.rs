//! From splits to the ring: a thread of its own, since parsing takes a core and a full ring makes it wait.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, anyhow};
use arrow_array::RecordBatch;
use futures::StreamExt;
use tokio::{runtime::Handle, sync::mpsc};
use yarn_ml_agent_core::{EndOfFeed, Event, FeedCounters};
use yarn_ml_fs::{ErrorKind, FileSystems, FsError};
use yarn_ml_operators::{Chain, SplitContext, csv, dense as slices};
use yarn_ml_protocol::{
    job::{Input, Source},
    messages::{FailureClass, Split},
    plan::{ColumnSource, StreamPlan},
    schema::Metadata,
};
use yarn_ml_shm::{Kind, Producer, Ring, RingError, dense};

/// Splits asked for ahead of need.
const AHEAD: u32 = 2;

/// What a feed reads and how.
pub struct FeedPlan {
    pub epoch: u32,
    pub rank: u32,
    pub stream: StreamPlan,
    pub source: Source,
    pub input: Input,
}

/// A running feed.
pub struct Feed {
    splits: mpsc::UnboundedSender<(Vec<Split>, bool)>,
    shared: Arc<Shared>,
    ring: OwnedFd,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    read: AtomicU64,
    filtered: AtomicU64,
    taken: AtomicU64,
    acknowledged: AtomicU64,
    /// Kept after the thread has ended: its counters are the ring's.
    producer: Mutex<Option<Producer>>,
}

/// Why a feed ended before its data did.
enum Broken {
    /// The trainer is gone or does not want any more: its own exit says why.
    Trainer,
    Failed(FailureClass, anyhow::Error),
}

impl Feed {
    /// Makes the ring and starts the thread. Events arrive in `events`, `FeedEnded` last.
    pub fn start(
        plan: FeedPlan,
        files: Arc<FileSystems>,
        work_dir: &std::path::Path,
        events: mpsc::Sender<Event>,
    ) -> Result<Self> {
        let file = yarn_ml_shm::anonymous_file(work_dir)?;
        let ring = Ring::create(file, plan.input.ring.0 as usize, u64::from(plan.epoch), u64::from(plan.rank))?;
        let theirs = ring.as_fd().try_clone_to_owned().context("failed to duplicate the ring's descriptor")?;
        let (splits, inbox) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        let thread = Thread {
            producer: Some(Producer::new(ring)),
            shared: shared.clone(),
            runtime: Handle::current(),
            files,
            events,
            inbox,
            asked: 0,
            ended: false,
            pending: Vec::new(),
            plan,
        };
        thread::Builder::new()
            .name("feed".into())
            .spawn(move || thread.run())
            .context("failed to start the feed's thread")?;
        Ok(Self { splits, shared, ring: theirs })
    }

    /// Descriptor for the trainer to inherit.
    pub fn ring(&self) -> Result<OwnedFd> {
        self.ring.try_clone().context("failed to duplicate the ring's descriptor")
    }

    pub fn feed(&self, splits: Vec<Split>, end: bool) {
        // A feed that has ended needs no splits.
        let _ = self.splits.send((splits, end));
    }

    /// Ends the thread as soon as it looks; what the trainer has taken and acknowledged stays readable.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = self.splits.send((Vec::new(), true));
    }

    pub fn counters(&self) -> FeedCounters {
        self.shared.counters()
    }
}

impl Shared {
    fn counters(&self) -> FeedCounters {
        if let Some(producer) = &*self.producer.lock().unwrap_or_else(PoisonError::into_inner) {
            self.look_at(producer);
        }
        FeedCounters {
            read: self.read.load(Ordering::Relaxed),
            filtered: self.filtered.load(Ordering::Relaxed),
            taken_batches: self.taken.load(Ordering::Relaxed),
            acknowledged_batches: self.acknowledged.load(Ordering::Relaxed),
        }
    }

    fn look_at(&self, producer: &Producer) {
        let progress = producer.progress();
        self.taken.store(progress.taken, Ordering::Relaxed);
        self.acknowledged.store(progress.acknowledged, Ordering::Relaxed);
    }
}

struct Thread {
    plan: FeedPlan,
    producer: Option<Producer>,
    shared: Arc<Shared>,
    runtime: Handle,
    files: Arc<FileSystems>,
    events: mpsc::Sender<Event>,
    inbox: mpsc::UnboundedReceiver<(Vec<Split>, bool)>,
    /// Splits that were asked for and have not come.
    asked: u32,
    ended: bool,
    pending: Vec<Split>,
}

impl Thread {
    fn run(mut self) {
        let epoch = self.plan.epoch;
        // The whole feed, or why not.
        let result = match self.producer.take() {
            Some(mut producer) => {
                let result = self.feed(&mut producer);
                if let Err(Broken::Failed(_, error)) = &result {
                    // The trainer is told as well, so that it does not wait.
                    let _ = producer.push(Kind::Error, format!("{error:#}").as_bytes(), || false);
                }
                // Kept, since a producer that is dropped without an end is an error for the trainer, which may still be reading.
                *self.shared.producer.lock().unwrap_or_else(PoisonError::into_inner) = Some(producer);
                result
            }
            None => Err(Broken::Failed(FailureClass::Internal, anyhow!("the feed ran twice"))),
        };
        let how = match result {
            Ok(()) => EndOfFeed::Complete,
            Err(Broken::Trainer) => EndOfFeed::Early,
            Err(Broken::Failed(class, error)) => {
                self.tell(Event::FeedFailed { epoch, class, message: format!("{error:#}") });
                EndOfFeed::Early
            }
        };
        let counters = self.shared.counters();
        self.tell(Event::FeedEnded { epoch, how, counters });
    }

    fn feed(&mut self, producer: &mut Producer) -> Result<(), Broken> {
        let schema = serde_json::json!({"columns": self.plan.stream.output_schema()}).to_string();
        let stopped = stop_of(&self.shared);
        producer.push(Kind::Schema, schema.as_bytes(), || !stopped()).map_err(of_ring)?;
        let internal = |error: yarn_ml_operators::OperatorError| Broken::Failed(FailureClass::Internal, error.into());
        let mut chain = Chain::new(&self.plan.stream, &self.plan.input).map_err(internal)?;
        let (wanted, metadata) = wanted(&self.plan.stream);
        let format = Arc::new(csv::Format::new(&self.plan.source, &self.plan.stream.file_schema, &wanted, &metadata));
        let mut out = Vec::new();
        while let Some(split) = self.next_split()? {
            self.read_split(&split, &format, &mut chain, producer)?;
        }
        chain.finish(&mut out).map_err(of_operator)?;
        self.push_all(&mut out, &chain, producer)?;
        producer.finish(|| !stopped()).map_err(of_ring)
    }

    fn next_split(&mut self) -> Result<Option<Split>, Broken> {
        loop {
            while !self.ended && self.asked + (self.pending.len() as u32) < AHEAD {
                let count = AHEAD - self.asked - self.pending.len() as u32;
                self.asked += count;
                self.tell(Event::FeedWantsSplits { epoch: self.plan.epoch, count });
            }
            if !self.pending.is_empty() {
                return Ok(Some(self.pending.remove(0)));
            }
            if self.ended {
                return Ok(None);
            }
            let Some((splits, end)) = self.inbox.blocking_recv() else { return Err(Broken::Trainer) };
            if self.shared.stop.load(Ordering::Relaxed) {
                return Err(Broken::Trainer);
            }
            self.asked = self.asked.saturating_sub(splits.len() as u32);
            self.pending.extend(splits);
            self.ended |= end;
        }
    }

    fn read_split(
        &mut self,
        split: &Split,
        format: &Arc<csv::Format>,
        chain: &mut Chain,
        producer: &mut Producer,
    ) -> Result<(), Broken> {
        let data = |error: csv::CsvError| Broken::Failed(FailureClass::Data, error.into());
        let (files, location) = self.files.resolve(&split.uri).map_err(of_fs)?;
        let found = self.runtime.block_on(files.status(&location.path)).map_err(of_fs)?;
        if (found.length, found.modification_time) != (split.file_length, split.modification_time) {
            let text = format!(
                "{} changed while the job read it: {} bytes of time {}, and it was discovered with {} bytes of time {}",
                split.uri, found.length, found.modification_time, split.file_length, split.modification_time
            );
            return Err(Broken::Failed(FailureClass::Data, anyhow!(text)));
        }
        let file = self.runtime.block_on(files.open(&location.path)).map_err(of_fs)?;
        let mut reader = csv::SplitReader::new(format.clone(), split);
        chain.begin_split(SplitContext { split: split.id, data_epoch: split.data_epoch });
        let mut out = Vec::new();
        while let Some(position) = reader.position() {
            // To the end of the split first; beyond it only as far as the last record goes.
            let end = split.start + split.length;
            let length = if position < end { end - position } else { 64 << 10 }.min(split.file_length - position);
            if length == 0 {
                reader.push(&[]).map_err(data)?;
                continue;
            }
            let mut pieces = file.stream(position, length);
            while let Some(bytes) = self.runtime.block_on(pieces.next()) {
                reader.push(&bytes.map_err(of_fs)?).map_err(data)?;
                while let Some(batch) = reader.next_batch() {
                    chain.process_batch(batch, &mut out).map_err(|e| of_operator_in(e, split))?;
                    self.push_all(&mut out, chain, producer)?;
                }
                if reader.position().is_none() {
                    break;
                }
            }
        }
        chain.end_split(&mut out).map_err(|e| of_operator_in(e, split))?;
        self.push_all(&mut out, chain, producer)?;
        if let Some(end) = reader.end() {
            self.tell(Event::FeedSplitDone {
                epoch: self.plan.epoch,
                split: split.id,
                first_offset: end.first_offset,
                end_offset: end.end_offset,
                rows: end.rows,
            });
        }
        Ok(())
    }

    fn push_all(&mut self, out: &mut Vec<RecordBatch>, chain: &Chain, producer: &mut Producer) -> Result<(), Broken> {
        let stopped = stop_of(&self.shared);
        for batch in out.drain(..) {
            let columns: Vec<dense::Column<'_>> = slices::columns(&batch).into_iter().map(column).collect();
            let rows = batch.num_rows();
            // Told first: an acknowledgement must not overtake it.
            self.tell(Event::FeedProduced { epoch: self.plan.epoch, rows: rows as u64 });
            dense::push(producer, &columns, rows, || !stopped()).map_err(of_ring)?;
            self.shared.look_at(producer);
        }
        let counters = chain.counters();
        self.shared.read.store(counters.read, Ordering::Relaxed);
        self.shared.filtered.store(counters.filtered, Ordering::Relaxed);
        Ok(())
    }

    fn tell(&self, event: Event) {
        // The driver is gone only when the process ends.
        let _ = self.events.blocking_send(event);
    }
}

fn stop_of(shared: &Arc<Shared>) -> impl Fn() -> bool + use<> {
    let shared = shared.clone();
    move || shared.stop.load(Ordering::Relaxed)
}

fn bits(bits: slices::Bits<'_>) -> dense::Bits<'_> {
    dense::Bits { bytes: bits.bytes, offset: bits.offset }
}

fn column(slices: slices::ColumnSlices<'_>) -> dense::Column<'_> {
    dense::Column {
        values: match slices.values {
            slices::Values::Fixed { bytes, width } => dense::Values::Fixed { bytes, width },
            slices::Values::Bits(found) => dense::Values::Bits(bits(found)),
            slices::Values::Variable { offsets, data } => dense::Values::Variable { offsets, data },
        },
        validity: slices.validity.map(bits),
        nullable: slices.nullable,
    }
}

/// What the chain takes out of the files.
fn wanted(stream: &StreamPlan) -> (Vec<&str>, Vec<Metadata>) {
    let mut names = Vec::new();
    let mut metadata = Vec::new();
    for column in &stream.columns {
        match &column.from {
            ColumnSource::Field(name) => names.push(name.as_str()),
            ColumnSource::Metadata(kind) => metadata.push(*kind),
        }
    }
    (names, metadata)
}

fn of_ring(error: RingError) -> Broken {
    match error {
        RingError::Closed | RingError::ConsumerGone { .. } => Broken::Trainer,
        RingError::TooLarge { .. } => Broken::Failed(FailureClass::Program, error.into()),
        other => Broken::Failed(FailureClass::Internal, other.into()),
    }
}

fn of_fs(error: FsError) -> Broken {
    let class = match error.kind {
        ErrorKind::NotFound | ErrorKind::Changed | ErrorKind::Corrupt | ErrorKind::PermissionDenied => {
            FailureClass::Data
        }
        _ => FailureClass::Infrastructure,
    };
    Broken::Failed(class, error.into())
}

fn of_operator(error: yarn_ml_operators::OperatorError) -> Broken {
    Broken::Failed(FailureClass::Data, error.into())
}

fn of_operator_in(error: yarn_ml_operators::OperatorError, split: &Split) -> Broken {
    let place = format!("{}, bytes {} to {}", split.uri, split.start, split.start + split.length);
    Broken::Failed(FailureClass::Data, anyhow::Error::from(error).context(place))
}
