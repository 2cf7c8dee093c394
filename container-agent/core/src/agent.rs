//! The life of an agent and of its trainer.
//!
//! ```text
//!   Attaching ──Assign──▶ Idle ──StartTrainer(e)──▶ Running(e) ──exit──▶ Settling(e) ──uploads done──▶ Idle
//!                          │                          │   ▲                                             │
//!                          │                     StopTrainer: SIGTERM, grace, SIGKILL                   │
//!                          └──────────── Shutdown, AM lost for too long, SIGTERM ──▶ Ending ──▶ Exit ◀──┘
//! ```
//!
//! `TrainerExited` is the last message of an epoch: it waits until the feed has stopped and every upload has ended, so that its
//! counters are final.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use yarn_ml_protocol::{
    messages::{
        Acknowledged, AgentEvent, AmCommand, Artifact, Failed, FailureClass, PortBound, Progress, Publish, Published,
        Rank, RankAck, RoleAddresses, Rows, Split, SplitDone, SplitRequest, StartTrainer, StopRequested, TrainerExited,
        TrainerStarted,
    },
    trainer::{AgentReply, TrainerMessage},
};

use crate::ledger::Ledger;

/// An event and when it happened, counted from the agent's start.
#[derive(Clone, Debug, PartialEq)]
pub struct Stamped<E> {
    pub at: Duration,
    pub event: E,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    AmAttached,
    AmDetached,
    Commanded(AmCommand),
    TrainerSpawned {
        epoch: u32,
        pid: u32,
    },
    SpawnFailed {
        epoch: u32,
        class: FailureClass,
        message: String,
    },
    TrainerSaid {
        epoch: u32,
        message: TrainerMessage,
    },
    /// Something unreadable came over the trainer's socket.
    TrainerGarbled {
        epoch: u32,
        message: String,
    },
    /// The process is reaped and its output is in the logs.
    TrainerReaped {
        epoch: u32,
        status: ExitStatus,
    },
    FeedWantsSplits {
        epoch: u32,
        count: u32,
    },
    FeedProduced {
        epoch: u32,
        rows: u64,
    },
    FeedSplitDone {
        epoch: u32,
        split: u64,
        first_offset: u64,
        end_offset: u64,
        rows: u64,
    },
    /// A look at the ring and the chain, about once a second and when the trainer has been reaped.
    FeedCounted {
        epoch: u32,
        counters: FeedCounters,
    },
    FeedFailed {
        epoch: u32,
        class: FailureClass,
        message: String,
    },
    /// The feed has stopped; nothing comes from it in this epoch any more.
    FeedEnded {
        epoch: u32,
        how: EndOfFeed,
        counters: FeedCounters,
    },
    UploadDone {
        upload: Upload,
        files: u64,
        bytes: u64,
    },
    UploadFailed {
        upload: Upload,
        message: String,
    },
    Measured {
        agent_pss: u64,
        trainer_pss: u64,
    },
    TimerFired {
        timer: Timer,
        generation: u64,
    },
    /// SIGTERM from YARN or from the local backend: at most 250 ms are left.
    TerminationOrdered,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Send(AgentEvent),
    Spawn(StartTrainer),
    /// To the trainer's whole process group.
    Terminate,
    Kill,
    Reply(AgentReply),
    StartFeed {
        epoch: u32,
    },
    Feed {
        splits: Vec<Split>,
        end: bool,
    },
    /// The trainer is gone or going: end the feed's thread.
    StopFeed,
    Upload(Upload),
    SetTimer {
        timer: Timer,
        generation: u64,
        after: Duration,
    },
    /// End the process.
    Exit {
        code: i32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitStatus {
    /// Exit code, or 128 + signal.
    pub code: i32,
    /// 0 unless a signal ended it.
    pub signal: i32,
    pub traceback: String,
    pub log: String,
    pub ran: Duration,
}

/// What ring and chain have counted in this epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedCounters {
    pub read: u64,
    pub filtered: u64,
    /// Batches that the trainer took out of the ring.
    pub taken_batches: u64,
    /// Highest batch that the trainer itself acknowledged in the ring, plus one.
    pub acknowledged_batches: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOfFeed {
    /// The end-of-data frame is in the ring.
    Complete,
    /// Stopped before the end of data, or failed.
    Early,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub epoch: u32,
    pub artifact: Artifact,
    /// For a checkpoint, the trainer's local folder; the model's folder is known to the driver.
    pub local: String,
    /// Step of a checkpoint.
    pub step: u64,
    /// Final place of a model.
    pub uri: String,
    pub application_attempt: u32,
    pub overwrite: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Between SIGTERM and SIGKILL.
    Grace,
    Progress,
    /// Without an AM.
    Orphan,
}

#[derive(Clone, Copy, Debug)]
pub struct AgentLimits {
    pub progress: Duration,
    /// An agent without its AM works on for this long, then ends.
    pub orphan: Duration,
    /// For the trainer to end after the AM is given up.
    pub grace: Duration,
}

impl Default for AgentLimits {
    fn default() -> Self {
        Self { progress: Duration::from_millis(500), orphan: Duration::from_secs(60), grace: Duration::from_secs(5) }
    }
}

pub struct AgentCore {
    limits: AgentLimits,
    /// Roles that read samples.
    readers: BTreeSet<String>,
    reads_input: bool,
    state: State,
    am: Am,
    application_attempt: u32,
    generations: BTreeMap<Timer, u64>,
    /// Messages that were dropped since they belong to another epoch.
    pub stale: u64,
}

#[derive(Debug, PartialEq)]
enum Am {
    Attached,
    Detached,
}

#[derive(Debug)]
enum State {
    Attaching,
    /// A rank without a trainer.
    Idle,
    Running(Box<Run>),
    /// The trainer is gone; feed and uploads come to their ends.
    Settling(Box<Run>),
    /// Told to end; the trainer is being stopped.
    Ending(Box<Run>, i32),
    Ended,
}

#[derive(Debug)]
struct Run {
    epoch: u32,
    ordered: bool,
    ledger: Ledger,
    counters: FeedCounters,
    feed: Feed,
    report: String,
    uploads: u32,
    wants_cluster: bool,
    cluster: Option<Vec<RoleAddresses>>,
    exit: Option<ExitStatus>,
    memory: (u64, u64),
    failed: bool,
}

#[derive(Debug, PartialEq)]
enum Feed {
    /// The rank reads nothing.
    None,
    Open,
    Ended(EndOfFeed),
}

impl AgentCore {
    pub fn new(readers: BTreeSet<String>, limits: AgentLimits) -> Self {
        Self {
            limits,
            readers,
            reads_input: false,
            state: State::Attaching,
            am: Am::Detached,
            application_attempt: 0,
            generations: BTreeMap::new(),
            stale: 0,
        }
    }

    /// True once [`Action::Exit`] was given.
    pub fn ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    pub fn on_event(&mut self, stamped: Stamped<Event>) -> Vec<Action> {
        let mut out = Vec::new();
        match stamped.event {
            Event::AmAttached => {
                self.am = Am::Attached;
                self.cancel(Timer::Orphan);
            }
            Event::AmDetached => {
                if self.am == Am::Attached || matches!(self.state, State::Attaching) {
                    self.am = Am::Detached;
                    self.set(Timer::Orphan, self.limits.orphan, &mut out);
                }
            }
            Event::Commanded(command) => self.on_command(command, &mut out),
            Event::TerminationOrdered => self.end(143, true, &mut out),
            Event::TimerFired { timer, generation } => {
                if self.generations.get(&timer) == Some(&generation) {
                    self.on_timer(timer, &mut out);
                }
            }
            Event::Measured { agent_pss, trainer_pss } => {
                if let Some(run) = self.run() {
                    run.memory = (agent_pss, trainer_pss);
                }
            }
            Event::UploadDone { upload, files, bytes } => {
                self.on_upload_done(upload, files, bytes, &mut out);
            }
            Event::UploadFailed { upload, message } => {
                self.on_upload_failed(upload, message, &mut out);
            }
            of_epoch => self.on_epoch_event(of_epoch, &mut out),
        }
        out
    }

    fn on_command(&mut self, command: AmCommand, out: &mut Vec<Action>) {
        match command {
            AmCommand::Assign(assign) => {
                self.application_attempt = assign.application_attempt;
                self.reads_input = assign.rank.is_some_and(|rank| self.readers.contains(&rank.role));
                if matches!(self.state, State::Attaching) {
                    self.state = State::Idle;
                }
            }
            AmCommand::StartTrainer(start) => match &self.state {
                State::Idle => {
                    let epoch = start.epoch;
                    self.state = State::Running(Box::new(Run::new(epoch, self.reads_input)));
                    if self.reads_input {
                        out.push(Action::StartFeed { epoch });
                    }
                    out.push(Action::Spawn(start));
                    self.set(Timer::Progress, self.limits.progress, out);
                }
                // A repeated order after a reconnection, or one that crossed our end.
                _ => self.stale += 1,
            },
            AmCommand::ClusterReady(ready) => match self.run() {
                Some(run) if run.epoch == ready.epoch => {
                    run.cluster = Some(ready.cluster);
                    run.tell_cluster(out);
                }
                _ => self.stale += 1,
            },
            AmCommand::Splits(splits) => match self.run() {
                Some(run) if run.epoch == splits.epoch && run.feed == Feed::Open => {
                    out.push(Action::Feed { splits: splits.splits, end: splits.end });
                }
                _ => self.stale += 1,
            },
            AmCommand::Acknowledged(ack) => match self.run() {
                Some(run) if run.epoch == ack.epoch => run.acknowledge(ack.seq, out),
                _ => self.stale += 1,
            },
            AmCommand::StopTrainer(stop) => match &mut self.state {
                State::Running(run) if run.epoch == stop.epoch => {
                    run.ordered = true;
                    out.push(Action::Terminate);
                    self.set(Timer::Grace, Duration::from_millis(stop.grace_millis), out);
                }
                _ => self.stale += 1,
            },
            AmCommand::Publish(publish) => self.on_publish(publish, out),
            AmCommand::Shutdown(shutdown) => self.end(shutdown.exit_code, false, out),
        }
    }

    fn on_publish(&mut self, publish: Publish, out: &mut Vec<Action>) {
        // A newer attempt has taken over: the older one publishes nothing through us.
        if publish.application_attempt != self.application_attempt {
            self.stale += 1;
            return;
        }
        out.push(Action::Upload(Upload {
            epoch: publish.epoch,
            artifact: publish.artifact(),
            local: String::new(),
            step: 0,
            uri: publish.uri,
            application_attempt: publish.application_attempt,
            overwrite: publish.overwrite,
        }));
    }

    fn on_epoch_event(&mut self, event: Event, out: &mut Vec<Action>) {
        let epoch = match &event {
            Event::TrainerSpawned { epoch, .. }
            | Event::SpawnFailed { epoch, .. }
            | Event::TrainerSaid { epoch, .. }
            | Event::TrainerGarbled { epoch, .. }
            | Event::TrainerReaped { epoch, .. }
            | Event::FeedWantsSplits { epoch, .. }
            | Event::FeedProduced { epoch, .. }
            | Event::FeedSplitDone { epoch, .. }
            | Event::FeedCounted { epoch, .. }
            | Event::FeedFailed { epoch, .. }
            | Event::FeedEnded { epoch, .. } => *epoch,
            _ => return,
        };
        let attempt = self.application_attempt;
        let Some(run) = self.run().filter(|run| run.epoch == epoch) else {
            self.stale += 1;
            return;
        };
        match event {
            Event::TrainerSpawned { pid, .. } => {
                out.push(Action::Send(AgentEvent::TrainerStarted(TrainerStarted { epoch, pid })));
            }
            Event::SpawnFailed { class, message, .. } => {
                run.fail(class, message, out);
                run.exit.get_or_insert(ExitStatus::never_ran());
                if run.feed == Feed::Open {
                    out.push(Action::StopFeed);
                }
            }
            Event::TrainerSaid { message, .. } => run.on_trainer(message, attempt, out),
            Event::TrainerGarbled { message, .. } => run.fail(
                FailureClass::Program,
                format!("the trainer wrote what is no message on its socket: {message}"),
                out,
            ),
            Event::TrainerReaped { status, .. } => {
                run.exit = Some(status);
                if run.feed == Feed::Open {
                    out.push(Action::StopFeed);
                }
            }
            Event::FeedWantsSplits { count, .. } => {
                out.push(Action::Send(AgentEvent::SplitRequest(SplitRequest { epoch, count })));
            }
            Event::FeedProduced { rows, .. } => run.ledger.produce(rows),
            Event::FeedSplitDone { split, first_offset, end_offset, rows, .. } => {
                out.push(Action::Send(AgentEvent::SplitDone(SplitDone {
                    epoch,
                    split,
                    first_offset,
                    end_offset,
                    rows,
                })));
            }
            Event::FeedCounted { counters, .. } => run.count(counters, out),
            Event::FeedFailed { class, message, .. } => run.fail(class, message, out),
            Event::FeedEnded { how, counters, .. } => {
                run.count(counters, out);
                run.feed = Feed::Ended(how);
            }
            _ => {}
        }
        self.settle(out);
    }

    /// Moves on when the trainer is gone, and tells the AM when nothing can change any more.
    fn settle(&mut self, out: &mut Vec<Action>) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Running(run) if run.exit.is_some() => {
                self.cancel(Timer::Grace);
                self.state = State::Settling(run);
                self.settle(out);
            }
            State::Settling(mut run) if run.is_settled() => {
                run.progress(out);
                out.push(Action::Send(AgentEvent::TrainerExited(run.exited())));
                self.cancel(Timer::Progress);
                self.state = State::Idle;
            }
            State::Ending(run, code) if run.exit.is_some() && run.feed != Feed::Open => {
                out.push(Action::Send(AgentEvent::TrainerExited(run.exited())));
                out.push(Action::Exit { code });
            }
            other => self.state = other,
        }
    }

