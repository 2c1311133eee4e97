//! scheduler-svc: binds every source to a living worker, and keeps subtasks and their stages where they belong.
//!
//! - [`machine`]: what is known and what it calls for; pure.
//! - [`api`]: the gRPC methods: check, ask databases and workers, propose, wait, answer.
//! - `precheck`: the checks before a task begins.
//! - [`workers`], [`database`]: calls to workers and databases, each with a limit; never made by the loop.
//! - [`settings`]: the service's own settings.

pub mod api;
pub mod database;
mod latch;
pub mod machine;
mod metrics;
mod precheck;
pub mod settings;
pub mod workers;

use dm_keyspace::Role;
use dm_proto::scheduler::scheduler_server::SchedulerServer;
use dm_service::replicated::replicate;
use dm_service::{BoxError, Context, Settings};

pub use api::Api;
pub use machine::Scheduler;
pub use settings::Limits;

use metrics::Figures;

/// A replica of the scheduler: its loop, and its API on the port. Returns when the process was asked to stop.
///
/// # Errors
/// When etcd's settings are unusable or a part of the process cannot be set up.
pub async fn serve(settings: Settings<Limits>, ctx: Context) -> Result<(), BoxError> {
    let figures = Figures::register(ctx.metrics(), ctx.name().into())?;
    let look = move |scheduler: &Scheduler| {
        figures.show(scheduler);
        summary(scheduler)
    };
    let replica = replicate(&ctx, Role::Scheduler, Scheduler::default(), look).await?;
    let max_txn_ops = usize::try_from(settings.common.max_txn_ops).unwrap_or(usize::MAX);
    let channels = ctx.channels().clone();
    let key = settings.own.secret_key()?;
    let api = Api::new(replica.handle, channels, settings.own, key, max_txn_ops);
    ctx.serve(replica.app.grpc(SchedulerServer::new(api))).await
}

/// Orphans that the status page spells out; all are counted.
const MOST_ORPHANS: usize = 100;

/// What `/status` shows of the folded state: counts, conflicts, the records that cannot be used, and those that refer
/// to what is gone.
#[must_use]
pub fn summary(scheduler: &Scheduler) -> serde_json::Value {
    let faults = scheduler
        .faults()
        .map(|f| serde_json::json!({ "key": f.key, "reason": f.reason }));
    let orphans = scheduler
        .orphans()
        .take(MOST_ORPHANS)
        .map(|o| o.text.as_str());
    let counts = scheduler
        .orphan_counts()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| (kind.as_str().to_owned(), count.into()));
    let there_are = scheduler.counts();
    serde_json::json!({
        "workers": there_are.workers,
        "sources": there_are.sources,
        "bound-sources": there_are.bound,
        "waiting-sources": scheduler.waiting_sources(),
        "subtasks": there_are.subtasks,
        "conflicts": scheduler.conflicts().collect::<Vec<_>>(),
        "faults": faults.collect::<Vec<_>>(),
        "orphans": orphans.collect::<Vec<_>>(),
        "orphan-counts": counts.collect::<serde_json::Map<_, serde_json::Value>>(),
    })
}
