//! optimist-svc: shard DDLs of tasks in optimistic mode, where each table moves on its own as long as the schemas can be joined.
//!
//! In this version it watches, leads, and cleans up: it holds the records of every optimistic task, names those that
//! cannot be used, and removes them on request. It derives no locks, so it answers no info: a task in optimistic mode
//! waits at its first schema change.
//!
//! - [`machine`]: the records, by task; pure.
//! - [`api`]: the gRPC methods.

pub mod api;
pub mod machine;

pub use api::Api;
pub use machine::Optimist;

/// What `/status` shows of the folded state: counts, and the records that cannot be used.
#[must_use]
pub fn summary(optimist: &Optimist) -> serde_json::Value {
    let counts = optimist.counts();
    let faults = optimist.faults().map(|(key, fault)| serde_json::json!({ "key": key, "reason": fault.what, "revision": fault.revision.0 }));
    serde_json::json!({
        "locks": 0,
        "infos": counts.infos,
        "operations": counts.operations,
        "source-tables": counts.source_tables,
        "dropped-columns": counts.dropped_columns,
        "faults-seen": counts.faults_seen,
        "faults": faults.collect::<Vec<_>>(),
    })
}
