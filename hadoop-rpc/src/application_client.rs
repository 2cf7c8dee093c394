//! `ApplicationClientProtocol`: what a client asks of the ResourceManager where REST does not do.

use crate::{
    client::{Auth, Options, RpcClient, RpcError},
    proto::yarn::{
        ApplicationIdProto, ApplicationReportProto, GetApplicationReportRequestProto,
        GetApplicationReportResponseProto, KillApplicationRequestProto, KillApplicationResponseProto,
    },
};

const PROTOCOL: &str = "org.apache.hadoop.yarn.api.ApplicationClientProtocolPB";

pub struct ApplicationClient {
    client: RpcClient,
}

impl ApplicationClient {
    pub fn new(address: &str, auth: Auth, options: Options) -> Self {
        Self { client: RpcClient::new(address, PROTOCOL, auth, options) }
    }

    pub async fn application_report(&self, id: ApplicationIdProto) -> Result<ApplicationReportProto, RpcError> {
        let request = GetApplicationReportRequestProto { application_id: Some(id) };
        let answer: GetApplicationReportResponseProto = self.client.call("getApplicationReport", &request).await?;
        Ok(answer.application_report.unwrap_or_default())
    }

    /// True once the application is dead; repeat until then.
    pub async fn force_kill(&self, id: ApplicationIdProto, diagnostics: &str) -> Result<bool, RpcError> {
        let request =
            KillApplicationRequestProto { application_id: Some(id), diagnostics: Some(diagnostics.to_owned()) };
        let answer: KillApplicationResponseProto = self.client.call("forceKillApplication", &request).await?;
        Ok(answer.is_kill_completed.unwrap_or(false))
    }
}
