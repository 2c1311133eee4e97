//! A replica's status, mirrored to where others look: routing, readiness, metrics, the status page.
//!
//! Each mirror is level-triggered: it copies what is, whenever something has changed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dm_replica::{Handle, Machine, Status};
use serde_json::Value;
use tokio::sync::watch;

use crate::context::{Context, OnExit};
use crate::layers::forward::LeaderView;
use crate::replicated::metrics::Faults;

/// The condition that the replica's state is loaded and its feed flows.
const CONDITION: &str = "replica";
/// The status page is at most this old.
const SUMMARY_EVERY: Duration = Duration::from_secs(1);

/// Who leads, for the forwarding layer.
pub(super) fn leader(
    ctx: &Context,
    mut status: watch::Receiver<Status>,
) -> watch::Receiver<LeaderView> {
    let (view, seen) = watch::channel(view(&status.borrow()));
    ctx.spawn("mirror the leader", OnExit::Log, async move {
        while status.changed().await.is_ok() {
            let now = self::view(&status.borrow_and_update());
            view.send_if_modified(|old| std::mem::replace(old, now.clone()) != now);
        }
    });
    seen
}

fn view(status: &Status) -> LeaderView {
    match &status.leader {
        _ if status.leads.is_some() => LeaderView::Self_,
        // First in the line, but not to be trusted with it at the moment: wait for what comes.
        Some(leader) if leader.id == status.name => LeaderView::Unknown,
        Some(leader) => LeaderView::Other {
            addr: leader.addr.clone(),
        },
        None => LeaderView::Unknown,
    }
}

/// `/readyz`; readiness itself logs each change once.
pub(super) fn readiness(ctx: &Context, mut status: watch::Receiver<Status>) {
    let readiness = ctx.readiness().clone();
    readiness.not_ready(CONDITION, status.borrow().troubles.join("; "));
    ctx.spawn("mirror readiness", OnExit::Log, async move {
        loop {
            let troubles = status.borrow_and_update().troubles.join("; ");
            if troubles.is_empty() {
                readiness.ready(CONDITION);
            } else {
                readiness.not_ready(CONDITION, troubles);
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    });
}

/// The machine's own part of the status page, taken from the loop now and then.
pub(super) fn summary<M: Machine>(
    ctx: &Context,
    handle: Handle<M>,
    summary: impl Fn(&M) -> Value + Clone + Send + Sync + 'static,
    page: Arc<Mutex<Value>>,
    faults: Faults,
) {
    ctx.spawn("mirror the state", OnExit::Log, async move {
        let mut status = handle.status();
        loop {
            let look = summary.clone();
            if let Ok(now) = handle.read_stale(move |machine, _| look(machine)).await {
                faults.show(&status.borrow().faults, &now);
                *page.lock().unwrap_or_else(PoisonError::into_inner) = now;
            }
            tokio::time::sleep(SUMMARY_EVERY).await;
            if status.changed().await.is_err() {
                return;
            }
        }
    });
}
