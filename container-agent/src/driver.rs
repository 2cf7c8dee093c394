//! The loop around the core.

use std::{collections::BTreeMap, os::fd::AsRawFd, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::Duration,
};
use yarn_ml_agent_core::{Action, AgentCore, AgentLimits, Event, Stamped};
use yarn_ml_fs::{FileSystems, Location};
use yarn_ml_protocol::{
    ids::Rank,
    job::Strategy,
    messages::{AgentEvent, AmCommand, FailureClass, Hello, StartTrainer},
    plan::{AM_FILE, Plan, RolePlan},
    trainer::{Context as TrainerContext, InputContext},
};

use crate::{
    environment::{self, Facts},
    feed::{Feed, FeedPlan},
    link::{Link, Resolver},
    package, runner, server,
    setting::Setting,
    trainer::{Launch, Socket, Trainer, free_port, is_writable},
    upload::Uploads,
};

/// To deliver the last words to the application master.
const LAST_WORDS: Duration = Duration::from_secs(3);
const MEASURE: Duration = Duration::from_secs(1);

struct Driver {
    setting: Setting,
    files: Arc<FileSystems>,
    core: AgentCore,
    began: Instant,
    events: mpsc::Sender<Event>,
    outbox: Option<mpsc::Sender<AgentEvent>>,
    rank: Option<Rank>,
    attempt: u32,
    trainer: Option<Trainer>,
    feed: Option<Feed>,
    uploads: Arc<Uploads>,
}

