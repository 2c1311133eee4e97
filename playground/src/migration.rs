//! The steps of a migration of [`crate::orders`], as a user takes them with `dmctl`, and what they wait for.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::compare::{Comparison, compare};
use crate::dmctl::Output;
use crate::orders::{self, Shard, ShardMode, TASK};
use crate::wait::wait_for;
use crate::{Error, Playground, Result, answers};

/// How long one step may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(90);

/// `dmctl operate-source create FILE`.
pub async fn create_source(playground: &Playground, file: &Path) -> Result<Output> {
    let args = [
        "operate-source".as_ref(),
        "create".as_ref(),
        file.as_os_str(),
    ];
    playground.dmctl(args).await
}

/// `dmctl start-task FILE`.
pub async fn start_task(playground: &Playground, file: &Path) -> Result<Output> {
    playground
        .dmctl(["start-task".as_ref(), file.as_os_str()])
        .await
}

/// All of it: creates the sources, starts the task, and waits until every subtask follows its binlog.
pub async fn start(playground: &Playground) -> Result<()> {
    start_in(playground, ShardMode::Pessimistic).await
}

/// The same in one of the two shard modes.
pub async fn start_in(playground: &Playground, mode: ShardMode) -> Result<()> {
    for file in orders::write_source_files(playground)? {
        create_source(playground, &file).await?.success()?;
    }
    let task = orders::write_task_file(playground, mode)?;
    start_task(playground, &task).await?.success()?;
    wait_stage(playground, "Running Sync").await?;
    Ok(())
}

/// Waits until the subtask of every source is in a stage and unit such as `Running Sync`; gives the answer of `query-status` that says so.
pub async fn wait_stage(playground: &Playground, wanted: &str) -> Result<Value> {
    let mut last = String::new();
    let count = playground.sources().len();
    let what = format!("every subtask is in {wanted}");
    let waited = wait_for(LIMIT, &what, async || {
        let output = playground.dmctl(["query-status", TASK]).await.ok()?;
        last = format!("{}{}", output.stdout, output.stderr);
        let answer = output.json().ok()?;
        let stages = answers::stages(&answer);
        let is_there = stages.len() == count && stages.iter().all(|stage| stage.ends_with(wanted));
        is_there.then_some(answer)
    });
    waited
        .await
        .map_err(|late| Error::Unexpected(format!("{late}; the last answer was:\n{last}")))
}

/// Adds a text column to a shard.
pub async fn add_column(playground: &Playground, shard: &Shard, column: &str) -> Result<()> {
    let server = playground.mariadb(shard.server);
    Ok(server.exec(&add_column_sql(shard, column)).await?)
}

/// The statement of [`add_column`].
pub fn add_column_sql(shard: &Shard, column: &str) -> String {
    format!("ALTER TABLE {shard} ADD COLUMN {column} VARCHAR(32) NULL")
}

/// Waits until `shard-ddl-lock` shows a lock for which this many sources have reported; gives its output.
pub async fn wait_lock(playground: &Playground, reported: usize) -> Result<String> {
    let mut last = String::new();
    let what = format!("a lock that {reported} sources have reported");
    let waited = wait_for(LIMIT, &what, async || {
        let output = playground.dmctl(["shard-ddl-lock", TASK]).await.ok()?;
        last = format!("{}{}", output.stdout, output.stderr);
        let answer = output.json().ok()?;
        let lock = answer["locks"].as_array()?.first()?;
        (lock["synced"].as_array()?.len() == reported).then_some(output.stdout)
    });
    waited
        .await
        .map_err(|late| Error::Unexpected(format!("{late}; the last answer was:\n{last}")))
}

/// Waits until `shard-ddl-lock` shows no lock.
pub async fn wait_no_lock(playground: &Playground) -> Result<()> {
    let mut last = String::new();
    let waited = wait_for(LIMIT, "no lock is left", async || {
        let output = playground.dmctl(["shard-ddl-lock", TASK]).await.ok()?;
        last = format!("{}{}", output.stdout, output.stderr);
        let answer = output.json().ok()?;
        let is_empty = answer["locks"].as_array().is_none_or(Vec::is_empty);
        (answer["result"] == true && is_empty).then_some(())
    });
    waited
        .await
        .map_err(|late| Error::Unexpected(format!("{late}; the last answer was:\n{last}")))
}

/// Waits until the merged table has a column, and no lock is left.
pub async fn wait_resolved(playground: &Playground, column: &str) -> Result<()> {
    let mut last = String::new();
    let what = format!("the downstream has the column {column} and no lock is left");
    let waited = wait_for(LIMIT, &what, async || {
        let output = playground.dmctl(["shard-ddl-lock", TASK]).await.ok()?;
        last = format!("{}{}", output.stdout, output.stderr);
        let answer = output.json().ok()?;
        let is_over =
            answer["result"] == true && answer["locks"].as_array().is_none_or(Vec::is_empty);
        let has_column = orders::target_has(playground, column).await.ok()?;
        (is_over && has_column).then_some(())
    });
    waited
        .await
        .map_err(|late| Error::Unexpected(format!("{late}; the last answer was:\n{last}")))
}

/// Compares until both sides are equal or `limit` is over; gives the last comparison, which says which of the two it was, and the time it took.
pub async fn catch_up(
    playground: &Playground,
    shards: &[Shard],
    limit: Duration,
) -> Result<(Comparison, Duration)> {
    let began = Instant::now();
    let mut last = compare(playground, shards).await?;
    let waited = wait_for(limit, "the downstream is equal", async || {
        if last.difference.is_some() {
            last = compare(playground, shards).await.ok()?;
        }
        last.difference.is_none().then_some(())
    });
    // That it was in vain shows in the comparison.
    let _late = waited.await;
    Ok((last, began.elapsed()))
}
