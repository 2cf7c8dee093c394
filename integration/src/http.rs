//! REST for tests: blocking, on loopback, without a proxy.

use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::runtime::Runtime;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    // Without threads nothing can be tested at all.
    RUNTIME.get_or_init(|| Runtime::new().expect("a Tokio runtime"))
}

fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // The settings are constants.
        reqwest::Client::builder().no_proxy().build().expect("an HTTP client")
    })
}

/// Runs a future to its end; not for use inside of a Tokio task.
pub fn block_on<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

pub fn get_json(url: &str) -> Result<Value> {
    block_on(async {
        let answer = client().get(url).header("Accept", "application/json").send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        if !status.is_success() {
            bail!("GET {url}: {status}: {body}");
        }
        serde_json::from_str(&body).with_context(|| format!("GET {url} answered {body}"))
    })
}

pub fn get_bytes(url: &str) -> Result<Vec<u8>> {
    block_on(async {
        let answer = client().get(url).send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        if !status.is_success() {
            bail!("GET {url}: {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(body.to_vec())
    })
}

pub fn put(url: &str, body: Vec<u8>) -> Result<()> {
    block_on(async {
        let answer = client().put(url).header("Content-Type", "application/octet-stream").body(body).send().await?;
        let status = answer.status();
        if !status.is_success() {
            bail!("PUT {url}: {status}: {}", answer.text().await.unwrap_or_default());
        }
        Ok(())
    })
}

pub fn delete(url: &str) -> Result<()> {
    block_on(async {
        let answer = client().delete(url).send().await?;
        anyhow::ensure!(answer.status().is_success(), "DELETE {url}: {}", answer.status());
        Ok(())
    })
}
