//! `ApplicationMasterProtocol`: an application master and its ResourceManagers.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::{
    client::{Auth, Options, RpcClient, RpcError},
    credentials::Token,
    proto::yarn::{
        AllocateRequestProto, AllocateResponseProto, FinishApplicationMasterRequestProto,
        FinishApplicationMasterResponseProto, RegisterApplicationMasterRequestProto,
        RegisterApplicationMasterResponseProto,
    },
};

const PROTOCOL: &str = "org.apache.hadoop.yarn.api.ApplicationMasterProtocolPB";
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Every ResourceManager of the cluster; calls go to the one that answered last, and move on when it refuses.
pub struct ApplicationMasterClient {
    addresses: Vec<String>,
    options: Options,
    /// How long a call is tried before it fails.
    patience: Duration,
    state: Mutex<State>,
}

struct State {
    token: Token,
    active: usize,
    client: Option<RpcClient>,
}

impl ApplicationMasterClient {
    /// `addresses`: `host:port` of each scheduler; at least one.
    pub fn new(addresses: Vec<String>, token: Token, options: Options, patience: Duration) -> Self {
        Self { addresses, options, patience, state: Mutex::new(State { token, active: 0, client: None }) }
    }

    pub async fn register(
        &self,
        request: &RegisterApplicationMasterRequestProto,
    ) -> Result<RegisterApplicationMasterResponseProto, RpcError> {
        self.call("registerApplicationMaster", request).await
    }

    /// Sending the same request again after a failure is safe: `response_id` tells the ResourceManager.
    pub async fn allocate(&self, request: &AllocateRequestProto) -> Result<AllocateResponseProto, RpcError> {
        let answer: AllocateResponseProto = self.call("allocate", request).await?;
        if let Some(rolled) = &answer.am_rm_token {
            // The open connection stays valid; the next one needs the new token, so it is opened now.
            let mut state = self.state.lock().await;
            let rolled = Token::from(rolled.clone());
            if state.token != rolled {
                state.token = rolled;
                state.client = None;
            }
        }
        Ok(answer)
    }

    /// True once the ResourceManager has written it down.
    pub async fn finish(&self, request: &FinishApplicationMasterRequestProto) -> Result<bool, RpcError> {
        let answer: FinishApplicationMasterResponseProto = self.call("finishApplicationMaster", request).await?;
        Ok(answer.is_unregistered.unwrap_or(false))
    }

    async fn call<A: prost::Message + Default>(
        &self,
        method: &str,
        request: &impl prost::Message,
    ) -> Result<A, RpcError> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut state = self.state.lock().await;
        loop {
            let address = &self.addresses[state.active % self.addresses.len()];
            let token = state.token.clone();
            let client =
                state.client.get_or_insert_with(|| RpcClient::new(address, PROTOCOL, Auth::Token(token), self.options));
            let error = match client.call(method, request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !error.is_retriable() || began.elapsed() > self.patience {
                return Err(error);
            }
            tracing::warn!(%address, %error, "the ResourceManager does not answer; trying again");
            if error.should_fail_over() {
                state.active += 1;
                state.client = None;
            }
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