pub async fn run() -> Result<i32> {
    let began = Instant::now();
    let mut setting = Setting::from_environment()?;
    // What the trainer leaves behind comes to us, and ends with it.
    nix::sys::prctl::set_child_subreaper(true).context("failed to become a subreaper")?;
    let (events, inbox) = mpsc::channel(1024);
    let (told, newest) = watch::channel(None);
    let host = if setting.host == "127.0.0.1" { "127.0.0.1" } else { "0.0.0.0" };
    let port = server::serve(&setting.identity, &setting.application, host, told).await?;
    let trainer_port = free_port().context("failed to find a free port for the trainer")?;
    let files = std::mem::replace(&mut setting.files, FileSystems::new(BTreeMap::new(), None, Default::default()));
    let files = Arc::new(files);
    let staging = Location::parse(&setting.plan.staging)?.join(AM_FILE);
    let (outbox, outgoing) = mpsc::channel(1024);
    let link = Link {
        resolver: Resolver { files: files.at(&staging)?, path: staging.path.clone(), told: newest },
        identity: setting.identity.clone(),
        application: setting.application.clone(),
        hello: Hello {
            container_id: setting.container.clone(),
            host: setting.host.clone(),
            port: u32::from(port),
            trainer_port: u32::from(trainer_port),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        events: events.clone(),
        outbox: outgoing,
    };
    let link = tokio::spawn(link.run());
    listen_to_signals(events.clone())?;
    let readers = setting.plan.readers().map(|(role, ..)| role.to_owned()).collect();
    let uploads = Uploads {
        files: files.clone(),
        checkpoint_dir: setting.work_dir.join("checkpoints"),
        model_dir: setting.work_dir.join("model"),
        checkpoints: setting.plan.checkpoints.clone(),
        keep: setting.plan.job.checkpoints.as_ref().map_or(1, |c| c.keep.max(1) as usize),
    };
    let driver = Driver {
        core: AgentCore::new(readers, AgentLimits::default()),
        files,
        began,
        events,
        outbox: Some(outbox),
        rank: None,
        attempt: 0,
        trainer: None,
        feed: None,
        uploads: Arc::new(uploads),

        setting,
    };
    let code = driver.run(inbox).await;
    // The outbox is closed: the link ends when everything is delivered.
    let _ = tokio::time::timeout(LAST_WORDS, link).await;
    Ok(code)
}

impl Driver {
    async fn run(mut self, mut inbox: mpsc::Receiver<Event>) -> i32 {
        let mut measure = tokio::time::interval(MEASURE);
        loop {
            let event = tokio::select! {
                // `self.events` keeps the inbox open.
                Some(event) = inbox.recv() => event,
                _ = measure.tick() => match self.measure() {
                    Some(event) => event,
                    None => continue,
                },
            };
            if let Event::Commanded(AmCommand::Assign(assign)) = &event {
                let rank = assign.rank.clone().unwrap_or_default();
                tracing::info!(role = rank.role, index = rank.index, "assigned");
                self.rank = Some(Rank::new(rank.role, rank.index));
                self.attempt = assign.application_attempt;
            }
            // The ring's counters are final once the trainer is gone, and the core must see them before its end.
            if let (Event::TrainerReaped { epoch, status }, Some(feed)) = (&event, &self.feed) {
                tracing::info!(code = status.code, "the trainer ended");
                let counted = Event::FeedCounted { epoch: *epoch, counters: feed.counters() };
                if let Some(code) = self.on_event(counted) {
                    return code;
                }
            }
            if let Some(code) = self.on_event(event) {
                return code;
            }
        }
    }

    /// Some exit code when it is over.
    fn on_event(&mut self, event: Event) -> Option<i32> {
        tracing::debug!(?event);
        let actions = self.core.on_event(Stamped { at: self.began.elapsed(), event });
        actions.into_iter().find_map(|action| self.act(action))
    }

    fn act(&mut self, action: Action) -> Option<i32> {
        tracing::debug!(?action);
        match action {
            Action::Send(event) => self.send(event),
            Action::Spawn(start) => self.spawn(start),
            Action::Terminate => self.trainer.iter().for_each(Trainer::terminate),
            Action::Kill => self.trainer.iter().for_each(Trainer::kill),
            Action::Reply(reply) => self.trainer.iter().for_each(|trainer| trainer.reply(reply.clone())),
            Action::StartFeed { epoch } => {
                if let Err(error) = self.start_feed(epoch) {
                    self.later(Event::SpawnFailed {
                        epoch,
                        class: FailureClass::Internal,
                        message: format!("the feed could not be started: {error:#}"),
                    });
                    self.later(Event::FeedEnded {
                        epoch,
                        how: yarn_ml_agent_core::EndOfFeed::Early,
                        counters: Default::default(),
                    });
                }
            }
            Action::Feed { splits, end } => self.feed.iter().for_each(|feed| feed.feed(splits.clone(), end)),
            Action::StopFeed => self.feed.iter().for_each(Feed::stop),
            Action::Upload(upload) => {
                let (uploads, events) = (self.uploads.clone(), self.events.clone());
                tokio::spawn(async move {
                    let mut upload = upload;
                    let event = match uploads.carry_out(&upload).await {
                        Ok((uri, done)) => {
                            upload.uri = uri;
                            Event::UploadDone { upload, files: done.files, bytes: done.bytes }
                        }
                        Err(error) => Event::UploadFailed { upload, message: format!("{error:#}") },
                    };
                    let _ = events.send(event).await;
                });
            }
            Action::SetTimer { timer, generation, after } => {
                let events = self.events.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    let _ = events.send(Event::TimerFired { timer, generation }).await;
                });
            }
            Action::Exit { code } => {
                tracing::info!(code, "ending");
                self.outbox = None;
                return Some(code);
            }
        }
        None
    }

    fn send(&self, event: AgentEvent) {
        let Some(outbox) = &self.outbox else { return };
        if let Err(error) = outbox.try_send(event) {
            // Only an agent without its AM fills a thousand messages, and it ends within a minute.
            tracing::warn!(%error, "a message to the application master is dropped");
        }
    }

    fn later(&self, event: Event) {
        let events = self.events.clone();
        tokio::spawn(async move {
            let _ = events.send(event).await;
        });
    }

    fn measure(&self) -> Option<Event> {
        let trainer = self.trainer.as_ref()?;
        Some(Event::Measured {
            agent_pss: yarn_ml_processes::pss(std::process::id()),
            trainer_pss: yarn_ml_processes::tree_pss(trainer.pid()),
        })
    }

    fn start_feed(&mut self, epoch: u32) -> Result<()> {
        let (rank, role) = self.role()?;
        let input = role.input.clone().context("the role reads nothing")?;
        let plan = &self.setting.plan;
        let stream = plan.streams.get(&input.stream).context("the plan lacks the stream")?.clone();
        let source = plan.job.streams.get(&input.stream).context("the job lacks the stream")?.source.clone();
        let feed_plan = FeedPlan { epoch, rank: rank.index, stream, source, input };
        self.feed = Some(Feed::start(feed_plan, self.files.clone(), &self.setting.work_dir, self.events.clone())?);
        Ok(())
    }

    fn role(&self) -> Result<(Rank, &RolePlan)> {
        let rank = self.rank.clone().context("no rank was assigned")?;
        let role = self
            .setting
            .plan
            .roles
            .get(&rank.role)
            .with_context(|| format!("the plan lacks the role {}", rank.role))?;
        Ok((rank, role))
    }

    fn spawn(&mut self, start: StartTrainer) {
        let epoch = start.epoch;
        match self.try_spawn(&start) {
            Ok(trainer) => {
                tracing::info!(pid = trainer.pid(), epoch, "the trainer runs");
                self.later(Event::TrainerSpawned { epoch, pid: trainer.pid() });
                self.trainer = Some(trainer);
            }
            Err(error) => {
                let message = format!("the program could not be started: {error:#}");
                self.later(Event::SpawnFailed { epoch, class: FailureClass::Program, message });
            }
        }
    }

    fn try_spawn(&self, start: &StartTrainer) -> Result<Trainer> {
        let (rank, role) = self.role()?;
        let setting = &self.setting;
        let work_dir = &setting.work_dir;
        let (program, arguments) = runner::command(&role.program, work_dir)?;
        let folders = environment::folders(work_dir);
        for folder in folders.iter().chain([&self.uploads.checkpoint_dir, &self.uploads.model_dir]) {
            std::fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
        }
        let package_dir = package::unpack(work_dir)?;
        let context_file = work_dir.join("context.json");
        let context = self.context(start, &rank, role);
        std::fs::write(&context_file, serde_json::to_vec_pretty(&context)?).context("failed to write the context")?;
        let socket = Socket::pair().context("failed to make the trainer's socket")?;
        let ring = self.feed.as_ref().map(Feed::ring).transpose()?;
        let home = std::env::var_os("HOME").map(std::path::PathBuf::from);
        let environment = environment::environment(&Facts {
            inherited: std::env::vars().collect(),
            plan: &setting.plan,
            role,
            rank: &rank,
            cluster: &start.cluster,
            work_dir,
            package_dir: &package_dir,
            context_file: &context_file,
            home_is_writable: home.is_some_and(|home| is_writable(&home)),
            unsecured: setting.unsecured,
            socket_fd: socket.descriptor(),
            ring_fd: ring.as_ref().map(AsRawFd::as_raw_fd),
        });
        let logs = &setting.plan.job.logs;
        let launch = Launch {
            epoch: start.epoch,
            program,
            arguments,
            environment,
            work_dir: work_dir.clone(),
            log_dir: setting.log_dir.clone(),
            log_max_size: logs.max_size.0,
            log_keep: logs.keep,
            ring,
        };
        Trainer::spawn(launch, socket, self.events.clone())
    }

    fn context(&self, start: &StartTrainer, rank: &Rank, role: &RolePlan) -> TrainerContext {
        let setting = &self.setting;
        let text = |path: &std::path::Path| path.display().to_string();
        TrainerContext {
            application_id: setting.application.0.clone(),
            job: setting.plan.name.clone(),
            role: rank.role.clone(),
            index: rank.index,
            epoch: start.epoch,
            attempt: self.attempt,
            cluster: start.cluster.iter().map(|r| (r.role.clone(), r.addresses.clone())).collect(),
            strategy: role.program.strategy.unwrap_or(Strategy::None),
            params: setting.plan.job.params.clone(),
            inputs: inputs(&setting.plan),
            work_dir: text(&setting.work_dir),
            checkpoint_dir: text(&self.uploads.checkpoint_dir),
            model_dir: text(&self.uploads.model_dir),
            log_dir: text(&setting.log_dir),
        }
    }
}

fn inputs(plan: &Plan) -> BTreeMap<String, InputContext> {
    plan.readers()
        .filter_map(|(name, role, input)| {
            let read = InputContext {
                stream: input.stream.clone(),
                columns: plan.streams.get(&input.stream)?.output_schema(),
                batch: input.batch,
                epochs: input.epochs,
                instances: role.instances,
            };
            Some((name.to_owned(), read))
        })
        .collect()
}

fn listen_to_signals(events: mpsc::Sender<Event>) -> Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).context("failed to listen for signals")?;
        let events = events.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                let _ = events.send(Event::TerminationOrdered).await;
            }
        });
    }
    Ok(())
}
