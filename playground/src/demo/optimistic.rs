//! The acts of the demo in optimistic mode: a change that suits all shards, one that has to wait for all of them, and one that a person decides.

use tokio::time::Instant;

use super::act::show_columns;
use super::stage::Stage;
use crate::migration::{self, LIMIT};
use crate::orders::{self, Shard, TARGET, TASK};
use crate::story::{Story, time};
use crate::wait::wait_for;
use crate::{Error, Result, traces};

pub(super) fn prologue(story: &mut Story) {
    story.show(
        "A shop keeps its orders in four tables (shards) on two MariaDB servers. They are to become one table on a third\n\
         server, while the shop stays open: rows keep being inserted, updated and deleted during the whole demo.\n\
         In optimistic mode a shard that is altered need not wait for the others: the optimist knows the structure of every\n\
         shard, and keeps the table downstream wide enough for all of them. Only what contradicts the other shards waits.",
    );
}

pub(super) async fn play(stage: &Stage, story: &mut Story) -> Result<()> {
    compatible(stage, story).await?;
    show_trace(stage, story).await?;
    redirected(stage, story).await?;
    decided_by_hand(stage, story).await
}

async fn alter(stage: &Stage, story: &mut Story, shard: &Shard, change: &str) -> Result<()> {
    let server = stage.playground.mariadb(shard.server);
    let sql = format!("ALTER TABLE {shard} {change}");
    story.say(&format!("{}: {sql}", server.name()));
    Ok(server.exec(&sql).await?)
}

/// How many rows of a shard, that meet a condition, are downstream.
async fn rows(stage: &Stage, shard: &Shard, condition: &str) -> Result<u64> {
    let (database, table) = TARGET;
    let (first, next) = (shard.first_id(), shard.first_id() + orders::RANGE);
    let sql = format!(
        "SELECT COUNT(*) FROM {database}.{table} WHERE id >= {first} AND id < {next} AND {condition}"
    );
    let rows = stage.playground.downstream().query(&sql).await?;
    let count = rows.into_iter().flatten().flatten().next();
    Ok(count.and_then(|text| text.parse().ok()).unwrap_or_default())
}

async fn wait_rows(stage: &Stage, shard: &Shard, condition: &str, more_than: u64) -> Result<()> {
    let what = format!("rows of {shard} downstream with {condition}");
    wait_for(LIMIT, &what, async || {
        let count = rows(stage, shard, condition).await.ok()?;
        (count > more_than).then_some(())
    })
    .await
}

async fn compatible(stage: &Stage, story: &mut Story) -> Result<()> {
    story.chapter("A change that suits all shards");
    let [first, others @ ..] = stage.shards.as_slice() else {
        return Err(Error::Unexpected("no shards".to_owned()));
    };
    let change = "ADD COLUMN channel VARCHAR(32) NULL";
    let began = Instant::now();
    alter(stage, story, first, change).await?;
    stage.writers()?.use_column(first, "channel");
    wait_rows(stage, first, "channel IS NOT NULL", 0).await?;
    story.say(&format!(
        "{} later rows of {first} are downstream, with their new column. Nobody waited for the other shards:",
        time(began.elapsed())
    ));
    let lock = migration::wait_lock(&stage.playground, 1).await?;
    story.show_command("dmctl shard-ddl-lock", &lock);
    story.say("The other shards follow in their own time.");
    for shard in others {
        alter(stage, story, shard, change).await?;
        stage.writers()?.use_column(shard, "channel");
    }
    migration::wait_resolved(&stage.playground, "channel").await?;
    story.say("All shards are equal again, and the lock is gone.");
    show_columns(stage, story).await
}

async fn show_trace(stage: &Stage, story: &mut Story) -> Result<()> {
    let services = ["worker-svc", "optimist-svc"];
    let trace = traces::wait_whole(&stage.collector, &services, LIMIT, |spans| {
        let has = |name: &str| spans.iter().any(|span| span.name == name);
        has("shard_ddl") && has("execute_shard_ddl") && has("report_done")
    })
    .await?;
    story.say("The way of one of these through the processes, as one trace:");
    story.show(&traces::render(&stage.collector, &trace));
    Ok(())
}

async fn redirected(stage: &Stage, story: &mut Story) -> Result<()> {
    story.chapter("A change that all shards have to make before one can use it");
    story.say("A renamed column has no common form with one that is not: rows of both cannot go into one table.");
    let Some((last, others)) = stage.shards.split_last() else {
        return Err(Error::Unexpected("no shards".to_owned()));
    };
    let change = "RENAME COLUMN channel TO route";
    for shard in others {
        rename(stage, story, shard, change).await?;
    }
    let held = &others[0];
    wait_waiting(stage, others.len()).await?;
    let (before, of_last) = (rows(stage, held, "1").await?, rows(stage, last, "1").await?);
    wait_rows(stage, last, "1", of_last).await?;
    let after = rows(stage, held, "1").await?;
    story.say(&format!("The three shards are told to wait. {last} goes on, {held} does not: it had {before} rows downstream, and has {after}."));
    let answer = stage
        .playground
        .dmctl(["query-status", TASK])
        .await?
        .json()?;
    story.show_command(
        &format!("dmctl query-status {TASK} (excerpt)"),
        &waiting(&answer).join("\n"),
    );
    let began = Instant::now();
    rename(stage, story, last, change).await?;
    migration::wait_resolved(&stage.playground, "route").await?;
    story.say(
        "The last shard agrees: it renames the column downstream, and the others are redirected.",
    );
    let took = time(began.elapsed());
    story.show(&format!(
        "They have read again what they had passed over; all was done {took} after the last ALTER."
    ));
    show_columns(stage, story).await
}

