//! Containers from YARN: one conversation with the ResourceManager, short ones with NodeManagers.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hadoop_rpc::{
    ApplicationMasterClient, ContainerManagement, Options, RpcError,
    credentials::AM_RM_TOKEN,
    ids::{container_text, node_text},
    proto::yarn::{
        AllocateRequestProto, AllocateResponseProto, ContainerIdProto, ContainerLaunchContextProto, ContainerProto,
        FinishApplicationMasterRequestProto, LocalResourceProto, PriorityProto, RegisterApplicationMasterRequestProto,
        ResourceInformationProto, ResourceProto, ResourceRequestProto, StringLocalResourceMapProto,
        StringStringMapProto, UrlProto, am_command, final_application_status, local_resource_type,
        local_resource_visibility,
    },
    response_id::ResponseId,
};
use tokio::sync::Semaphore;
use yarn_ml_fs::Location;
use yarn_ml_protocol::{
    ids::ContainerId,
    plan::{Resource, ResourceKind, Visibility},
};
use yarn_xml::addresses::{Service, resource_managers};

use super::{Ask, Capability, Channels, Container, FinalStatus, Launch, Order, Told, Unregister};
use crate::setting::Setting;

/// While something is asked for, and for how long it is worth hurrying.
const HURRIED: Duration = Duration::from_millis(250);
const HURRY: Duration = Duration::from_secs(10);
const STEADY: Duration = Duration::from_secs(1);
/// NodeManagers spoken to at once.
const PARALLEL: usize = 16;
/// How long a ResourceManager may be away; YARN gives up on us after ten minutes.
const PATIENCE: Duration = Duration::from_secs(300);

pub struct YarnBackend {
    channels: Channels,
    resource_manager: ApplicationMasterClient,
    node_managers: Arc<ContainerManagement>,
    parallel: Arc<Semaphore>,
    response_id: ResponseId,
    registration: RegisterApplicationMasterRequestProto,
    user: String,
    /// What is still wanted, by allocation request id.
    wanted: BTreeMap<i64, Ask>,
    /// Asks and releases that the ResourceManager has not confirmed.
    asks: BTreeMap<i64, ResourceRequestProto>,
    releases: Vec<ContainerIdProto>,
    containers: BTreeMap<ContainerId, ContainerProto>,
    last_ask: Option<Instant>,
}

enum Ended {
    Unregister(Unregister),
    Silently,
}

impl YarnBackend {
    pub fn new(setting: &Setting, port: u16, channels: Channels) -> Result<Self> {
        let token = setting
            .credentials
            .of_kind(AM_RM_TOKEN)
            .context("the credentials hold no token for the ResourceManager (YARN_AM_RM_TOKEN)")?
            .clone();
        let addresses = resource_managers(&setting.configuration, Service::Scheduler)?;
        ensure!(!addresses.is_empty(), "no ResourceManager is configured");
        Ok(Self {
            channels,
            resource_manager: ApplicationMasterClient::new(addresses, token, Options::default(), PATIENCE),
            node_managers: Arc::new(ContainerManagement::new(Options::default())),
            parallel: Arc::new(Semaphore::new(PARALLEL)),
            response_id: ResponseId::default(),
            registration: RegisterApplicationMasterRequestProto {
                host: Some(setting.host.clone()),
                rpc_port: Some(i32::from(port)),
                tracking_url: Some(String::new()),
            },
            user: setting.plan.user.clone(),
            wanted: BTreeMap::new(),
            asks: BTreeMap::new(),
            releases: Vec::new(),
            containers: BTreeMap::new(),
            last_ask: None,
        })
    }

    pub async fn run(mut self) {
        let ended = match self.converse().await {
            Ok(ended) => ended,
            Err(error) => {
                let message = format!("the ResourceManager failed this attempt: {:#}", anyhow::Error::from(error));
                self.tell(Told::Failed { message }).await;
                return;
            }
        };
        if let Ended::Unregister(unregister) = ended {
            if let Err(error) = self.unregister(unregister).await {
                tracing::error!(%error, "the ResourceManager could not be told that the job is over");
            }
            self.tell(Told::Unregistered).await;
        }
    }

