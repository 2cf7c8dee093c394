//! What each event causes, and what no state machine can break.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use yarn_ml_am_core::{
    Action, Container, Decision, Event, FinalStatus, JobCore, JobStateMachine, JobView, Limits, Notice, SourceFile,
    Stamped, Timer, machine_for,
};
use yarn_ml_protocol::{
    ids::{ApplicationId, ContainerId, Rank},
    messages::{
        AgentEvent, AmCommand, Assign, Hello, PortBound, Rows, Shutdown, SplitDone, SplitRequest, StartTrainer,
        TrainerExited, TrainerStarted,
    },
    parse,
    plan::{Master, Plan},
    report::JobState,
    resolve::{Surroundings, plan},
    schema::{Column, ColumnType},
};

fn make_plan(job: &str) -> Plan {
    let job = parse::job(job, "job.yaml", &[]).unwrap();
    let column = Column { name: "x".into(), column_type: ColumnType::Int64, nullable: true };
    let streams = job.streams.keys().map(|name| (name.clone(), ("file:///x.csv".to_owned(), vec![column.clone()])));
    let around = Surroundings {
        application_id: "application_1_0001".into(),
        master: Master::Local,
        user: "alice".into(),
        default_fs: "file:///".into(),
        working_dir: "/".into(),
        staging: "file:///s".into(),
        report: "file:///r".into(),
        streams: streams.collect(),
        checkpoints: None,
        model: None,
        resources: Vec::new(),
    };
    plan(&job, around).unwrap()
}

const PAIR: &str = "
name: x
type: TYPE
program: {command: 'true'}
roles: {chief: {memory: 36MiB}, worker: {memory: 36MiB}}
";

const READER: &str = "
name: x
type: generic
program: {command: 'true'}
streams: {s: {source: {path: x.csv, format: csv}}}
roles: {worker: {memory: 36MiB, input: {stream: s, epochs: 2, batch: 8, ring: 64KiB}}}
";

const TWO_ROLES: &str = "
name: x
type: generic
program: {command: 'true'}
streams: {s: {source: {path: x.csv, format: csv}}}
roles:
  other: {memory: 36MiB}
  worker: {memory: 36MiB, instances: 2, input: {stream: s, epochs: 2, batch: 8, ring: 64KiB}}
";

struct Job {
    core: JobCore,
    seconds: u64,
}

impl Job {
    fn new(job: &str) -> Self {
        let application = ApplicationId("application_1_0001".into());
        Self { core: JobCore::new(make_plan(job), application, 1), seconds: 0 }
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        self.seconds += 1;
        self.core.on_event(Stamped { at: Duration::from_secs(self.seconds), event })
    }

    fn said(&mut self, n: u64, event: AgentEvent) -> Vec<Action> {
        self.on(Event::AgentSaid { container: id(n), stream: n, event })
    }

    /// Registered, every container started, every agent attached; the last actions.
    fn attached(job: &str, containers: &[i64]) -> (Self, Vec<Action>) {
        let mut this = Self::new(job);
        this.on(registered());
        let mut last = Vec::new();
        for (n, ask) in containers.iter().enumerate() {
            let n = n as u64 + 1;
            this.on(Event::ContainersAllocated(vec![container(n, *ask)]));
            last = this.on(Event::AgentAttached { container: id(n), stream: n, hello: hello(n) });
        }
        (this, last)
    }

    fn state(&self) -> JobState {
        self.core.report(Duration::ZERO).state
    }
}

fn id(n: u64) -> ContainerId {
    ContainerId(format!("container_{n}"))
}

fn container(n: u64, allocation_request_id: i64) -> Container {
    Container {
        id: id(n),
        node: "node:1".into(),
        allocation_request_id,
        memory_mb: 1000,
        vcores: 1,
        resources: BTreeMap::new(),
        logs: "http://logs".into(),
    }
}

fn hello(n: u64) -> Hello {
    Hello {
        container_id: id(n).0,
        host: "h".into(),
        port: n as u32,
        trainer_port: 100 + n as u32,
        version: String::new(),
    }
}

fn registered() -> Event {
    Event::Registered { memory_mb: 4096, vcores: 8, resource_types: Vec::new() }
}

fn exited(code: i32, rows: Rows) -> AgentEvent {
    AgentEvent::TrainerExited(TrainerExited { epoch: 1, exit_code: code, rows: Some(rows), ..TrainerExited::default() })
}

fn commands(actions: &[Action]) -> Vec<(u64, &AmCommand)> {
    let command = |action| match action {
        &Action::Send { stream, ref command, .. } => Some((stream, command)),
        _ => None,
    };
    actions.iter().filter_map(command).collect()
}

