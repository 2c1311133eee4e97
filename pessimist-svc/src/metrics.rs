//! Figures of the pessimist, under DM's names where DM has one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dm_keyspace::TaskName;
use dm_replica::Handle;
use dm_service::Context;
use dm_service::context::OnExit;
use dm_service::metrics::Error;

use crate::machine::{Crossing, Pessimist, TaskErrors};

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
    let errors = ctx.metrics().counters(
        "dm_master_shard_ddl_error",
        "Shard DDLs of a task that could not be taken; on the leader only",
        &["task", "type"],
    )?;
    let crossed = ctx.metrics().counters(
        "dm_pessimist_crossed_waits_total",
        "Circles of locks of a task that wait for each other, each counted when it is seen first; on the leader only",
        &["task"],
    )?;
    let totals = ctx.metrics().gauges(
        "dm_pessimist_total",
        "What this replica has seen since its start",
        &["what"],
    )?;
    ctx.spawn("mirror figures", OnExit::Log, async move {
        let status = handle.status();
        let (mut told, mut circles) = (BTreeMap::new(), BTreeSet::new());
        loop {
            let look = |m: &Pessimist, _| {
                (
                    m.lock_states(),
                    m.counts(),
                    m.errors().clone(),
                    m.crossings(),
                )
            };
            if let Ok((locks, counts, failed, crossings)) = handle.read_stale(look).await {
                states.reset();
                // A standby knows the same locks; shown once, they can be added up.
                let leads = status.borrow().leads.is_some();
                for (task, kind, more) in news_of_errors(&mut told, failed) {
                    let of_kind = errors.with_label_values(&[task.as_str(), kind]);
                    of_kind.inc_by(if leads { more } else { 0 });
                }
                for task in new_circles(&mut circles, crossings)
                    .into_iter()
                    .filter(|_| leads)
                {
                    crossed.with_label_values(&[task.as_str()]).inc();
                }
                for (task, count) in locks.into_iter().filter(|_| leads) {
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

/// By how much each kind of error of each task has grown since the last look, where it has.
fn news_of_errors(
    told: &mut BTreeMap<TaskName, TaskErrors>,
    now: BTreeMap<TaskName, TaskErrors>,
) -> Vec<(TaskName, &'static str, u64)> {
    let mut news = Vec::new();
    for (task, errors) in now {
        let before = told.insert(task.clone(), errors).unwrap_or_default();
        for ((kind, number), (_, before)) in errors.by_type().into_iter().zip(before.by_type()) {
            if number > before {
                news.push((task.clone(), kind, number - before));
            }
        }
    }
    news
}

/// The tasks of the circles that were not there at the last look.
fn new_circles(
    known: &mut BTreeSet<(TaskName, BTreeSet<String>)>,
    now: Vec<Crossing>,
) -> Vec<TaskName> {
    let now = now.into_iter().map(|crossing| {
        let ids = crossing.waits.into_iter().map(|(id, _)| id);
        (crossing.task, ids.collect())
    });
    let before = std::mem::replace(known, now.collect());
    let new = known.difference(&before);
    new.map(|(task, _)| task.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_circle_is_counted_when_it_is_new_and_each_error_once() {
        let circle = |ids: &[&str]| Crossing {
            task: "t".into(),
            waits: ids
                .iter()
                .map(|id| ((*id).to_owned(), "s".into()))
                .collect(),
            unlock: String::new(),
        };
        let mut known = BTreeSet::new();
        let mut look = |circles: Vec<Crossing>| new_circles(&mut known, circles).len();
        assert_eq!(look(vec![circle(&["a", "b"])]), 1);
        assert_eq!(look(vec![circle(&["b", "a"]), circle(&["c", "d"])]), 1);
        assert_eq!(look(Vec::new()), 0);
        assert_eq!(look(vec![circle(&["a", "b"])]), 1);
        let mut told = BTreeMap::new();
        let errors = |rejected_infos| {
            let errors = TaskErrors {
                rejected_infos,
                ..TaskErrors::default()
            };
            BTreeMap::from([("t".into(), errors)])
        };
        let news = news_of_errors(&mut told, errors(2));
        assert_eq!(news, [("t".into(), "InfoPut - SyncLockError", 2)]);
        assert_eq!(news_of_errors(&mut told, errors(2)), []);
        assert_eq!(news_of_errors(&mut told, errors(3))[0].2, 1);
    }
}