    async fn converse(&mut self) -> Result<Ended, RpcError> {
        let capability = self.register().await?;
        self.tell(Told::Registered(capability)).await;
        loop {
            let pause = self.pause();
            tokio::select! {
                // In order: what is ordered goes with the next allocate.
                biased;
                order = self.channels.orders.recv() => match order {
                    Some(Order::Unregister(unregister)) => return Ok(Ended::Unregister(unregister)),
                    Some(order) => {
                        if !self.obey(order) {
                            continue;
                        }
                    }
                    None => return Ok(Ended::Silently),
                },
                () = tokio::time::sleep(pause) => {}
            }
            // What else was ordered in the meantime goes along.
            while let Ok(order) = self.channels.orders.try_recv() {
                if let Order::Unregister(unregister) = order {
                    return Ok(Ended::Unregister(unregister));
                }
                self.obey(order);
            }
            if let Some(ended) = self.heartbeat().await? {
                return Ok(ended);
            }
        }
    }

    fn pause(&self) -> Duration {
        let hurrying = self.last_ask.is_some_and(|at| at.elapsed() < HURRY);
        if hurrying && !self.wanted.is_empty() { HURRIED } else { STEADY }
    }

    async fn register(&mut self) -> Result<Capability, RpcError> {
        let answer = match self.resource_manager.register(&self.registration).await {
            Ok(answer) => answer,
            // An earlier answer was lost: we are registered, and know no limits.
            Err(error) if error.exception() == Some("InvalidApplicationMasterRequestException") => Default::default(),
            Err(error) => return Err(error),
        };
        self.response_id.reset();
        self.node_managers.add_tokens(answer.nm_tokens_from_previous_attempts);
        let maximum = answer.maximum_capability.unwrap_or_default();
        let types = answer.resource_types.into_iter().filter_map(|t| t.name);
        Ok(Capability {
            memory_mb: maximum.memory.map_or(u64::MAX, |mb| u64::try_from(mb).unwrap_or(0)),
            vcores: maximum.virtual_cores.map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(0)),
            resource_types: types.filter(|name| name != "memory-mb" && name != "vcores").collect(),
        })
    }

    /// One allocate. Some end when the ResourceManager says so.
    async fn heartbeat(&mut self) -> Result<Option<Ended>, RpcError> {
        let request = AllocateRequestProto {
            ask: self.asks.values().cloned().collect(),
            release: self.releases.clone(),
            response_id: Some(self.response_id.to_send()),
            progress: Some(0.5),
        };
        match self.resource_manager.allocate(&request).await {
            Ok(answer) => self.on_answer(answer).await,
            Err(error) => match error.exception() {
                Some("ApplicationMasterNotRegisteredException") => self.resync().await,
                Some("ApplicationAttemptNotFoundException") => {
                    self.tell(Told::ShutdownOrdered).await;
                    Ok(Some(Ended::Silently))
                }
                _ => Err(error),
            },
        }
    }

    /// The ResourceManager was restarted: it knows running containers, and nothing of what was asked.
    async fn resync(&mut self) -> Result<Option<Ended>, RpcError> {
        tracing::info!("the ResourceManager has forgotten this attempt; registering again");
        self.register().await?;
        let wanted: Vec<Ask> = self.wanted.values().cloned().collect();
        wanted.iter().for_each(|ask| self.request(ask));
        Ok(None)
    }

    async fn on_answer(&mut self, answer: AllocateResponseProto) -> Result<Option<Ended>, RpcError> {
        match answer.a_m_command {
            Some(am_command::RESYNC) => return self.resync().await,
            Some(am_command::SHUTDOWN) => {
                self.tell(Told::ShutdownOrdered).await;
                return Ok(Some(Ended::Silently));
            }
            _ => {}
        }
        if let Err(wrong) = self.response_id.on_answer(answer.response_id.unwrap_or(-1)) {
            tracing::warn!(?wrong, "an answer of the ResourceManager is out of order");
            return Ok(None);
        }
        self.asks.clear();
        self.releases.clear();
        self.node_managers.add_tokens(answer.nm_tokens);
        if !answer.allocated_containers.is_empty() {
            let allocated = answer.allocated_containers.into_iter().map(|c| self.keep(c)).collect();
            self.tell(Told::Allocated(allocated)).await;
        }
        for status in answer.completed_container_statuses {
            let container = ContainerId(container_text(&status.container_id.unwrap_or_default()));
            self.containers.remove(&container);
            let told = Told::Completed {
                container,
                exit_status: status.exit_status.unwrap_or(-1000),
                diagnostics: status.diagnostics.unwrap_or_default(),
            };
            self.tell(told).await;
        }
        Ok(None)
    }

    fn keep(&mut self, proto: ContainerProto) -> Container {
        let id = ContainerId(container_text(&proto.id.clone().unwrap_or_default()));
        let allocation_request_id = proto.allocation_request_id.unwrap_or(-1);
        // The ResourceManager counts down as it allocates, and so do we.
        if let Some(ask) = self.wanted.get_mut(&allocation_request_id) {
            ask.count -= 1;
            if ask.count == 0 {
                self.wanted.remove(&allocation_request_id);
            }
        }
        let resource = proto.resource.clone().unwrap_or_default();
        let node_http = proto.node_http_address.clone().unwrap_or_default();
        let container = Container {
            logs: format!("http://{node_http}/node/containerlogs/{id}/{}", self.user),
            node: node_text(&proto.node_id.clone().unwrap_or_default()),
            node_http,
            allocation_request_id,
            memory_mb: u64::try_from(resource.memory.unwrap_or(0)).unwrap_or(0),
            vcores: u32::try_from(resource.virtual_cores.unwrap_or(0)).unwrap_or(0),
            resources: resource
                .resource_value_map
                .into_iter()
                .filter_map(|r| Some((r.key?, u64::try_from(r.value?).ok()?)))
                .collect(),
            id: id.clone(),
        };
        self.containers.insert(id, proto);
        container
    }

    /// True if the ResourceManager should hear of it at once.
    fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::Ask(ask) => {
                self.request(&ask);
                self.wanted.insert(ask.allocation_request_id, ask);
                self.last_ask = Some(Instant::now());
                true
            }
            Order::CancelAsk { allocation_request_id } => {
                if let Some(ask) = self.wanted.remove(&allocation_request_id) {
                    self.request(&Ask { count: 0, ..ask });
                }
                true
            }
            Order::Release { container } => {
                if let Some(proto) = self.containers.remove(&container) {
                    self.releases.extend(proto.id);
                }
                true
            }
            Order::Start { container, launch } => {
                self.start(container, *launch);
                false
            }
            Order::Stop { container } => {
                self.stop(&container);
                false
            }
            Order::Unregister(_) => false,
        }
    }

    fn request(&mut self, ask: &Ask) {
        let resources = ask.resources.iter().map(|(key, value)| ResourceInformationProto {
            key: Some(key.clone()),
            value: i64::try_from(*value).ok(),
            units: Some(String::new()),
            resource_type: Some(0),
        });
        // One shape at a priority: see the scheduler key of Hadoop's `AppSchedulingInfo`.
        let priority = i32::try_from(ask.allocation_request_id).unwrap_or(i32::MAX);
        let request = ResourceRequestProto {
            priority: Some(PriorityProto { priority: Some(priority) }),
            resource_name: Some("*".into()),
            capability: Some(ResourceProto {
                memory: i64::try_from(ask.memory_mb).ok(),
                virtual_cores: i32::try_from(ask.vcores).ok(),
                resource_value_map: resources.collect(),
            }),
            num_containers: i32::try_from(ask.count).ok(),
            relax_locality: Some(true),
            node_label_expression: None,
            allocation_request_id: Some(ask.allocation_request_id),
        };
        self.asks.insert(ask.allocation_request_id, request);
    }

    fn start(&self, id: ContainerId, launch: Launch) {
        let (node_managers, parallel, told) =
            (self.node_managers.clone(), self.parallel.clone(), self.channels.told.clone());
        let proto = self.containers.get(&id).cloned();
        tokio::spawn(async move {
            // The semaphore is never closed.
            let _permit = parallel.acquire().await;
            let started = async {
                let proto = proto.with_context(|| format!("{id} was not allocated"))?;
                node_managers.start(&proto, context(&launch)?).await?;
                anyhow::Ok(())
            };
            let said = match started.await {
                Ok(()) => Told::Started { container: id },
                Err(error) => Told::StartFailed { container: id, message: format!("{error:#}") },
            };
            let _ = told.send(said).await;
        });
    }

    fn stop(&self, id: &ContainerId) {
        let Some(proto) = self.containers.get(id).cloned() else {
            return;
        };
        let (node_managers, parallel) = (self.node_managers.clone(), self.parallel.clone());
        tokio::spawn(async move {
            let _permit = parallel.acquire().await;
            let node = node_text(&proto.node_id.unwrap_or_default());
            if let Err(error) = node_managers.stop(&node, proto.id.unwrap_or_default()).await {
                tracing::warn!(%error, "a container could not be stopped; the ResourceManager will");
            }
        });
    }

    /// Until the ResourceManager has written it down: an attempt that ends earlier may be started again.
    async fn unregister(&mut self, unregister: Unregister) -> Result<(), RpcError> {
        let request = FinishApplicationMasterRequestProto {
            diagnostics: Some(unregister.diagnostics),
            tracking_url: Some(String::new()),
            final_application_status: Some(match unregister.status {
                FinalStatus::Succeeded => final_application_status::SUCCEEDED,
                FinalStatus::Failed => final_application_status::FAILED,
                FinalStatus::Killed => final_application_status::KILLED,
            }),
        };
        loop {
            match self.resource_manager.finish(&request).await {
                Ok(true) => return Ok(()),
                Ok(false) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(error) if error.exception() == Some("ApplicationMasterNotRegisteredException") => {
                    self.register().await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn tell(&self, told: Told) {
        // The driver is gone only when the process ends.
        let _ = self.channels.told.send(told).await;
    }
}

fn context(launch: &Launch) -> Result<ContainerLaunchContextProto> {
    let resources = launch.resources.iter().map(|resource| {
        Ok(StringLocalResourceMapProto { key: Some(resource.name.clone()), value: Some(local_resource(resource)?) })
    });
    let environment = launch
        .environment
        .iter()
        .map(|(key, value)| StringStringMapProto { key: Some(key.clone()), value: Some(value.clone()) });
    Ok(ContainerLaunchContextProto {
        local_resources: resources.collect::<Result<_>>()?,
        tokens: Some(launch.credentials.to_writable()),
        service_data: Vec::new(),
        environment: environment.collect(),
        command: vec![launch.command.clone()],
        application_acls: Vec::new(),
    })
}

fn local_resource(resource: &Resource) -> Result<LocalResourceProto> {
    let location = Location::parse(&resource.uri)?;
    let (scheme, authority) = location.file_system.split_once("://").context("a file system has a scheme")?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().with_context(|| format!("{} has no port", resource.uri))?),
        // A name service.
        None => (authority, -1),
    };
    Ok(LocalResourceProto {
        resource: Some(UrlProto {
            scheme: Some(scheme.to_owned()),
            host: Some(host.to_owned()),
            port: Some(port),
            file: Some(location.path.clone()),
            user_info: None,
        }),
        size: Some(i64::try_from(resource.size)?),
        timestamp: Some(resource.modification_time),
        resource_type: Some(match resource.kind {
            ResourceKind::File => local_resource_type::FILE,
            ResourceKind::Archive => local_resource_type::ARCHIVE,
        }),
        visibility: Some(match resource.visibility {
            Visibility::Public => local_resource_visibility::PUBLIC,
            Visibility::Private => local_resource_visibility::PRIVATE,
            Visibility::Application => local_resource_visibility::APPLICATION,
        }),
    })
}