    fn on_timer(&mut self, timer: Timer, out: &mut Vec<Action>) {
        match timer {
            Timer::Grace => {
                if matches!(self.state, State::Running(_) | State::Ending(..)) {
                    out.push(Action::Kill);
                }
            }
            Timer::Progress => {
                if let Some(run) = self.run() {
                    run.progress(out);
                    self.set(Timer::Progress, self.limits.progress, out);
                }
            }
            Timer::Orphan => self.end(1, false, out),
        }
    }

    fn on_upload_done(&mut self, upload: Upload, files: u64, bytes: u64, out: &mut Vec<Action>) {
        if let Some(run) = self.run().filter(|run| run.epoch == upload.epoch)
            && upload.artifact == Artifact::Checkpoint
        {
            run.uploads -= 1;
            out.push(Action::Reply(AgentReply::CheckpointPublished { step: upload.step, uri: upload.uri.clone() }));
        }
        out.push(Action::Send(AgentEvent::Published(Published {
            epoch: upload.epoch,
            artifact: upload.artifact.into(),
            uri: upload.uri,
            files,
            bytes,
        })));
        self.settle(out);
    }

    fn on_upload_failed(&mut self, upload: Upload, message: String, out: &mut Vec<Action>) {
        let what = match upload.artifact {
            Artifact::Checkpoint => {
                format!("failed to publish the checkpoint of step {}", upload.step)
            }
            _ => format!("failed to publish the model to {}", upload.uri),
        };
        let message = format!("{what}: {message}");
        let of_run = self.run().filter(|run| run.epoch == upload.epoch);
        match of_run {
            Some(run) if upload.artifact == Artifact::Checkpoint => {
                run.uploads -= 1;
                out.push(Action::Reply(AgentReply::CheckpointFailed { step: upload.step, message: message.clone() }));
                run.fail(FailureClass::Infrastructure, message, out);
            }
            _ => out.push(Action::Send(AgentEvent::Failed(Failed {
                epoch: upload.epoch,
                class: FailureClass::Infrastructure.into(),
                message,
            }))),
        }
        self.settle(out);
    }