fn unregistered(actions: &[Action]) -> Option<(FinalStatus, &str)> {
    actions.iter().find_map(|action| match action {
        Action::Unregister { status, diagnostics } => Some((*status, diagnostics.as_str())),
        _ => None,
    })
}

#[test]
fn registration_asks_for_each_role_under_an_id_of_its_own() {
    let mut job = Job::new(&PAIR.replace("TYPE", "generic"));
    let ask = |allocation_request_id| Action::Ask {
        allocation_request_id,
        count: 1,
        memory_mb: 100,
        vcores: 1,
        resources: BTreeMap::new(),
    };
    let start = Action::SetTimer { timer: Timer::Start, generation: 1, after: Duration::from_secs(600) };
    assert_eq!(job.on(registered()), [start, ask(1), ask(2)]);
    assert_eq!(job.on(registered()), [], "registering again asks for nothing again");
}

#[test]
fn a_grant_that_nobody_asked_for_is_released() {
    let mut job = Job::new(&PAIR.replace("TYPE", "generic"));
    job.on(registered());
    let rank = Rank::new("chief", 0);
    assert_eq!(
        job.on(Event::ContainersAllocated(vec![container(1, 1), container(2, 1), container(3, 9)])),
        [
            Action::StartContainer { container: id(1), rank },
            Action::Release { container: id(2) },
            Action::Release { container: id(3) },
        ]
    );
}

#[test]
fn trainers_start_when_every_agent_waits() {
    let (_, last) = Job::attached(&PAIR.replace("TYPE", "generic"), &[1, 2]);
    let [
        (2, AmCommand::Assign(Assign { application_attempt: 1, .. })),
        (1, AmCommand::StartTrainer(first)),
        (2, AmCommand::StartTrainer(second)),
    ] = &commands(&last)[..]
    else {
        panic!("{last:?}");
    };
    assert_eq!(first, second);
    let StartTrainer { epoch, cluster } = first;
    assert_eq!(*epoch, 1);
    let addresses: Vec<(&str, &str)> = cluster.iter().map(|r| (r.role.as_str(), r.addresses[0].as_str())).collect();
    assert_eq!(addresses, [("chief", "h:101"), ("worker", "h:102")]);
}

/// The same events, two kinds of job.
#[test]
fn a_chief_that_is_done_ends_a_tensorflow_job_and_not_a_generic_one() {
    let run = |kind: &str| {
        let (mut job, _) = Job::attached(&PAIR.replace("TYPE", kind), &[1, 2]);
        for n in [1, 2] {
            job.said(n, AgentEvent::TrainerStarted(TrainerStarted { epoch: 1, pid: 9 }));
        }
        let actions = job.said(1, exited(0, Rows::default()));
        (job, actions)
    };
    let (_, generic) = run("generic");
    assert_eq!(generic, []);
    let (mut job, tensorflow) = run("tensorflow/batch");
    assert!(matches!(commands(&tensorflow)[..], [(2, AmCommand::StopTrainer(_))]), "{tensorflow:?}");
    // Its server ends by SIGTERM, as it was told to.
    let actions = job.said(2, exited(143, Rows::default()));
    let told: Vec<(u64, AmCommand)> = commands(&actions).into_iter().map(|(n, c)| (n, c.clone())).collect();
    let shutdown = AmCommand::Shutdown(Shutdown { exit_code: 0 });
    assert_eq!(told, [(1, shutdown.clone()), (2, shutdown)]);
    job.on(Event::AgentDetached { container: id(1), stream: 1 });
    let last = job.on(Event::AgentDetached { container: id(2), stream: 2 });
    assert_eq!(unregistered(&last), Some((FinalStatus::Succeeded, "")));
    assert_eq!(job.on(Event::Unregistered), [Action::End { exit_code: 0 }]);
    assert_eq!(job.state(), JobState::Finished);
}

#[test]
fn true_addresses_are_told_when_every_server_listens() {
    let job = PAIR.replace("TYPE", "tensorflow/batch").replace("chief", "ps");
    let (mut job, _) = Job::attached(&job, &[1, 2]);
    let bound = |port| AgentEvent::PortBound(PortBound { epoch: 1, port });
    assert_eq!(job.said(1, bound(7)), []);
    let actions = job.said(2, bound(8));
    let told = commands(&actions);
    assert_eq!(told.len(), 2);
    for (_, command) in told {
        let AmCommand::ClusterReady(ready) = command else { panic!("{command:?}") };
        assert_eq!((ready.cluster[0].addresses[0].as_str(), ready.cluster[1].addresses[0].as_str()), ("h:7", "h:8"));
    }
}

