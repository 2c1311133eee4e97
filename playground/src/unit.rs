//! One process of the cluster: a replica of a service, or a worker.

use std::time::Duration;

use dm_testkit::process::{Process, Spec};
use serde_json::Value;

use crate::{Result, http};

/// How long a service may take to end by itself; its own limit is 15 seconds.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A process that can be killed, paused and started again at the same address.
#[derive(Debug)]
pub struct Unit {
    spec: Spec,
    process: Process,
    addr: String,
    is_paused: bool,
}

impl Unit {
    pub(crate) fn start(spec: Spec, addr: String) -> Result<Self> {
        let process = spec.spawn()?;
        Ok(Self {
            spec,
            process,
            addr,
            is_paused: false,
        })
    }

    /// Its name: `pessimist-2`, `worker-1`.
    pub fn name(&self) -> &str {
        self.process.name()
    }

    /// Where it serves gRPC and its pages.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// The operating system's number for it.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether it was paused and not resumed since.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Fails with the end of its log when it has ended.
    pub fn ensure_running(&mut self) -> Result<()> {
        Ok(self.process.ensure_running()?)
    }

    /// Ends it with SIGKILL: a crash.
    pub fn kill9(&mut self) -> Result<()> {
        self.is_paused = false;
        self.process.kill9()?;
        Ok(())
    }

    /// Stops it in its tracks with SIGSTOP: a machine that hangs.
    pub fn pause(&mut self) -> Result<()> {
        self.is_paused = true;
        Ok(self.process.pause()?)
    }

    /// Lets it go on after [`Self::pause`].
    pub fn resume(&mut self) -> Result<()> {
        self.is_paused = false;
        Ok(self.process.resume()?)
    }

    /// Ends it as an operator would: SIGTERM, and SIGKILL when that does not help.
    pub async fn stop(&mut self) -> Result<()> {
        if self.is_paused {
            self.resume()?;
        }
        self.process.stop(STOP_LIMIT).await?;
        Ok(())
    }

    /// Starts it again at the same address with the same settings, after ending it if it still runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.process = self.spec.spawn()?;
        Ok(())
    }

    /// Its `/status` page.
    pub async fn status(&self) -> Result<Value> {
        http::get_json(&self.addr, "/status").await
    }

    /// Why it is not ready, in words; `None` when it is.
    pub async fn not_ready(&self) -> Option<String> {
        match http::get(&self.addr, "/readyz").await {
            Ok(page) if page.code == 200 => None,
            Ok(page) => Some(page.body.trim().to_owned()),
            Err(e) => Some(e.to_string()),
        }
    }

    /// The end of its log, for failure messages.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}