    /// Ends the process as soon as the trainer is gone. At once: there is no time for a grace period.
    fn end(&mut self, code: i32, at_once: bool, out: &mut Vec<Action>) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Running(mut run) => {
                run.ordered = true;
                if at_once {
                    out.push(Action::Kill);
                } else {
                    out.push(Action::Terminate);
                    self.set(Timer::Grace, self.limits.grace, out);
                }
                self.state = State::Ending(run, code);
            }
            State::Ending(run, first) => {
                out.push(Action::Kill);
                self.state = State::Ending(run, first);
            }
            State::Settling(run) if !at_once => {
                if run.feed == Feed::Open {
                    out.push(Action::StopFeed);
                }
                self.state = State::Ending(run, code);
                self.settle(out);
            }
            State::Attaching | State::Idle | State::Settling(_) => {
                out.push(Action::Exit { code });
            }
            State::Ended => {}
        }
    }

    fn run(&mut self) -> Option<&mut Run> {
        match &mut self.state {
            State::Running(run) | State::Settling(run) | State::Ending(run, _) => Some(run),
            State::Attaching | State::Idle | State::Ended => None,
        }
    }

    fn set(&mut self, timer: Timer, after: Duration, out: &mut Vec<Action>) {
        let generation = self.generations.entry(timer).or_default();
        *generation += 1;
        out.push(Action::SetTimer { timer, generation: *generation, after });
    }

    /// A firing of an older generation does nothing, so that nothing has to be told to the driver.
    fn cancel(&mut self, timer: Timer) {
        *self.generations.entry(timer).or_default() += 1;
    }
}

