//! `ContainerManagementProtocol`: an application master and the NodeManagers that it has tokens for.

use std::{collections::BTreeMap, sync::Mutex};

use crate::{
    client::{Auth, Options, RpcClient, RpcError},
    credentials::Token,
    ids::node_text,
    proto::yarn::{
        ContainerIdProto, ContainerLaunchContextProto, ContainerProto, GetContainerStatusesRequestProto,
        GetContainerStatusesResponseProto, NmTokenProto, SerializedExceptionProto, StartContainerRequestProto,
        StartContainersRequestProto, StartContainersResponseProto, StopContainersRequestProto,
        StopContainersResponseProto,
    },
    wire::RemoteError,
};

const PROTOCOL: &str = "org.apache.hadoop.yarn.api.ContainerManagementProtocolPB";

/// NMTokens by node; the newest wins.
pub struct ContainerManagement {
    options: Options,
    tokens: Mutex<BTreeMap<String, Token>>,
}

impl ContainerManagement {
    pub fn new(options: Options) -> Self {
        Self { options, tokens: Mutex::new(BTreeMap::new()) }
    }

    pub fn add_tokens(&self, tokens: Vec<NmTokenProto>) {
        let mut held = self.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for entry in tokens {
            if let (Some(node), Some(token)) = (entry.node_id, entry.token) {
                held.insert(node_text(&node), token.into());
            }
        }
    }

    /// Starts one container. "Already running" is success: the answer to an earlier request was lost.
    pub async fn start(&self, container: &ContainerProto, launch: ContainerLaunchContextProto) -> Result<(), RpcError> {
        let request = StartContainersRequestProto {
            start_container_request: vec![StartContainerRequestProto {
                container_launch_context: Some(launch),
                container_token: container.container_token.clone(),
            }],
        };
        let node = node_text(&container.node_id.clone().unwrap_or_default());
        let client = self.connect(&node);
        let answer: StartContainersResponseProto = client.call("startContainers", &request).await?;
        match answer.failed_requests.into_iter().next() {
            None => Ok(()),
            Some(failed) => {
                let error = remote(failed.exception);
                if error.message.contains("already is running on this node")
                    || error.message.contains("relaunch the same container")
                {
                    return Ok(());
                }
                Err(RpcError::Remote { address: node, what: "startContainers".into(), error })
            }
        }
    }

    pub async fn stop(&self, node: &str, container: ContainerIdProto) -> Result<(), RpcError> {
        let request = StopContainersRequestProto { container_id: vec![container] };
        let answer: StopContainersResponseProto = self.connect(node).call("stopContainers", &request).await?;
        match answer.failed_requests.into_iter().next() {
            None => Ok(()),
            Some(failed) => Err(RpcError::Remote {
                address: node.to_owned(),
                what: "stopContainers".into(),
                error: remote(failed.exception),
            }),
        }
    }

    pub async fn statuses(
        &self,
        node: &str,
        container: ContainerIdProto,
    ) -> Result<GetContainerStatusesResponseProto, RpcError> {
        let request = GetContainerStatusesRequestProto { container_id: vec![container] };
        self.connect(node).call("getContainerStatuses", &request).await
    }

    /// A connection for one call, as Java's client does by default: an AM of a thousand containers speaks to each node twice.
    fn connect(&self, node: &str) -> RpcClient {
        let held = self.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Without a token the NodeManager refuses and says so.
        let token = held.get(node).cloned().unwrap_or_default();
        RpcClient::new(node, PROTOCOL, Auth::Token(token), self.options)
    }
}

fn remote(exception: Option<SerializedExceptionProto>) -> RemoteError {
    let exception = exception.unwrap_or_default();
    let message = exception.message.unwrap_or_default();
    RemoteError {
        exception_class: exception.class_name.unwrap_or_default(),
        message: message.lines().next().unwrap_or_default().to_owned(),
        stack: exception.trace.unwrap_or_default(),
    }
}
