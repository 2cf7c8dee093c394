//! One job, from registration to unregistration.
//!
//! ```text
//!   Created ─registered─▶ WaitingForResources ─all attached─▶ Executing ─machine: succeed─▶ audit ─▶ Publishing
//!      │                        │                                │                            │          │
//!      └── impossible ask       └── start timeout, lost rank     └── exit, loss, bad data     └─ missing │
//!                  │                         │                                │                   │      ▼
//!                  └─────────────────────────┴──────────── Ending(verdict) ◀──┴───────────────────┴── published
//!                                                             │
//!      rungs: trainers stopped ─▶ agents told to end ─▶ containers stopped ─▶ unregistered ─▶ Ended
//! ```
//!
//! Every rung waits for what it ordered, and at most for its timer. The first cause is the verdict; what follows from it is not
//! told again.

use std::{collections::BTreeMap, time::Duration};

use yarn_ml_protocol::{
    ids::{ApplicationId, ContainerId, Rank},
    job::JobType,
    messages::{
        self, Acknowledged, AgentEvent, AmCommand, Artifact, Assign, ClusterReady, Publish, RankAcked, Shutdown,
        SplitRequest, StartTrainer, StopTrainer, TrainerExited,
    },
    plan::Plan,
    report::{JobReport, JobState, RankState},
};

use crate::{
    accounting,
    asks::Asks,
    diagnostics::{Cause, MAX_DIAGNOSTICS, cut, explain_container, explain_exit},
    event::{Action, Container, Event, Stamped, Timer},
    machine::{Decision, JobStateMachine, JobView, Notice, machine_for},
    ranks::{Agent, Ranks, Slot},
    report::{self, Verdict},
    splits::{Next, Splits},
};

/// How long things may take that nobody writes into a job file.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a trainer between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// For one rung of the ladder down, after the grace.
    pub rung: Duration,
    /// For an agent to be back, or YARN to tell what became of its container.
    pub lost: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { grace: Duration::from_secs(5), rung: Duration::from_secs(5), lost: Duration::from_secs(30) }
    }
}

pub struct JobCore {
    plan: Plan,
    application: ApplicationId,
    attempt: u32,
    limits: Limits,
    machine: Box<dyn JobStateMachine>,
    phase: Phase,
    epoch: u32,
    asks: Asks,
    ranks: Ranks,
    /// By role.
    splits: BTreeMap<String, Splits>,
    /// Ranks that asked for splits when there were none, and how many.
    hungry: Vec<(Rank, u32)>,
    generations: BTreeMap<Timer, u64>,
    cluster_told: bool,
    stop_reason: Option<String>,
    model: Option<String>,
    checkpoint: Option<String>,
    committed: u64,
    largest_mb: u64,
    /// Messages that were dropped since they belong to another epoch, stream or container.
    pub stale: u64,
}

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Created,
    WaitingForResources,
    Executing,
    /// The trainers are done and audited; an agent uploads the model.
    Publishing,
    Ending {
        verdict: Verdict,
        rung: Rung,
    },
    Ended(Verdict),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rung {
    Trainers,
    Agents,
    Containers,
    Unregister,
}

impl JobCore {
    pub fn new(plan: Plan, application: ApplicationId, attempt: u32) -> Self {
        let machine = machine_for(plan.job_type);
        Self::with_machine(plan, application, attempt, machine, Limits::default())
    }

    pub fn with_machine(
        plan: Plan,
        application: ApplicationId,
        attempt: u32,
        machine: Box<dyn JobStateMachine>,
        limits: Limits,
    ) -> Self {
        let splits = plan
            .readers()
            .map(|(role, _, input)| {
                // `check` has seen that the stream exists.
                let size = plan.job.streams.get(&input.stream).map_or(1, |s| s.source.split_size.0);
                (role.to_owned(), Splits::new(input, size))
            })
            .collect();
        Self {
            asks: Asks::new(&plan),
            ranks: Ranks::new(&plan),
            splits,
            plan,
            application,
            attempt,
            limits,
            machine,
            phase: Phase::Created,
            epoch: 1,
            hungry: Vec::new(),
            generations: BTreeMap::new(),
            cluster_told: false,
            stop_reason: None,
            model: None,
            checkpoint: None,
            committed: 0,
            largest_mb: 0,
            stale: 0,
        }
    }