impl Run {
    fn new(epoch: u32, reads_input: bool) -> Self {
        Self {
            epoch,
            ordered: false,
            ledger: Ledger::default(),
            counters: FeedCounters::default(),
            feed: if reads_input { Feed::Open } else { Feed::None },
            report: String::new(),
            uploads: 0,
            wants_cluster: false,
            cluster: None,
            exit: None,
            memory: (0, 0),
            failed: false,
        }
    }

    fn on_trainer(&mut self, message: TrainerMessage, attempt: u32, out: &mut Vec<Action>) {
        let epoch = self.epoch;
        match message {
            TrainerMessage::Bound { port } => {
                let port = u32::from(port);
                out.push(Action::Send(AgentEvent::PortBound(PortBound { epoch, port })));
            }
            TrainerMessage::Cluster => {
                self.wants_cluster = true;
                self.tell_cluster(out);
            }
            TrainerMessage::Ack { acks } => {
                let ranks = acks
                    .into_iter()
                    .map(|ack| RankAck {
                        rank: Some(Rank { role: ack.rank.role, index: ack.rank.index }),
                        seq: ack.seq,
                    })
                    .collect();
                out.push(Action::Send(AgentEvent::Acknowledged(Acknowledged { epoch, ranks })));
            }
            TrainerMessage::Report { values } => {
                self.report = serde_json::Value::Object(values).to_string();
            }
            TrainerMessage::Stop { reason } => {
                out.push(Action::Send(AgentEvent::StopRequested(StopRequested { epoch, reason })));
            }
            TrainerMessage::Checkpoint { path, step } => {
                self.uploads += 1;
                out.push(Action::Upload(Upload {
                    epoch,
                    artifact: Artifact::Checkpoint,
                    local: path,
                    step,
                    uri: String::new(),
                    application_attempt: attempt,
                    overwrite: true,
                }));
            }
        }
    }