async fn rename(stage: &Stage, story: &mut Story, shard: &Shard, change: &str) -> Result<()> {
    stage.writers()?.forget_column(shard, "channel").await;
    alter(stage, story, shard, change).await?;
    stage.writers()?.use_column(shard, "route");
    Ok(())
}

/// Waits until so many tables wait to be redirected.
async fn wait_waiting(stage: &Stage, count: usize) -> Result<()> {
    wait_for(LIMIT, "the shards wait", async || {
        let output = stage.playground.dmctl(["query-status", TASK]).await.ok()?;
        (waiting(&output.json().ok()?).len() == count).then_some(())
    })
    .await
}

/// The tables that wait, one a line.
fn waiting(answer: &serde_json::Value) -> Vec<String> {
    let sources = answer["sources"].as_array().into_iter().flatten();
    let tasks = sources.flat_map(|s| s["subTaskStatus"].as_array().into_iter().flatten());
    let groups = tasks.flat_map(|t| {
        t["sync"]["unresolvedGroups"]
            .as_array()
            .into_iter()
            .flatten()
    });
    let tables = groups.flat_map(|group| {
        let target = group["target"].as_str().unwrap_or_default();
        let unsynced = group["unsynced"].as_array().into_iter().flatten();
        unsynced.map(move |table| {
            format!(
                "{} waits for the other shards of {target}",
                table.as_str().unwrap_or_default()
            )
        })
    });
    tables.collect()
}

async fn decided_by_hand(stage: &Stage, story: &mut Story) -> Result<()> {
    story.chapter("A mistake, and a person who decides");
    let Some((last, others)) = stage.shards.split_last() else {
        return Err(Error::Unexpected("no shards".to_owned()));
    };
    for shard in others {
        alter(stage, story, shard, "ADD COLUMN note VARCHAR(20) NULL").await?;
        stage.writers()?.use_column(shard, "note");
    }
    wait_rows(stage, &others[0], "note IS NOT NULL", 0).await?;
    alter(stage, story, last, "ADD COLUMN note INT NULL").await?;
    let conflict = wait_conflict(stage).await?;
    story.say("No column is both a text and a number. The worker waits for somebody to decide, and says so:");
    let (owner, message) = (&conflict.owner, &conflict.message);
    story.show_command(
        &format!("dmctl query-status {TASK} (excerpt)"),
        &format!("blockDDLOwner: {owner}\nconflictMsg: {message}"),
    );
    let lock = stage.playground.dmctl(["shard-ddl-lock", TASK]).await?;
    story.show_command("dmctl shard-ddl-lock", &lock.stdout);
    let (source, database, table) = (
        orders::source_id(last.server),
        last.database(),
        last.table(),
    );
    let args = [
        "shard-ddl-lock",
        "unlock",
        &conflict.lock,
        "-s",
        &source,
        "-d",
        &database,
        "-t",
        &table,
        "-a",
        "skip",
    ];
    let output = stage.playground.dmctl(args).await?;
    story.say("The column downstream stays as it is: the statement is skipped. Then the shard is corrected.");
    story.show_command(
        &format!(
            "dmctl shard-ddl-lock unlock '{}' -s {source} -d {database} -t {table} -a skip",
            conflict.lock
        ),
        &output.stdout,
    );
    output.success()?;
    alter(stage, story, last, "MODIFY COLUMN note VARCHAR(20) NULL").await?;
    stage.writers()?.use_column(last, "note");
    migration::wait_resolved(&stage.playground, "note").await?;
    story.say("All shards are equal again, and the lock is gone.");
    show_columns(stage, story).await
}

struct Conflict {
    lock: String,
    owner: String,
    message: String,
}

/// Waits until a source says that it waits for a decision.
async fn wait_conflict(stage: &Stage) -> Result<Conflict> {
    wait_for(LIMIT, "a conflict is shown", async || {
        let output = stage.playground.dmctl(["query-status", TASK]).await.ok()?;
        let answer = output.json().ok()?;
        let sources = answer["sources"].as_array()?.iter();
        let mut tasks = sources.flat_map(|s| s["subTaskStatus"].as_array().into_iter().flatten());
        tasks.find_map(|task| {
            let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
            Some(Conflict {
                lock: text(&task["unresolvedDDLLockID"])?,
                owner: text(&task["sync"]["blockDDLOwner"]).filter(|o| !o.is_empty())?,
                message: text(&task["sync"]["conflictMsg"])?,
            })
        })
    })
    .await
}