    pub fn ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    pub fn on_event(&mut self, stamped: Stamped<Event>) -> Vec<Action> {
        let mut out = Vec::new();
        let now = stamped.at;
        if self.ended() {
            self.stale += 1;
            return out;
        }
        match stamped.event {
            Event::Registered { memory_mb, vcores, resource_types } => {
                self.on_registered(memory_mb, vcores, &resource_types, &mut out);
            }
            Event::ContainersAllocated(containers) => {
                containers.into_iter().for_each(|c| self.on_allocated(c, &mut out));
            }
            // The agent's greeting tells more.
            Event::ContainerStarted { .. } => {}
            Event::ContainerStartFailed { container, message } => {
                if let Some(slot) = self.ranks.of_container(&container) {
                    slot.completed = true;
                    slot.state = RankState::Lost;
                    let cause = cause_of(slot, format!("the container could not be started: {message}"));
                    self.fail(cause, &mut out);
                }
            }
            Event::ContainerCompleted { container, exit_status, diagnostics } => {
                self.on_completed(&container, exit_status, &diagnostics, now, &mut out);
            }
            Event::AgentAttached { container, stream, hello } => {
                self.on_attached(&container, stream, hello, now, &mut out);
            }
            Event::AgentDetached { container, stream } => {
                self.on_detached(&container, stream, &mut out);
            }
            Event::AgentSaid { container, stream, event } => {
                self.on_said(&container, stream, event, now, &mut out);
            }
            Event::FilesDiscovered { stream, files } => {
                self.splits.values_mut().filter(|s| s.stream() == stream).for_each(|s| s.add(&files));
                self.feed_hungry(&mut out);
            }
            Event::DiscoveryFinished { stream } => self.on_discovered(&stream, &mut out),
            Event::DiscoveryFailed { stream, message } => {
                self.fail(Cause::of_job(format!("stream {stream}: {message}")), &mut out);
            }
            Event::StopRequested { reason, .. } => {
                self.end(Verdict::Killed { reason }, &mut out);
            }
            // Another attempt runs, or the job was killed: nothing of it is ours any more.
            Event::ShutdownOrdered => {
                let reason = "the ResourceManager ended this attempt".into();
                self.phase = Phase::Ended(Verdict::Killed { reason });
                self.tell_agents_to_end(1, &mut out);
                out.push(Action::End { exit_code: 1 });
            }
            Event::BackendFailed { message } => {
                let verdict = match &self.phase {
                    Phase::Ending { verdict, .. } => verdict.clone(),
                    _ => Verdict::Failed(Box::new(Cause::of_job(message))),
                };
                self.tell_agents_to_end(1, &mut out);
                out.push(Action::End { exit_code: verdict.exit_code() });
                self.phase = Phase::Ended(verdict);
            }
            Event::TimerFired { timer, generation } => {
                if self.generations.get(&timer) == Some(&generation) {
                    self.on_timer(timer, &mut out);
                }
            }
            Event::Unregistered => {
                if let Phase::Ending { verdict, .. } = &self.phase {
                    let verdict = verdict.clone();
                    out.push(Action::End { exit_code: verdict.exit_code() });
                    self.phase = Phase::Ended(verdict);
                }
            }
        }
        out
    }

    // ---- resources

    fn on_registered(&mut self, memory_mb: u64, vcores: u32, types: &[String], out: &mut Vec<Action>) {
        if self.phase != Phase::Created {
            self.stale += 1;
            return;
        }
        self.phase = Phase::WaitingForResources;
        self.largest_mb = memory_mb;
        if let Some(lifetime) = self.plan.job.lifetime {
            self.set(Timer::Lifetime, lifetime.0, out);
        }
        if let Some(impossible) = self.asks.impossible(memory_mb, vcores, types) {
            self.fail(Cause::of_job(impossible), out);
            return;
        }
        self.set(Timer::Start, self.plan.job.start_timeout.0, out);
        let wanted: Vec<Action> =
            self.asks.roles().filter_map(|(role, shape)| self.asks.ask(role, shape.instances)).collect();
        out.extend(wanted);
        let mut streams: Vec<&str> = self.splits.values().map(Splits::stream).collect();
        streams.sort_unstable();
        streams.dedup();
        out.extend(streams.into_iter().map(|stream| Action::Discover { stream: stream.to_owned() }));
    }

