//! Tasks with names and rules, and the end of a process in order:
//!
//! 1. not ready: `/readyz` and gRPC health say so, and load balancers turn away;
//! 2. new connections are closed at once, requests under way finish (or are cut after `drain-timeout`);
//! 3. hooks: resign, so that the next leader starts at once and not after a lease;
//! 4. loops stop, and the port is given back: from then on it refuses, as that of a dead process does;
//! 5. telemetry is flushed (by [`crate::process`], which owns it).
//!
//! A replica leads and its loops run until its last request is answered; that is why 3 and 4 come after 2.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, FutureExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Deadline;
use crate::context::Context;
use crate::process::BoxError;

/// What the end of a task means while the process is meant to go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnExit {
    /// The process cannot do its work without it: stop in order, exit code 1. Ending without an error is as bad.
    Fatal,
    /// An error is logged, and that is all.
    Log,
}

/// What a task may return: nothing, or a result.
pub trait TaskOutput {
    /// The error, if there is one, in the form that the harness logs.
    fn into_result(self) -> Result<(), BoxError>;
}

impl TaskOutput for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> TaskOutput for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

pub(crate) struct Hook {
    pub(crate) name: &'static str,
    pub(crate) run: BoxFuture<'static, ()>,
}

/// Why a process ended that was not asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The service's own start or run returned an error.
    #[error("{0}")]
    Service(#[source] BoxError),
    /// A task whose rule is [`OnExit::Fatal`] ended.
    #[error("task {task} ended: {reason}")]
    Task {
        /// As it was spawned.
        task: &'static str,
        /// Its error, or that there was none.
        reason: String,
    },
}

/// The tasks of one process. Clones share them.
#[derive(Clone)]
pub(crate) struct Tasks(Arc<Shared>);

struct Shared {
    tracker: TaskTracker,
    stopped: CancellationToken,
    stopping: CancellationToken,
    running: Mutex<BTreeMap<u64, &'static str>>,
    failure: Mutex<Option<Failure>>,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tasks").field(&self.names()).finish()
    }
}

impl Tasks {
    /// `stopping` is cancelled by a fatal end, and tells an end that is wanted from one that is not.
    pub(crate) fn new(stopping: CancellationToken) -> Self {
        Self(Arc::new(Shared {
            tracker: TaskTracker::new(),
            stopped: CancellationToken::new(),
            stopping,
            running: Mutex::default(),
            failure: Mutex::default(),
        }))
    }

    pub(crate) fn stopped(&self) -> CancellationToken {
        self.0.stopped.clone()
    }

    pub(crate) fn spawn(
        &self,
        name: &'static str,
        rule: OnExit,
        task: impl Future<Output = Result<(), BoxError>> + Send + 'static,
    ) {
        let tasks = self.clone();
        let id = tasks.enter(name);
        self.0.tracker.spawn(async move {
            let guarded = AssertUnwindSafe(task).catch_unwind();
            let ended = tasks.0.stopped.run_until_cancelled(guarded).await;
            tasks.leave(id);
            let reason = match ended {
                None => return,
                Some(Ok(Ok(()))) => None,
                Some(Ok(Err(error))) => Some(chain(&*error)),
                Some(Err(_)) => Some("panicked".to_owned()),
            };
            tasks.ended(name, rule, reason);
        });
    }

    fn ended(&self, task: &'static str, rule: OnExit, reason: Option<String>) {
        let wanted = self.0.stopping.is_cancelled();
        if let Some(error) = &reason {
            tracing::error!(task, error, "task failed");
        }
        if rule == OnExit::Fatal && !wanted {
            let reason =
                reason.unwrap_or_else(|| "without an error, before it was asked to".to_owned());
            self.fail(Failure::Task { task, reason });
        }
    }

    /// The first failure is the one that is reported.
    pub(crate) fn fail(&self, failure: Failure) {
        let mut first = self
            .0
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(failure);
        self.0.stopping.cancel();
    }

    pub(crate) fn take_failure(&self) -> Option<Failure> {
        self.0
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn enter(&self, name: &'static str) -> u64 {
        let mut running = self
            .0
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let id = running.last_key_value().map_or(0, |(id, _)| id + 1);
        running.insert(id, name);
        id
    }

    fn leave(&self, id: u64) {
        self.0
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }

    fn names(&self) -> Vec<&'static str> {
        self.0
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .copied()
            .collect()
    }

    async fn stop(&self, deadline: Deadline) {
        self.0.stopped.cancel();
        self.0.tracker.close();
        if tokio::time::timeout_at(deadline.instant(), self.0.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!(tasks = ?self.names(), "tasks did not stop in time");
        }
    }
}

/// An error with its causes, as one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.ends_with(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
}

/// Steps 1 to 4; `server` ends when connections have drained.
pub(crate) async fn in_order(ctx: &Context, server: impl Future<Output = ()>, deadline: Deadline) {
    ctx.0.readiness.not_ready("process", "stopping");
    if tokio::time::timeout_at(deadline.instant(), server)
        .await
        .is_err()
    {
        tracing::warn!("server did not stop in time");
    }
    ctx.0.drained.cancel();
    let hooks = std::mem::take(&mut *ctx.0.hooks.lock().unwrap_or_else(PoisonError::into_inner));
    for Hook { name, run } in hooks {
        tracing::debug!(hook = name, "stopping");
        let run = AssertUnwindSafe(run).catch_unwind();
        match tokio::time::timeout_at(deadline.instant(), run).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!(hook = name, "hook panicked"),
            Err(_) => tracing::warn!(hook = name, "hook did not end in time"),
        }
    }
    ctx.0.tasks.stop(deadline).await;
}

/// The first SIGTERM, SIGINT or SIGHUP. The second one ends the process at once, since somebody means it.
pub(crate) async fn asked_by_signal() {
    let name = next_signal().await;
    tracing::info!(signal = name, "stopping");
    tokio::spawn(async {
        let name = next_signal().await;
        tracing::warn!(signal = name, "stopped at once");
        std::process::exit(1);
    });
}

async fn next_signal() -> &'static str {
    let one = |kind: SignalKind, name: &'static str| async move {
        match signal(kind) {
            Ok(mut signals) => {
                signals.recv().await;
                name
            }
            Err(error) => {
                tracing::error!(%error, signal = name, "signal cannot be awaited");
                std::future::pending().await
            }
        }
    };
    tokio::select! {
        name = one(SignalKind::terminate(), "SIGTERM") => name,
        name = one(SignalKind::interrupt(), "SIGINT") => name,
        name = one(SignalKind::hangup(), "SIGHUP") => name,
    }
}

#[cfg(test)]
mod tests;
