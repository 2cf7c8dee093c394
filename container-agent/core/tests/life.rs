//! One event at a time: what it causes, whole.

use std::time::Duration;

use yarn_ml_agent_core::{Action, AgentCore, AgentLimits, EndOfFeed, Event, ExitStatus, FeedCounters, Stamped, Timer};
use yarn_ml_protocol::{
    messages::{
        AgentEvent, AmCommand, Assign, ClusterReady, Failed, FailureClass, Progress, Publish, Rank, RankAcked,
        RoleAddresses, Rows, Shutdown, Split, SplitRequest, Splits, StartTrainer, StopTrainer, TrainerExited,
    },
    trainer::{AgentReply, TrainerMessage},
};

struct Agent(AgentCore);

impl Agent {
    fn on(&mut self, event: Event) -> Vec<Action> {
        self.0.on_event(Stamped { at: Duration::ZERO, event })
    }

    fn command(&mut self, command: AmCommand) -> Vec<Action> {
        self.on(Event::Commanded(command))
    }

    fn assigned(reads_input: bool) -> Self {
        let readers = reads_input.then(|| "worker".to_owned()).into_iter().collect();
        let mut agent = Self(AgentCore::new(readers, AgentLimits::default()));
        assert_eq!(agent.on(Event::AmAttached), []);
        let rank = Some(Rank { role: "worker".into(), index: 1 });
        assert_eq!(agent.command(AmCommand::Assign(Assign { rank, application_attempt: 1 })), []);
        agent
    }

    fn running(reads_input: bool) -> Self {
        let mut agent = Self::assigned(reads_input);
        let actions = agent.command(start());
        assert!(matches!(actions.as_slice(), [.., Action::Spawn(_), Action::SetTimer { timer: Timer::Progress, .. }]));
        agent
    }
}

fn start() -> AmCommand {
    AmCommand::StartTrainer(StartTrainer { epoch: 1, cluster: Vec::new() })
}

fn status(code: i32) -> ExitStatus {
    ExitStatus { code, signal: 0, traceback: String::new(), log: "/logs".into(), ran: Duration::from_millis(7) }
}

fn exited(code: i32, ordered: bool, rows: Rows, end_of_data_seen: bool) -> Action {
    Action::Send(AgentEvent::TrainerExited(TrainerExited {
        epoch: 1,
        exit_code: code,
        signal: 0,
        ordered,
        rows: Some(rows),
        end_of_data_seen,
        traceback: String::new(),
        log: "/logs".into(),
        millis: 7,
    }))
}

fn progress(rows: Rows) -> Action {
    Action::Send(AgentEvent::Progress(Progress {
        epoch: 1,
        rows: Some(rows),
        report: String::new(),
        agent_pss: 0,
        trainer_pss: 0,
    }))
}

#[test]
fn a_rank_that_reads_nothing_starts_its_trainer_once_and_tells_its_exit() {
    let mut agent = Agent::running(false);
    assert_eq!(agent.command(start()), [], "a repeated order changes nothing");
    assert_eq!(
        agent.on(Event::TrainerReaped { epoch: 1, status: status(0) }),
        [progress(Rows::default()), exited(0, false, Rows::default(), true)]
    );
}

#[test]
fn the_exit_is_told_when_feed_and_counters_are_final() {
    let mut agent = Agent::running(true);
    assert_eq!(
        agent.on(Event::FeedWantsSplits { epoch: 1, count: 2 }),
        [Action::Send(AgentEvent::SplitRequest(SplitRequest { epoch: 1, count: 2 }))]
    );
    let splits = vec![Split { id: 3, ..Split::default() }];
    assert_eq!(
        agent.command(AmCommand::Splits(Splits { epoch: 1, splits: splits.clone(), end: true })),
        [Action::Feed { splits, end: true }]
    );
    for rows in [8, 8, 4] {
        assert_eq!(agent.on(Event::FeedProduced { epoch: 1, rows }), []);
    }
    // The program leaves one batch before the end.
    assert_eq!(agent.on(Event::TrainerReaped { epoch: 1, status: status(0) }), [Action::StopFeed]);
    let counters = FeedCounters { read: 20, filtered: 0, taken_batches: 3, acknowledged_batches: 2 };
    let rows = Rows {
        read: 20,
        produced: 20,
        fed: 20,
        acknowledged: 16,
        produced_batches: 3,
        acknowledged_batches: 2,
        ..Rows::default()
    };
    assert_eq!(
        agent.on(Event::FeedEnded { epoch: 1, how: EndOfFeed::Complete, counters }),
        [progress(rows), exited(0, false, rows, true)]
    );
}