    fn on_allocated(&mut self, container: Container, out: &mut Vec<Action>) {
        // An answer of the ResourceManager may come twice.
        if self.ranks.of_container(&container.id).is_some() {
            self.stale += 1;
            return;
        }
        let waiting = matches!(self.phase, Phase::WaitingForResources | Phase::Executing);
        let role = self.asks.role_of(container.allocation_request_id).map(str::to_owned);
        let Some(role) = role.filter(|_| waiting) else {
            out.push(Action::Release { container: container.id });
            return;
        };
        if let Some(lacking) = self.asks.lacking(&role, &container) {
            out.push(Action::Release { container: container.id });
            self.fail(Cause::of_job(lacking), out);
            return;
        }
        // More than was asked for: the ResourceManager counts asks absolutely, and answers cross them.
        let Some(slot) = self.ranks.vacant(&role) else {
            out.push(Action::Release { container: container.id });
            return;
        };
        slot.state = RankState::Allocated;
        out.push(Action::StartContainer { container: container.id.clone(), rank: slot.rank.clone() });
        slot.container = Some(container);
    }

    fn on_completed(&mut self, id: &ContainerId, status: i32, diagnostics: &str, now: Duration, out: &mut Vec<Action>) {
        let Some(slot) = self.ranks.of_container(id).filter(|slot| !slot.completed) else {
            self.stale += 1;
            return;
        };
        slot.completed = true;
        slot.ended.get_or_insert(now);
        if slot.state != RankState::Exited {
            slot.state = RankState::Lost;
        }
        if let Phase::Ending { .. } = self.phase {
            self.climb_down(out);
            return;
        }
        let mut what = explain_container(status, &slot.rank.role);
        let said = diagnostics.trim();
        if !said.is_empty() {
            what = format!("{what}\n{said}");
        }
        let cause = cause_of(slot, what);
        self.fail(cause, out);
    }

    // ---- agents

    fn on_attached(
        &mut self,
        id: &ContainerId,
        stream: u64,
        hello: messages::Hello,
        now: Duration,
        out: &mut Vec<Action>,
    ) {
        let attempt = self.attempt;
        let ending = matches!(self.phase, Phase::Ending { .. });
        let Some(slot) = self.ranks.of_container(id) else {
            self.stale += 1;
            return;
        };
        let send = |command| Action::Send { container: id.clone(), stream, command };
        slot.agent = Some(Agent { stream, attached: true, hello });
        let rank = messages::Rank { role: slot.rank.role.clone(), index: slot.rank.index };
        out.push(send(AmCommand::Assign(Assign { rank: Some(rank), application_attempt: attempt })));
        if ending {
            out.push(send(AmCommand::Shutdown(Shutdown { exit_code: 1 })));
            return;
        }
        if slot.state == RankState::Allocated {
            slot.state = RankState::Attached;
        }
        let all = self.ranks.0.iter().all(|slot| slot.state == RankState::Attached);
        if self.phase == Phase::WaitingForResources && all {
            self.phase = Phase::Executing;
            self.notice(&Notice::AllAttached, now, out);
        }
    }

    fn on_detached(&mut self, id: &ContainerId, stream: u64, out: &mut Vec<Action>) {
        let Some(agent) = self.ranks.of_container(id).and_then(|slot| slot.agent.as_mut()) else {
            self.stale += 1;
            return;
        };
        if agent.stream != stream {
            self.stale += 1;
            return;
        }
        agent.attached = false;
        match self.phase {
            Phase::Ending { .. } => self.climb_down(out),
            _ => self.set(Timer::Lost, self.limits.lost, out),
        }
    }

