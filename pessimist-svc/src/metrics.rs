//! Figures of the pessimist, under DM's names where DM has one.

use std::time::Duration;

use dm_replica::Handle;
use dm_service::Context;
use dm_service::context::OnExit;
use dm_service::metrics::Error;

use crate::machine::Pessimist;

/// Figures are at most this old.
const EVERY: Duration = Duration::from_secs(1);

/// Copies what the state shows to `/metrics`, until the process ends.
///
/// # Errors
/// When a name is taken.
pub fn mirror(ctx: &Context, handle: Handle<Pessimist>) -> Result<(), Error> {
    let states = ctx.metrics().gauges(
        "dm_master_ddl_state_number",
        "Shard-DDL locks of a task, by whether all sources have reported; on the leader only",
        &["task", "type"],
    )?;
    let totals = ctx.metrics().gauges(
        "dm_pessimist_total",
        "What this replica has seen since its start",
        &["what"],
    )?;
    ctx.spawn("mirror figures", OnExit::Log, async move {
        let status = handle.status();
        loop {
            let seen = handle
                .read_stale(|m, _| (m.lock_states(), m.counts()))
                .await;
            if let Ok((locks, counts)) = seen {
                states.reset();
                // A standby knows the same locks; shown once, they can be added up.
                for (task, count) in locks
                    .into_iter()
                    .filter(|_| status.borrow().leads.is_some())
                {
                    states
                        .with_label_values(&[task.as_str(), "Un-synced"])
                        .set(count.unsynced.into());
                    states
                        .with_label_values(&[task.as_str(), "Synced"])
                        .set(count.synced.into());
                }
                for (what, count) in [
                    ("ended_rounds", counts.ended_rounds),
                    ("rejected_infos", counts.rejected_infos),
                    ("faults", counts.faults),
                ] {
                    totals
                        .with_label_values(&[what])
                        .set(i64::try_from(count).unwrap_or(i64::MAX));
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