    fn tell_cluster(&mut self, out: &mut Vec<Action>) {
        if let (true, Some(cluster)) = (self.wants_cluster, &self.cluster) {
            out.push(Action::Reply(AgentReply::Cluster {
                cluster: cluster.iter().map(|role| (role.role.clone(), role.addresses.clone())).collect(),
            }));
            self.wants_cluster = false;
        }
    }

    fn count(&mut self, counters: FeedCounters, out: &mut Vec<Action>) {
        self.counters = counters;
        if let Some(last) = counters.acknowledged_batches.checked_sub(1) {
            self.acknowledge(last, out);
        }
    }

    fn acknowledge(&mut self, seq: u64, out: &mut Vec<Action>) {
        if let Err(wrong) = self.ledger.acknowledge(seq) {
            let message =
                format!("batch {} was acknowledged, and only {} were produced", wrong.seq, wrong.produced_batches);
            self.fail(FailureClass::Program, message, out);
        }
    }

    /// The first failure is the cause; what follows from it is not told.
    fn fail(&mut self, class: FailureClass, message: String, out: &mut Vec<Action>) {
        if !std::mem::replace(&mut self.failed, true) {
            out.push(Action::Send(AgentEvent::Failed(Failed { epoch: self.epoch, class: class.into(), message })));
        }
    }

    fn is_settled(&self) -> bool {
        self.exit.is_some() && self.feed != Feed::Open && self.uploads == 0
    }

    fn rows(&self) -> Rows {
        let taken = self.counters.taken_batches.min(self.ledger.produced_batches());
        Rows {
            read: self.counters.read,
            filtered: self.counters.filtered,
            produced: self.ledger.produced_rows(),
            fed: self.ledger.rows_of(taken.max(self.ledger.acknowledged_batches())),
            acknowledged: self.ledger.acknowledged_rows(),
            skipped: 0,
            replayed: 0,
            produced_batches: self.ledger.produced_batches(),
            acknowledged_batches: self.ledger.acknowledged_batches(),
        }
    }

    fn progress(&mut self, out: &mut Vec<Action>) {
        out.push(Action::Send(AgentEvent::Progress(Progress {
            epoch: self.epoch,
            rows: Some(self.rows()),
            report: self.report.clone(),
            agent_pss: self.memory.0,
            trainer_pss: self.memory.1,
        })));
    }

    fn exited(&self) -> TrainerExited {
        let status = self.exit.clone().unwrap_or_else(ExitStatus::never_ran);
        TrainerExited {
            epoch: self.epoch,
            exit_code: status.code,
            signal: status.signal,
            ordered: self.ordered,
            rows: Some(self.rows()),
            end_of_data_seen: match self.feed {
                Feed::None => true,
                Feed::Open => false,
                Feed::Ended(how) => {
                    how == EndOfFeed::Complete && self.counters.taken_batches >= self.ledger.produced_batches()
                }
            },
            traceback: status.traceback,
            log: status.log,
            millis: status.ran.as_millis() as u64,
        }
    }
}

impl ExitStatus {
    fn never_ran() -> Self {
        Self { code: 127, signal: 0, traceback: String::new(), log: String::new(), ran: Duration::ZERO }
    }
}