    fn on_said(&mut self, id: &ContainerId, stream: u64, event: AgentEvent, now: Duration, out: &mut Vec<Action>) {
        let epoch = self.epoch;
        let current = |agent: &Agent| agent.stream == stream;
        let Some(slot) = self.ranks.of_container(id).filter(|slot| slot.agent.as_ref().is_some_and(current)) else {
            self.stale += 1;
            return;
        };
        if epoch_of(&event).is_some_and(|of| of != epoch) {
            self.stale += 1;
            return;
        }
        let rank = slot.rank.clone();
        match event {
            // The stream's greeting is `AgentAttached`; a second one is a mistake of the agent's.
            AgentEvent::Hello(_) => self.stale += 1,
            AgentEvent::TrainerStarted(_) => {
                slot.started.get_or_insert(now);
                if self.ranks.0.iter().all(|slot| slot.started.is_some()) {
                    self.cancel(Timer::Start);
                }
            }
            AgentEvent::PortBound(bound) => {
                slot.bound_port = Some(bound.port);
                self.tell_cluster(out);
            }
            AgentEvent::Progress(progress) => {
                slot.rows = progress.rows.unwrap_or(slot.rows);
                slot.agent_pss = progress.agent_pss;
                slot.trainer_pss = progress.trainer_pss;
                if let Ok(values) = serde_json::from_str(&progress.report) {
                    slot.report = values;
                }
            }
            AgentEvent::SplitRequest(SplitRequest { count, .. }) => {
                self.hungry.push((rank, count));
                self.feed_hungry(out);
            }
            AgentEvent::SplitDone(done) => {
                let Some(splits) = self.splits.get_mut(&rank.role) else {
                    self.stale += 1;
                    return;
                };
                if let Err(wrong) = splits.done(&done) {
                    self.fail(Cause { rank: Some(rank), ..Cause::of_job(wrong) }, out);
                }
            }
            AgentEvent::Acknowledged(acknowledged) => self.relay(acknowledged, out),
            AgentEvent::TrainerExited(exit) => self.on_exit(&rank, exit, now, out),
            AgentEvent::Failed(failed) => {
                let cause = cause_of(slot, failed.message);
                self.fail(cause, out);
            }
            AgentEvent::Published(published) => self.on_published(&published, out),
            AgentEvent::StopRequested(stop) => {
                self.stop_reason.get_or_insert(stop.reason);
            }
        }
    }

    fn on_exit(&mut self, rank: &Rank, exit: TrainerExited, now: Duration, out: &mut Vec<Action>) {
        let Some(slot) = self.ranks.get(rank).filter(|slot| slot.exit.is_none()) else {
            self.stale += 1;
            return;
        };
        slot.rows = exit.rows.unwrap_or(slot.rows);
        // The agent itself is being terminated: what YARN says of the container is the cause.
        if exit.ordered && !slot.stop_ordered && !matches!(self.phase, Phase::Ending { .. }) {
            return;
        }
        slot.state = RankState::Exited;
        slot.ended = Some(now);
        let exit_code = exit.exit_code;
        slot.exit = Some(exit);
        let notice = Notice::TrainerExited { rank: rank.clone(), exit_code };
        match self.phase {
            Phase::Executing => self.notice(&notice, now, out),
            Phase::Ending { .. } => self.climb_down(out),
            _ => {}
        }
    }

    // ---- decisions

    fn notice(&mut self, notice: &Notice, now: Duration, out: &mut Vec<Action>) {
        let views = self.ranks.views();
        let decisions = self.machine.on_notice(&JobView { ranks: &views }, notice);
        for decision in decisions {
            // An earlier decision may have ended the job.
            if self.phase != Phase::Executing {
                return;
            }
            match decision {
                Decision::StartTrainers { roles } => self.start_trainers(&roles, out),
                Decision::StopTrainers { roles } => self.stop_trainers(&roles, out),
                Decision::FailOn { rank } => self.fail_on(&rank, out),
                Decision::Succeed => self.succeed(now, out),
            }
        }
    }

    fn start_trainers(&mut self, roles: &[String], out: &mut Vec<Action>) {
        let start = StartTrainer { epoch: self.epoch, cluster: self.ranks.cluster() };
        for slot in &mut self.ranks.0 {
            if roles.contains(&slot.rank.role)
                && slot.state == RankState::Attached
                && send(slot, AmCommand::StartTrainer(start.clone()), out)
            {
                slot.state = RankState::Running;
            }
        }
    }

    fn stop_trainers(&mut self, roles: &[String], out: &mut Vec<Action>) {
        let stop = StopTrainer { epoch: self.epoch, grace_millis: self.limits.grace.as_millis() as u64 };
        for slot in &mut self.ranks.0 {
            if roles.contains(&slot.rank.role)
                && slot.state == RankState::Running
                && !slot.stop_ordered
                && send(slot, AmCommand::StopTrainer(stop), out)
            {
                slot.stop_ordered = true;
            }
        }
    }

