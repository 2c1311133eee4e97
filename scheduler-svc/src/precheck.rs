//! The checks before a task begins: can the sources be dumped and replicated, does the target take what comes.
//!
//! - [`gather`], [`ask`], [`position`], [`cluster`]: facts from the databases, each with a limit.
//! - [`plan`] and the checks it names: from facts to results; pure.
//! - [`report`]: from results to the text of an answer; pure.
//!
//! Nothing is written to any database.

mod ask;
mod cluster;
mod dump_args;
mod facts;
mod gather;
mod ghosts;
mod grants;
mod items;
mod physical;
mod plan;
mod position;
mod report;
mod scope;
mod servers;
mod shards;
mod structure;

use std::time::Duration;

use dm_errors::{Class, DmError};
use tracing::instrument;

pub(crate) use ask::Limits;
pub(crate) use plan::Candidate;
pub(crate) use report::Budget;

use items::Items;

/// How long all checks of a task may take together, as in DM.
pub(crate) const MOST_TIME: Duration = Duration::from_secs(30 * 60);

/// Checks a task that consists of these parts, and gives the text for the user; empty when every check is ignored.
///
/// # Errors
/// 26005 when a check has failed; what kept the checks from beginning, as `fail to initialize checker`. All of the
/// master's class.
#[instrument(name = "precheck", skip_all, fields(sources = candidates.len()))]
pub(crate) async fn check(
    candidates: &[Candidate],
    budget: Budget,
    limits: Limits,
) -> Result<String, DmError> {
    let ignored = candidates.first();
    let ignored = ignored.and_then(|c| c.subtask.ignore_checking_items.as_deref());
    let items = Items::but(ignored.unwrap_or_default());
    if items.is_empty() {
        return Ok(String::new());
    }
    let begun = |error: DmError| {
        let error = error.annotate("fail to initialize checker");
        error.class(Class::DmMaster)
    };
    let gathered = gather::gather(&items, candidates, limits);
    let (sources, target) = match tokio::time::timeout(limits.all, gathered).await {
        Ok(gathered) => gathered.map_err(begun)?,
        Err(_) => return Err(report::too_long(limits.all)),
    };
    report::verdict(plan::checks(&items, candidates, &sources, &target), budget)
}

#[cfg(test)]
mod tests {
    use dm_task::{DbConfig, SubtaskConfig};

    use super::*;

    #[tokio::test]
    async fn checks_that_do_not_come_to_an_end_are_ended() {
        // It takes connections and says nothing.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let database = DbConfig {
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port().into(),
            ..DbConfig::default()
        };
        let subtask = SubtaskConfig {
            mode: "all".into(),
            from: database.clone(),
            to: database,
            ..SubtaskConfig::default()
        };
        let candidate = Candidate {
            subtask,
            flavor: "mysql".into(),
            enable_gtid: false,
            uses_relay: false,
        };
        let limits = Limits {
            query: MOST_TIME,
            database: MOST_TIME,
            all: Duration::from_millis(50),
            concurrency: 4,
        };
        let error = check(&[candidate], Budget::USUAL, limits)
            .await
            .unwrap_err();
        assert_eq!(error.code().number(), 26005);
        let text = error.to_string();
        assert!(text.contains("no result within 50ms"), "{text}");
    }
}