fn read_all(job: &mut Job, rows_of_split: u64) {
    job.on(Event::FilesDiscovered {
        stream: "s".into(),
        files: vec![SourceFile { uri: "file:///x.csv".into(), length: 10, modification_time: 1 }],
    });
    job.on(Event::DiscoveryFinished { stream: "s".into() });
    let mut ended = false;
    while !ended {
        let actions = job.said(1, AgentEvent::SplitRequest(SplitRequest { epoch: 1, count: 1 }));
        for (_, command) in commands(&actions) {
            let AmCommand::Splits(splits) = command else { panic!("{command:?}") };
            ended |= splits.end;
            for split in splits.splits.clone() {
                let done =
                    SplitDone { epoch: 1, split: split.id, first_offset: 0, end_offset: 10, rows: rows_of_split };
                assert_eq!(job.said(1, AgentEvent::SplitDone(done)), []);
            }
        }
    }
}

fn rows(produced: u64, acknowledged: u64) -> Rows {
    Rows {
        read: produced,
        produced,
        fed: produced,
        acknowledged,
        produced_batches: produced / 8,
        acknowledged_batches: acknowledged / 8,
        ..Rows::default()
    }
}

#[test]
fn a_job_whose_rows_are_all_acknowledged_is_finished_and_any_other_fails_with_the_difference() {
    let end = |counts: Rows| {
        let (mut job, _) = Job::attached(READER, &[1]);
        read_all(&mut job, 40);
        job.said(1, exited(0, counts));
        job
    };
    let mut good = end(rows(80, 80));
    let last = good.on(Event::AgentDetached { container: id(1), stream: 1 });
    assert_eq!(unregistered(&last), Some((FinalStatus::Succeeded, "")));
    for (counts, part) in [
        (rows(80, 72), "worker:0 acknowledged 72 of 80 rows (1 of 10 batches missing)"),
        (rows(80, 0), "worker:0 acknowledged 0 of 80 rows (10 of 10 batches missing)"),
        (rows(72, 72), "role worker acknowledged 72 rows in all, and `s` has 40 × 2 epochs = 80"),
    ] {
        let mut job = end(counts);
        let last = job.on(Event::AgentDetached { container: id(1), stream: 1 });
        let (status, diagnostics) = unregistered(&last).unwrap();
        assert_eq!(status, FinalStatus::Failed);
        assert!(diagnostics.contains(part), "{diagnostics}");
    }
}

#[test]
fn what_belongs_to_an_old_epoch_or_stream_changes_nothing() {
    let (mut job, _) = Job::attached(READER, &[1]);
    let stale = TrainerExited { epoch: 7, exit_code: 1, ..TrainerExited::default() };
    assert_eq!(job.said(1, AgentEvent::TrainerExited(stale)), []);
    let other = Event::AgentSaid { container: id(1), stream: 99, event: exited(1, Rows::default()) };
    assert_eq!(job.on(other), []);
    assert_eq!(job.on(Event::AgentDetached { container: id(1), stream: 99 }), []);
    assert_eq!((job.core.stale, job.state()), (3, JobState::Executing));
}

#[test]
fn a_job_that_does_not_start_says_which_role_waits_for_what() {
    let mut job = Job::new(&PAIR.replace("TYPE", "generic"));
    job.on(registered());
    job.on(Event::ContainersAllocated(vec![container(1, 1)]));
    let actions = job.on(Event::TimerFired { timer: Timer::Start, generation: 1 });
    assert!(actions.contains(&Action::StopContainer { container: id(1) }));
    let (_, diagnostics) = unregistered(&actions).unwrap();
    assert!(
        diagnostics.contains("chief waits for 1 of 1 agents; worker waits for 1 of 1 containers of 100 MiB"),
        "{diagnostics}"
    );
}

#[test]
fn a_resource_type_that_the_cluster_lacks_is_refused_at_once() {
    let mut job = Job::new(&READER.replace("input:", "resources: {yarn.io/gpu: 1}, input:"));
    let actions = job.on(registered());
    let (status, diagnostics) = unregistered(&actions).unwrap();
    assert_eq!(status, FinalStatus::Failed);
    assert!(diagnostics.contains("yarn.io/gpu, which the cluster does not have"), "{diagnostics}");
    assert!(!actions.iter().any(|action| matches!(action, Action::Ask { count: 1.., .. })));
}

/// Decides whatever the bytes say.
struct Random(Vec<u8>);