    fn fail_on(&mut self, rank: &Rank, out: &mut Vec<Action>) {
        let Some(slot) = self.ranks.get(rank) else {
            return;
        };
        let (code, signal, log, traceback) = match &slot.exit {
            Some(exit) => (exit.exit_code, exit.signal, exit.log.clone(), exit.traceback.clone()),
            None => (0, 0, String::new(), String::new()),
        };
        let cause = Cause { log: Some(log), traceback: Some(traceback), ..cause_of(slot, explain_exit(code, signal)) };
        self.fail(cause, out);
    }

    fn succeed(&mut self, _now: Duration, out: &mut Vec<Action>) {
        if self.ranks.0.iter().any(|slot| slot.state != RankState::Exited) {
            // A machine that calls a job done while trainers run is mistaken; their exits will ask it again.
            return;
        }
        if self.stop_reason.is_none()
            && let Some(missing) = accounting::missing(&self.ranks, &self.splits)
        {
            self.fail(Cause::of_job(missing), out);
            return;
        }
        let Some(model) = self.plan.model.clone() else {
            self.end(Verdict::Succeeded, out);
            return;
        };
        self.phase = Phase::Publishing;
        let publish = AmCommand::Publish(Publish {
            epoch: self.epoch,
            artifact: Artifact::Model.into(),
            uri: model.path,
            application_attempt: self.attempt,
            overwrite: model.overwrite,
        });
        let chief = self.ranks.0.iter().position(|slot| slot.rank.role == "chief").unwrap_or(0);
        let sent = self.ranks.0.get(chief).is_some_and(|slot| send(slot, publish, out));
        if !sent {
            self.fail(Cause::of_job("the agent that holds the model is gone"), out);
        }
    }

    fn on_published(&mut self, published: &messages::Published, out: &mut Vec<Action>) {
        let acknowledged = accounting::totals(&self.ranks, &self.splits).acknowledged;
        match published.artifact() {
            Artifact::Model if self.phase == Phase::Publishing => {
                self.model = Some(published.uri.clone());
                self.committed = acknowledged;
                self.end(Verdict::Succeeded, out);
            }
            Artifact::Checkpoint => self.checkpoint = Some(published.uri.clone()),
            _ => self.stale += 1,
        }
    }

    // ---- samples

    fn on_discovered(&mut self, stream: &str, out: &mut Vec<Action>) {
        let mut empty = false;
        for splits in self.splits.values_mut().filter(|s| s.stream() == stream) {
            splits.finish_discovery();
            empty |= splits.files() == 0;
        }
        if empty {
            self.fail(Cause::of_job(format!("stream {stream}: there is no data in its files")), out);
            return;
        }
        self.feed_hungry(out);
    }

    fn feed_hungry(&mut self, out: &mut Vec<Action>) {
        let epoch = self.epoch;
        for (rank, count) in std::mem::take(&mut self.hungry) {
            let (Some(slot), Some(splits)) = (self.ranks.get(&rank), self.splits.get_mut(&rank.role)) else {
                continue;
            };
            if slot.state == RankState::Exited || !slot.is_attached() {
                continue;
            }
            let (mut found, mut end) = (Vec::new(), false);
            while (found.len() as u32) < count {
                match splits.next() {
                    Next::Split(split) => found.push(split),
                    Next::Wait => break,
                    Next::End => {
                        end = true;
                        break;
                    }
                }
            }
            let left = count - found.len() as u32;
            if !found.is_empty() || end {
                let splits = messages::Splits { epoch, splits: found, end };
                send(slot, AmCommand::Splits(splits), out);
            }
            if left > 0 && !end {
                self.hungry.push((rank, left));
            }
        }
    }

    /// A chief acknowledges for other ranks; their own agents count.
    fn relay(&mut self, acknowledged: Acknowledged, out: &mut Vec<Action>) {
        let epoch = self.epoch;
        for ack in acknowledged.ranks {
            let rank = ack.rank.unwrap_or_default();
            match self.ranks.get(&Rank::new(rank.role, rank.index)) {
                Some(slot) => {
                    send(slot, AmCommand::Acknowledged(RankAcked { epoch, seq: ack.seq }), out);
                }
                None => self.stale += 1,
            }
        }
    }

