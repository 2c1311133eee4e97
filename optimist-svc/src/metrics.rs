//! Figures of the optimist, under DM's names where DM has one.

use std::collections::BTreeMap;
use std::time::Duration;

use dm_replica::Handle;
use dm_service::Context;
use dm_service::context::OnExit;
use dm_service::metrics::Error;

use crate::machine::Optimist;

/// Figures are at most this old.
const EVERY: Duration = Duration::from_secs(1);
/// What DM calls an info that could not be judged.
const NOT_JUDGED: &str = "InfoPut - HandleLockError";
/// What DM calls a lock that could not be removed when its last operation was done.
const NOT_REMOVED: &str = "OperationPut - RemoveLockError";

/// Copies what the state shows to `/metrics`, until the process ends.
///
/// # Errors
/// When a name is taken.
pub fn mirror(ctx: &Context, handle: Handle<Optimist>) -> Result<(), Error> {
    let states = ctx.metrics().gauges(
        "dm_master_ddl_state_number",
        "Shard-DDL locks of a task, by whether all tables are equal; on the leader only",
        &["task", "type"],
    )?;
    let errors = ctx.metrics().counters(
        "dm_master_shard_ddl_error",
        "Shard DDLs of a task that were answered with an error; on the leader only",
        &["task", "type"],
    )?;
    let totals = ctx.metrics().gauges(
        "dm_optimist_total",
        "What the folded state of this replica has",
        &["what"],
    )?;
    ctx.spawn("mirror figures", OnExit::Log, async move {
        let status = handle.status();
        let mut told = BTreeMap::new();
        loop {
            let seen = handle
                .read_stale(|m, _| (m.lock_states(), m.errors().clone(), m.counts()))
                .await;
            if let Ok((locks, failed, counts)) = seen {
                // A standby knows the same; shown once, it can be added up.
                let leads = status.borrow().leads.is_some();
                states.reset();
                for (task, count) in locks.into_iter().filter(|_| leads) {
                    for (kind, count) in [("Un-synced", count.unsynced), ("Synced", count.synced)] {
                        states.with_label_values(&[task.as_str(), kind]).set(count);
                    }
                }
                for (task, now) in &failed {
                    let before = told.insert(task.clone(), *now).unwrap_or_default();
                    for (kind, now, before) in [
                        (NOT_JUDGED, now.infos, before.infos),
                        (NOT_REMOVED, now.removals, before.removals),
                    ] {
                        if leads {
                            let counter = errors.with_label_values(&[task.as_str(), kind]);
                            counter.inc_by(now.saturating_sub(before));
                        }
                    }
                }
                for (what, count) in [
                    ("locks", counts.locks),
                    ("infos", counts.infos),
                    ("operations", counts.operations),
                    ("dropped_columns", counts.dropped_columns),
                    ("locks_waiting_for_schemas", counts.waiting_locks),
                    (
                        "faults",
                        usize::try_from(counts.faults_seen).unwrap_or(usize::MAX),
                    ),
                ] {
                    let count = i64::try_from(count).unwrap_or(i64::MAX);
                    totals.with_label_values(&[what]).set(count);
                }
            }
            tokio::time::sleep(EVERY).await;
            if status.has_changed().is_err() {
                return;
            }
        }
    });
    Ok(())
}