#[test]
fn a_chiefs_acknowledgement_counts_rows_and_one_beyond_the_produced_fails_the_rank() {
    let mut agent = Agent::running(true);
    agent.on(Event::FeedProduced { epoch: 1, rows: 8 });
    let ack = |seq| AmCommand::Acknowledged(RankAcked { epoch: 1, seq });
    assert_eq!(agent.command(ack(0)), []);
    assert_eq!(
        agent.command(ack(1)),
        [Action::Send(AgentEvent::Failed(Failed {
            epoch: 1,
            class: FailureClass::Program.into(),
            message: "batch 1 was acknowledged, and only 1 were produced".into(),
        }))]
    );
    assert_eq!(agent.command(ack(9)), [], "what follows from the first failure is not told");
}

#[test]
fn a_stop_is_a_term_then_a_kill_and_the_exit_counts_as_ordered() {
    let mut agent = Agent::running(false);
    let stop = AmCommand::StopTrainer(StopTrainer { epoch: 1, grace_millis: 100 });
    let actions = agent.command(stop);
    let [Action::Terminate, Action::SetTimer { timer: Timer::Grace, generation, .. }] = actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(agent.on(Event::TimerFired { timer: Timer::Grace, generation }), [Action::Kill]);
    assert_eq!(
        agent.on(Event::TrainerReaped { epoch: 1, status: status(137) }),
        [progress(Rows::default()), exited(137, true, Rows::default(), true)]
    );
    assert_eq!(agent.on(Event::TimerFired { timer: Timer::Grace, generation }), []);
}

#[test]
fn the_cluster_is_told_when_it_is_known_and_wanted_whichever_comes_last() {
    let cluster = vec![RoleAddresses { role: "ps".into(), addresses: vec!["h:1".into()] }];
    let ready = AmCommand::ClusterReady(ClusterReady { epoch: 1, cluster });
    let wanted = Event::TrainerSaid { epoch: 1, message: TrainerMessage::Cluster };
    let told = [Action::Reply(AgentReply::Cluster { cluster: [("ps".to_owned(), vec!["h:1".to_owned()])].into() })];
    let mut first = Agent::running(false);
    assert_eq!(first.command(ready.clone()), []);
    assert_eq!(first.on(wanted.clone()), told);
    let mut second = Agent::running(false);
    assert_eq!(second.on(wanted), []);
    assert_eq!(second.command(ready), told);
}

#[test]
fn what_belongs_to_another_epoch_is_dropped() {
    let mut agent = Agent::running(true);
    assert_eq!(agent.on(Event::TrainerReaped { epoch: 7, status: status(1) }), []);
    assert_eq!(agent.on(Event::FeedProduced { epoch: 0, rows: 3 }), []);
    assert_eq!(agent.command(AmCommand::Splits(Splits { epoch: 2, splits: vec![], end: true })), []);
    let stale = Publish { epoch: 1, application_attempt: 9, uri: "hdfs:///m".into(), ..Publish::default() };
    assert_eq!(agent.command(AmCommand::Publish(stale)), [], "another attempt publishes nothing");
    assert_eq!(agent.0.stale, 4);
}

#[test]
fn an_agent_without_its_am_goes_on_for_a_while_and_then_ends_with_its_trainer() {
    let mut agent = Agent::running(false);
    let actions = agent.on(Event::AmDetached);
    let [Action::SetTimer { timer: Timer::Orphan, generation, .. }] = actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(agent.on(Event::AmAttached), []);
    let fired = Event::TimerFired { timer: Timer::Orphan, generation };
    assert_eq!(agent.on(fired), [], "it is back in time");
    let actions = agent.on(Event::AmDetached);
    let [Action::SetTimer { generation, .. }] = actions[..] else { panic!("{actions:?}") };
    let actions = agent.on(Event::TimerFired { timer: Timer::Orphan, generation });
    assert!(matches!(actions[..], [Action::Terminate, Action::SetTimer { timer: Timer::Grace, .. }]));
    assert_eq!(
        agent.on(Event::TrainerReaped { epoch: 1, status: status(143) }),
        [exited(143, true, Rows::default(), true), Action::Exit { code: 1 }]
    );
    assert!(agent.0.ended());
}

#[test]
fn termination_kills_at_once_and_shutdown_of_an_idle_agent_ends_it() {
    let mut agent = Agent::running(false);
    assert_eq!(agent.on(Event::TerminationOrdered), [Action::Kill]);
    let mut idle = Agent::assigned(false);
    assert_eq!(idle.command(AmCommand::Shutdown(Shutdown { exit_code: 0 })), [Action::Exit { code: 0 }]);
}