    /// Once every server that others must find has told its port.
    fn tell_cluster(&mut self, out: &mut Vec<Action>) {
        if self.plan.job_type != JobType::TensorFlowBatch || self.cluster_told {
            return;
        }
        let serves = |slot: &&Slot| matches!(slot.rank.role.as_str(), "ps" | "worker");
        if self.ranks.0.iter().filter(serves).any(|slot| slot.bound_port.is_none()) {
            return;
        }
        self.cluster_told = true;
        let ready = ClusterReady { epoch: self.epoch, cluster: self.ranks.cluster() };
        for slot in &self.ranks.0 {
            send(slot, AmCommand::ClusterReady(ready.clone()), out);
        }
    }

    // ---- the way down

    fn fail(&mut self, cause: Cause, out: &mut Vec<Action>) {
        self.end(Verdict::Failed(Box::new(cause)), out);
    }

    fn end(&mut self, verdict: Verdict, out: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Ending { .. } | Phase::Ended(_)) {
            return;
        }
        self.phase = Phase::Ending { verdict, rung: Rung::Trainers };
        self.cancel(Timer::Start);
        self.cancel(Timer::Lifetime);
        self.cancel(Timer::Lost);
        let unmet: Vec<Action> = self
            .asks
            .roles()
            .filter(|(role, _)| self.ranks.0.iter().any(|s| s.rank.role == *role && s.container.is_none()))
            .filter_map(|(role, _)| self.asks.ask(role, 0))
            .collect();
        out.extend(unmet);
        let roles = JobView { ranks: &self.ranks.views() }.roles();
        self.stop_trainers(&roles, out);
        self.set(Timer::Ladder, self.limits.grace + self.limits.rung, out);
        self.climb_down(out);
    }

    /// Takes every rung whose orders are carried out.
    fn climb_down(&mut self, out: &mut Vec<Action>) {
        while let Phase::Ending { rung, .. } = self.phase {
            let slots = &self.ranks.0;
            let live = |slot: &Slot| slot.is_attached() && !slot.completed;
            let done = match rung {
                Rung::Trainers => !slots.iter().any(|s| live(s) && s.state == RankState::Running),
                Rung::Agents => !slots.iter().any(live),
                // Stopping a container needs no answer: the ResourceManager ends what is left when we unregister.
                Rung::Containers => true,
                Rung::Unregister => false,
            };
            if !done {
                return;
            }
            self.next_rung(out);
        }
    }

    fn next_rung(&mut self, out: &mut Vec<Action>) {
        let Phase::Ending { verdict, rung } = &mut self.phase else {
            return;
        };
        let verdict_code = i32::from(*verdict != Verdict::Succeeded);
        match rung {
            Rung::Trainers => {
                *rung = Rung::Agents;
                self.tell_agents_to_end(verdict_code, out);
                self.set(Timer::Ladder, self.limits.rung, out);
            }
            Rung::Agents => {
                *rung = Rung::Containers;
                let left = self.ranks.0.iter().filter(|s| !s.completed && (s.agent.is_none() || s.is_attached()));
                let left = left
                    .filter_map(|s| s.container.as_ref())
                    .map(|c| Action::StopContainer { container: c.id.clone() });
                out.extend(left);
            }
            Rung::Containers => {
                *rung = Rung::Unregister;
                let status = verdict.final_status();
                let diagnostics = cut(&verdict.diagnostics(), MAX_DIAGNOSTICS);
                self.cancel(Timer::Ladder);
                out.push(Action::Unregister { status, diagnostics });
            }
            Rung::Unregister => {}
        }
    }

    fn tell_agents_to_end(&mut self, exit_code: i32, out: &mut Vec<Action>) {
        for slot in &self.ranks.0 {
            send(slot, AmCommand::Shutdown(Shutdown { exit_code }), out);
        }
    }

    fn on_timer(&mut self, timer: Timer, out: &mut Vec<Action>) {
        match timer {
            Timer::Start => {
                let waiting = self.waiting();
                let text = format!(
                    "the job did not start within {}: {waiting}; the largest container here is {} MiB",
                    self.plan.job.start_timeout, self.largest_mb
                );
                self.fail(Cause::of_job(text), out);
            }
            Timer::Lifetime => {
                let lifetime = self.plan.job.lifetime.map(|l| l.to_string()).unwrap_or_default();
                self.fail(Cause::of_job(format!("the job reached its lifetime of {lifetime}")), out);
            }
            Timer::Lost => {
                let lost = self.ranks.0.iter().find(|slot| {
                    slot.agent.as_ref().is_some_and(|agent| !agent.attached) && slot.state != RankState::Exited
                });
                if let Some(slot) = lost {
                    let what = "its agent has not been heard of, and YARN says nothing of its container";
                    let cause = cause_of(slot, what.into());
                    self.fail(cause, out);
                }
            }
            Timer::Ladder => {
                self.next_rung(out);
                self.climb_down(out);
            }
        }
    }

    /// Which roles wait for what.
    fn waiting(&self) -> String {
        let mut parts = Vec::new();
        for (role, shape) in self.asks.roles() {
            let of_role = || self.ranks.0.iter().filter(|slot| slot.rank.role == role);
            let count = |state: RankState| of_role().filter(|slot| slot.state == state).count();
            let (requested, allocated) = (count(RankState::Requested), count(RankState::Allocated));
            let unstarted = of_role()
                .filter(|s| s.state == RankState::Attached || (s.state == RankState::Running && s.started.is_none()))
                .count();
            if requested > 0 {
                parts.push(format!(
                    "{role} waits for {requested} of {} containers of {} MiB and {} vcores",
                    shape.instances,
                    shape.memory.container_mb(),
                    shape.vcores
                ));
            } else if allocated > 0 {
                parts.push(format!("{role} waits for {allocated} of {} agents", shape.instances));
            } else if unstarted > 0 {
                parts.push(format!("{role} waits for the others"));
            }
        }
        parts.join("; ")
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

    /// The job as it stands.
    pub fn report(&self, now: Duration) -> JobReport {
        let (state, verdict) = match &self.phase {
            Phase::Created => (JobState::Created, None),
            Phase::WaitingForResources => (JobState::WaitingForResources, None),
            Phase::Executing | Phase::Publishing => (JobState::Executing, None),
            Phase::Ending { verdict, .. } => (verdict.state(false), Some(verdict)),
            Phase::Ended(verdict) => (verdict.state(true), Some(verdict)),
        };
        let mut rows = accounting::totals(&self.ranks, &self.splits);
        rows.committed = self.committed;
        JobReport {
            application_id: self.application.0.clone(),
            name: self.plan.name.clone(),
            state,
            epochs: self.plan.readers().map(|(_, _, input)| input.epochs).max().unwrap_or(0),
            seconds: now.as_secs_f64(),
            rows,
            roles: self.ranks.0.iter().map(|slot| report::rank(slot, now)).collect(),
            activity: match self.phase {
                Phase::WaitingForResources => self.waiting(),
                Phase::Publishing => "publishing the model".to_owned(),
                _ => String::new(),
            },
            diagnostics: verdict.map(Verdict::diagnostics).unwrap_or_default(),
            exit_code: verdict.map_or(0, Verdict::exit_code),
            model: self.model.clone(),
            checkpoint: self.checkpoint.clone(),
            stop_reason: self.stop_reason.clone(),
            attempt: self.attempt,
        }
    }
}