impl JobStateMachine for Random {
    fn on_notice(&mut self, view: &JobView<'_>, _: &Notice) -> Vec<Decision> {
        let count = self.0.pop().unwrap_or(1) % 4;
        (0..count)
            .map(|_| {
                let byte = self.0.pop().unwrap_or(0);
                let roles = view.roles().into_iter().skip(usize::from(byte >> 4) % 2).collect();
                match byte % 4 {
                    0 => Decision::StartTrainers { roles },
                    1 => Decision::StopTrainers { roles },
                    2 => Decision::FailOn { rank: view.ranks[usize::from(byte >> 4) % view.ranks.len()].rank.clone() },
                    _ => Decision::Succeed,
                }
            })
            .collect()
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let n = || 1u64..5;
    let said = (n(), n(), 0u8..8, 0u32..3).prop_map(|(container, stream, kind, value)| {
        let event = match kind {
            0 => AgentEvent::TrainerStarted(TrainerStarted { epoch: 1, pid: 1 }),
            1 => AgentEvent::PortBound(PortBound { epoch: 1, port: value }),
            2 => AgentEvent::SplitRequest(SplitRequest { epoch: 1, count: value }),
            3 => AgentEvent::SplitDone(SplitDone {
                epoch: 1,
                split: u64::from(value),
                first_offset: 0,
                end_offset: 10,
                rows: 1,
            }),
            4 => exited(value as i32, rows(16, 8 * u64::from(value))),
            5 => exited(0, rows(16, 16)),
            6 => AgentEvent::Failed(Default::default()),
            _ => AgentEvent::Published(Default::default()),
        };
        Event::AgentSaid { container: id(container), stream, event }
    });
    let timer = prop_oneof![Just(Timer::Start), Just(Timer::Lost), Just(Timer::Ladder)];
    prop_oneof![
        2 => Just(registered()),
        4 => (n(), 0i64..4).prop_map(|(n, ask)| Event::ContainersAllocated(vec![container(n, ask)])),
        1 => n().prop_map(|n| Event::ContainerStartFailed { container: id(n), message: "no".into() }),
        2 => (n(), -105i32..3).prop_map(|(n, status)| Event::ContainerCompleted { container: id(n), exit_status: status, diagnostics: String::new() }),
        6 => n().prop_map(|n| Event::AgentAttached { container: id(n), stream: n, hello: hello(n) }),
        1 => n().prop_map(|n| Event::AgentDetached { container: id(n), stream: n }),
        8 => said,
        2 => Just(Event::FilesDiscovered { stream: "s".into(), files: vec![SourceFile { uri: "f".into(), length: 10, modification_time: 1 }] }),
        1 => Just(Event::DiscoveryFinished { stream: "s".into() }),
        1 => (timer, 1u64..4).prop_map(|(timer, generation)| Event::TimerFired { timer, generation }),
        1 => Just(Event::StopRequested { reason: "x".into(), drain: false }),
        1 => Just(Event::Unregistered),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_machine_breaks_the_core(events in prop::collection::vec(any_event(), 0..60), decisions: Vec<u8>) {
        let application = ApplicationId("application_1_0001".into());
        let mut core = JobCore::with_machine(make_plan(TWO_ROLES), application, 1, Box::new(Random(decisions)), Limits::default());
        let (mut started, mut handed, mut unregistered, mut ended) = (Vec::new(), Vec::new(), 0, 0);
        for (n, event) in events.into_iter().enumerate() {
            let was_ended = core.ended();
            let actions = core.on_event(Stamped { at: Duration::from_secs(n as u64), event });
            prop_assert!(!was_ended || actions.is_empty(), "an ended job does nothing more");
            for action in actions {
                match action {
                    Action::StartContainer { container, .. } => {
                        prop_assert!(!started.contains(&container), "{} was started twice", container);
                        started.push(container);
                    }
                    Action::Send { command: AmCommand::Splits(splits), .. } => {
                        for split in splits.splits {
                            prop_assert!(!handed.contains(&split.id), "split {} was handed out twice", split.id);
                            handed.push(split.id);
                        }
                    }
                    Action::Unregister { .. } => unregistered += 1,
                    Action::End { .. } => ended += 1,
                    _ => {}
                }
            }
        }
        prop_assert!(unregistered <= 1 && ended <= 1);
        // Whatever happened: told to end, and with nobody answering, it ends.
        core.on_event(Stamped { at: Duration::from_secs(100), event: Event::StopRequested { reason: "y".into(), drain: false } });
        for generation in 0..20 {
            core.on_event(Stamped { at: Duration::from_secs(200), event: Event::TimerFired { timer: Timer::Ladder, generation } });
        }
        core.on_event(Stamped { at: Duration::from_secs(300), event: Event::Unregistered });
        prop_assert!(core.ended());
    }
}

#[test]
fn a_type_has_its_machine() {
    use yarn_ml_protocol::job::JobType;
    let view = JobView { ranks: &[] };
    for kind in [JobType::Generic, JobType::TensorFlowBatch] {
        assert_eq!(machine_for(kind).on_notice(&view, &Notice::AllAttached).len(), 1);
    }
}
