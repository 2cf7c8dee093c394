//! The ResourceManager over REST: whichever is active, without a proxy, within bounds.

use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use yarn_ml_protocol::exit::ExitCode;
use yarn_xml::{
    addresses::web_urls,
    rest::{App, NewApplication, Node, Queue, RestError, app, classify, new_application, nodes, queues},
};

use crate::{
    failure::{Failure, OrExit, failure},
    setting::Setting,
};

pub struct Rest {
    /// `http://host:port` of every ResourceManager.
    bases: Vec<String>,
    user: String,
    http: reqwest::Client,
}

impl Rest {
    pub fn new(setting: &Setting) -> Result<Self> {
        let bases = web_urls(&setting.configuration)
            .or_exit(ExitCode::BadConfiguration, || "the addresses of the ResourceManager cannot be used".into())?;
        let http = reqwest::Client::builder()
            // Java's clients ignore http_proxy for cluster addresses.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(12))
            .user_agent(concat!("yarn-ml/", env!("CARGO_PKG_VERSION")))
            .build()
            .or_exit(ExitCode::Internal, || "failed to make an HTTP client".into())?;
        Ok(Self { bases, user: setting.user.clone(), http })
    }

    pub async fn new_application(&self) -> Result<NewApplication> {
        let body = self.call(Method::POST, "apps/new-application", None).await?;
        new_application(&body).or_exit(ExitCode::Unreachable, || "the ResourceManager gave no application id".into())
    }

    pub async fn submit(&self, xml: String) -> Result<()> {
        self.call(Method::POST, "apps", Some(("application/xml", xml))).await.map(drop)
    }

    /// Nothing when the ResourceManager does not know it.
    pub async fn app(&self, id: &str) -> Result<Option<App>> {
        match self.try_call(Method::GET, &format!("apps/{id}"), None).await {
            Ok(body) => {
                Ok(Some(app(&body).or_exit(ExitCode::Unreachable, || format!("the state of {id} cannot be read"))?))
            }
            Err(CallError::Rest(RestError::Remote { exception, .. })) if exception == "NotFoundException" => Ok(None),
            Err(CallError::Rest(RestError::Status { status: 404, .. })) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    pub async fn kill(&self, id: &str) -> Result<()> {
        let body = Some(("application/json", r#"{"state":"KILLED"}"#.to_owned()));
        self.call(Method::PUT, &format!("apps/{id}/state"), body).await.map(drop)
    }

    pub async fn nodes(&self) -> Result<Vec<Node>> {
        let body = self.call(Method::GET, "nodes", None).await?;
        nodes(&body).or_exit(ExitCode::Unreachable, || "the nodes cannot be read".into())
    }

    pub async fn queues(&self) -> Result<Vec<Queue>> {
        let body = self.call(Method::GET, "scheduler", None).await?;
        queues(&body).or_exit(ExitCode::Unreachable, || "the queues cannot be read".into())
    }

    /// Text of a NodeManager's page.
    pub async fn fetch(&self, url: &str) -> Result<String> {
        let answer = self
            .http
            .get(url)
            .query(&[("user.name", &self.user)])
            .send()
            .await
            .or_exit(ExitCode::Unreachable, || format!("failed to reach {url}"))?;
        let status = answer.status();
        let body = answer.text().await.or_exit(ExitCode::Unreachable, || format!("failed to read {url}"))?;
        if !status.is_success() {
            return Err(failure(ExitCode::NotFound, format!("{url} answered {status}")));
        }
        Ok(body)
    }

    async fn call(&self, method: Method, path: &str, body: Option<(&str, String)>) -> Result<String> {
        self.try_call(method, path, body).await.map_err(|error| self.failed(error))
    }

    /// Asks every ResourceManager until one of them is the active one.
    async fn try_call(&self, method: Method, path: &str, body: Option<(&str, String)>) -> Result<String, CallError> {
        let mut last = CallError::Rest(RestError::NoActive);
        for base in &self.bases {
            match self.ask(base, method.clone(), path, body.clone()).await {
                Err(
                    error @ (CallError::Network(..) | CallError::Rest(RestError::Standby { .. } | RestError::NoActive)),
                ) => {
                    last = error;
                }
                answered => return answered,
            }
        }
        Err(last)
    }

    async fn ask(
        &self,
        base: &str,
        method: Method,
        path: &str,
        body: Option<(&str, String)>,
    ) -> Result<String, CallError> {
        let url = format!("{base}/ws/v1/cluster/{path}");
        let network = |error: reqwest::Error| CallError::Network(base.to_owned(), error);
        let mut request =
            self.http.request(method, url).query(&[("user.name", &self.user)]).header("Accept", "application/json");
        if let Some((content_type, body)) = body {
            request = request.header("Content-Type", content_type).header("X-XSRF-Header", "yarn-ml").body(body);
        }
        let answer = request.send().await.map_err(network)?;
        let status = answer.status().as_u16();
        let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let (location, refresh) = (header("location"), header("refresh").is_some());
        // A submission is answered with the place of the new application.
        let location = location.filter(|_| (300..400).contains(&status));
        let content_type = header("content-type").unwrap_or_default();
        let body = answer.text().await.map_err(network)?;
        classify(status, location.as_deref(), refresh, &content_type, &body)?;
        Ok(body)
    }

    fn failed(&self, error: CallError) -> anyhow::Error {
        match error {
            CallError::Network(base, error) => Failure {
                code: ExitCode::Unreachable,
                message: format!("failed to reach the ResourceManager at {base}"),
                source: Some(error.without_url().into()),
            }
            .into(),
            CallError::Rest(error @ (RestError::NoActive | RestError::Standby { .. })) => Failure {
                code: ExitCode::Unreachable,
                message: format!("no ResourceManager is active among {}", self.bases.join(", ")),
                source: Some(error.into()),
            }
            .into(),
            CallError::Rest(error) => Failure {
                code: ExitCode::Refused,
                message: "the ResourceManager refused".into(),
                source: Some(error.into()),
            }
            .into(),
        }
    }
}

enum CallError {
    Network(String, reqwest::Error),
    Rest(RestError),
}

impl From<RestError> for CallError {
    fn from(error: RestError) -> Self {
        Self::Rest(error)
    }
}