/// To the agent of a rank, if it has a stream now.
fn send(slot: &Slot, command: AmCommand, out: &mut Vec<Action>) -> bool {
    let (Some(container), Some(agent)) = (&slot.container, &slot.agent) else {
        return false;
    };
    if !agent.attached {
        return false;
    }
    out.push(Action::Send { container: container.id.clone(), stream: agent.stream, command });
    true
}

fn cause_of(slot: &Slot, what: String) -> Cause {
    Cause {
        rank: Some(slot.rank.clone()),
        container: slot.container.as_ref().map(|c| c.id.clone()),
        node: slot.node_host(),
        what,
        log: slot.container.as_ref().map(|c| c.logs.clone()),
        traceback: None,
    }
}

/// The epoch in which something happened; a greeting belongs to none.
fn epoch_of(event: &AgentEvent) -> Option<u32> {
    Some(match event {
        AgentEvent::Hello(_) => return None,
        AgentEvent::TrainerStarted(m) => m.epoch,
        AgentEvent::PortBound(m) => m.epoch,
        AgentEvent::Progress(m) => m.epoch,
        AgentEvent::SplitRequest(m) => m.epoch,
        AgentEvent::SplitDone(m) => m.epoch,
        AgentEvent::Acknowledged(m) => m.epoch,
        AgentEvent::TrainerExited(m) => m.epoch,
        AgentEvent::Failed(m) => m.epoch,
        AgentEvent::Published(m) => m.epoch,
        AgentEvent::StopRequested(m) => m.epoch,
    })
}
