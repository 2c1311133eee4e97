//! What a running service holds: its name and address, clock, metrics, readiness, channels, named tasks and hooks for the end.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, FutureExt};
use tokio_util::sync::CancellationToken;

use crate::client::Channels;
use crate::clock::Clock;
use crate::config::Common;
use crate::metrics::Metrics;
use crate::process::BoxError;
use crate::readiness::Readiness;
use crate::server::{App, Front};
use crate::shutdown::{Hook, Tasks};

pub use crate::shutdown::{OnExit, TaskOutput};

/// Cheap to clone; all clones are of one process (or of one service under test).
#[derive(Clone)]
pub struct Context(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) service: &'static str,
    pub(crate) common: Common,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
    pub(crate) channels: Channels,
    pub(crate) front: Front,
    pub(crate) tasks: Tasks,
    pub(crate) hooks: Mutex<Vec<Hook>>,
    /// The process was asked to stop.
    pub(crate) stopping: CancellationToken,
    /// Connections have drained.
    pub(crate) drained: CancellationToken,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("service", &self.0.service)
            .field("name", &self.0.common.name)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Such as `scheduler-svc`.
    pub fn service(&self) -> &'static str {
        self.0.service
    }

    /// The replica's name.
    pub fn name(&self) -> &str {
        &self.0.common.name
    }

    /// The address to give to others, with the real port.
    pub fn advertise_addr(&self) -> &str {
        &self.0.common.advertise_addr
    }

    /// The settings that all services share, with name and address filled in.
    pub fn common(&self) -> &Common {
        &self.0.common
    }

    /// The process's clock; its elapsed time starts with the process.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// What `/metrics` shows.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// What `/readyz` and gRPC health show.
    pub fn readiness(&self) -> &Readiness {
        &self.0.readiness
    }

    /// Channels to other services and to workers.
    pub fn channels(&self) -> &Channels {
        &self.0.channels
    }

    /// Cancelled when the process is asked to stop: long-lived answers (watches, tails) should end themselves then.
    pub fn stopping(&self) -> CancellationToken {
        self.0.stopping.clone()
    }

    /// Cancelled when loops are to stop, after drain and hooks; what [`spawn`](Self::spawn) runs is dropped then.
    pub fn stopped(&self) -> CancellationToken {
        self.0.tasks.stopped()
    }

    /// Runs a loop under a name until the process stops its loops. `rule` says what its own end, error or panic before that means.
    pub fn spawn<F>(&self, name: &'static str, rule: OnExit, task: F)
    where
        F: Future + Send + 'static,
        F::Output: TaskOutput,
    {
        self.0
            .tasks
            .spawn(name, rule, task.map(TaskOutput::into_result));
    }

    /// Something to do between drain and the end of the loops, such as resigning. Hooks run one after the other, in the order in which they were given.
    pub fn on_stop(&self, name: &'static str, hook: impl Future<Output = ()> + Send + 'static) {
        let hook: BoxFuture<'static, ()> = hook.boxed();
        self.0
            .hooks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Hook { name, run: hook });
    }

    /// Asks the whole process to stop in order, as a signal would.
    pub fn stop(&self) {
        self.0.stopping.cancel();
    }

    /// Puts the service on the port that is open already, and returns when the process was asked to stop and requests have drained.
    /// May be called once.
    pub async fn serve(&self, app: App) -> Result<(), BoxError> {
        self.0
            .front
            .install(app, self.0.channels.clone(), self.0.common.leader_wait)?;
        self.0.readiness.ready(STARTED);
        tracing::info!(addr = self.advertise_addr(), "serving");
        self.0.drained.cancelled().await;
        Ok(())
    }
}

/// The condition that a service has put its routes on the port.
pub(crate) const STARTED: &str = "start";
