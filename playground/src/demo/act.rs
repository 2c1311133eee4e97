//! The acts, one function each.

use std::time::Duration;

use dm_keyspace::Role;
use tokio::time::Instant;

use super::Verdict;
use super::stage::Stage;
use crate::compare::Comparison;
use crate::migration::LIMIT;
use crate::orders::{self, Shard, ShardMode, TARGET, TASK};
use crate::story::{Story, time};
use crate::traces;
use crate::{Error, Result, answers, migration};

/// How long the downstream may need to catch up.
const CATCH_UP: Duration = Duration::from_secs(120);

pub(super) fn prologue(story: &mut Story) {
    story.show(
        "A shop keeps its orders in four tables (shards) on two MariaDB servers. They are to become one table on a third\n\
         server, while the shop stays open: rows keep being inserted, updated and deleted during the whole demo.\n\
         Two workers copy and follow the shards. Four services tell them what to do:\n  \
           election    the front door, and who leads what      scheduler   which worker serves which source, and which task\n  \
           pessimist   when shards change their columns        optimist    the same by other rules (`make demo-optimistic`)\n\
         Each service runs as two processes, one active and one hot standby; all they know is in etcd.",
    );
}

pub(super) async fn start_migration(
    stage: &mut Stage,
    story: &mut Story,
    mode: ShardMode,
) -> Result<()> {
    let playground = &stage.playground;
    story.chapter("The migration is started");
    let names: Vec<String> = stage.shards.iter().map(Shard::to_string).collect();
    story.say(&format!(
        "The shards {} are there, and one writer works on each.",
        names.join(", ")
    ));
    for file in orders::write_source_files(playground)? {
        let output = migration::create_source(playground, &file).await?;
        story.show_command(
            &format!("dmctl operate-source create {}", file.display()),
            &output.stdout,
        );
        output.success()?;
    }
    let members = playground.dmctl(["list-member"]).await?;
    story.say("Each source has got a worker. (What dmctl calls masters are the two front doors.)");
    story.show_command("dmctl list-member", &members.stdout);
    members.success()?;
    let file = orders::write_task_file(playground, mode)?;
    story.say("The task file says: all shards of both sources go into one table.");
    let text = std::fs::read_to_string(&file).map_err(Error::io("read the task file"))?;
    story.show(
        &text
            .lines()
            .filter(|line| !line.contains("password"))
            .collect::<Vec<_>>()
            .join("\n"),
    );
    let output = migration::start_task(playground, &file).await?;
    story.show_command(
        &format!("dmctl start-task {}", file.display()),
        &output.stdout,
    );
    output.success()?;
    let answer = migration::wait_stage(&stage.playground, "Running Sync").await?;
    story.say("Both workers have copied what was there and follow the binlog now. An excerpt:");
    story.show_command(
        &format!("dmctl query-status {TASK}"),
        &answers::statuses(&answer),
    );
    let totals = stage.writers()?.totals();
    story.say(&format!(
        "The writers have written {} rows so far, and go on.",
        totals.inserted + totals.updated + totals.deleted
    ));
    Ok(())
}

pub(super) async fn alter_every_shard(stage: &mut Stage, story: &mut Story) -> Result<()> {
    story.chapter("The shards are altered, one after the other");
    story.say("A column is added to each shard. The one table downstream may get it only once, and only when every shard has");
    story.show("reached it: rows before the ALTER have one form, rows after it the other. The pessimist sees to that.");
    for shard in stage.shards.clone().iter().take(3) {
        alter(stage, story, shard, "channel").await?;
    }
    let lock = migration::wait_lock(&stage.playground, 1).await?;
    story.say("All shards of the first server are through, so its worker has reported; the other one is not there yet:");
    story.show_command("dmctl shard-ddl-lock", &lock);
    let last = stage.shards[3].clone();
    alter(stage, story, &last, "channel").await?;
    let altered = Instant::now();
    migration::wait_resolved(&stage.playground, "channel").await?;
    story.say(&format!("The lock is resolved, {} after the last ALTER: one worker has altered the downstream, the other one has skipped.", time(altered.elapsed())));
    show_columns(stage, story).await
}

async fn alter(stage: &Stage, story: &mut Story, shard: &Shard, column: &str) -> Result<()> {
    let server = stage.playground.mariadb(shard.server).name();
    story.say(&format!(
        "{server}: {}",
        migration::add_column_sql(shard, column)
    ));
    migration::add_column(&stage.playground, shard, column).await?;
    stage.writers()?.use_column(shard, column);
    Ok(())
}

pub(super) async fn show_columns(stage: &Stage, story: &mut Story) -> Result<()> {
    let columns = orders::columns(stage.playground.downstream(), TARGET.0, TARGET.1).await?;
    let columns: Vec<String> = columns
        .into_iter()
        .map(|(name, kind)| format!("{name} {kind}"))
        .collect();
    story.say(&format!(
        "{}.{} downstream: {}",
        TARGET.0,
        TARGET.1,
        columns.join(", ")
    ));
    Ok(())
}

pub(super) async fn show_trace(stage: &Stage, story: &mut Story) -> Result<()> {
    story.chapter("The way of that DDL through the processes");
    let services = ["worker-svc", "pessimist-svc"];
    let trace = traces::wait_whole(&stage.collector, &services, LIMIT, |spans| {
        traces::is_shard_ddl(spans, 2)
    })
    .await?;
    story.say("Every process sends spans; the context travels through etcd with the records. One trace shows it all");
    story.show("(when it began after the first span, and how long it took):\n");
    story.show(&traces::render(&stage.collector, &trace));
    Ok(())
}

pub(super) async fn alter_and_kill(stage: &mut Stage, story: &mut Story) -> Result<()> {
    story.chapter("The same again, and the active pessimist is killed in the middle");
    for shard in stage.shards.clone().iter().take(3) {
        alter(stage, story, shard, "coupon").await?;
    }
    let lock = migration::wait_lock(&stage.playground, 1).await?;
    story.say("The lock is pending:");
    story.show_command("dmctl shard-ddl-lock", &lock);
    let active = stage.playground.wait_leader(Role::Pessimist, LIMIT).await?;
    let unit = stage.playground.service(Role::Pessimist, active);
    let (name, pid) = (unit.name().to_owned(), unit.pid());
    unit.kill9()?;
    let killed = Instant::now();
    story.say(&format!(
        "kill -9 {pid}: {name}, which led, is gone. The last shard is altered at once, with nobody in charge:"
    ));
    let last = stage.shards[3].clone();
    let altering = alter(stage, story, &last, "coupon");
    let (altered, heir) = tokio::join!(altering, timed_heir(stage, killed));
    altered?;
    let (heir, takeover) = heir?;
    let unit = stage.playground.service(Role::Pessimist, heir);
    let heir = unit.name().to_owned();
    let loads = unit.status().await?["state"]["loop"]["loads"].clone();
    story.say(&format!(
        "{heir} has taken over, {} after the kill. It had followed all",
        time(takeover)
    ));
    story.show(&format!("that happened, so there was nothing to load: its status counts {loads} load, the one at its start."));
    migration::wait_resolved(&stage.playground, "coupon").await?;
    let took = time(killed.elapsed());
    story.say(&format!(
        "{heir} has finished the job: the lock is resolved, {took} after the kill."
    ));
    show_columns(stage, story).await?;
    stage.playground.restart(Role::Pessimist, active).await?;
    stage.playground.wait_ready().await?;
    story.say(&format!(
        "{name} has been started again, and is the standby now."
    ));
    Ok(())
}

async fn timed_heir(stage: &Stage, killed: Instant) -> Result<(usize, Duration)> {
    let heir = stage.playground.wait_leader(Role::Pessimist, LIMIT).await?;
    Ok((heir, killed.elapsed()))
}

pub(super) async fn compare(stage: &mut Stage, story: &mut Story) -> Result<Verdict> {
    story.chapter("The comparison");
    let totals = stage.take_writers()?.stop().await?;
    story.say(&format!(
        "The writers have stopped. In all they have inserted {} rows, updated {} and deleted {}.",
        totals.inserted, totals.updated, totals.deleted
    ));
    let (comparison, took) =
        migration::catch_up(&stage.playground, &stage.shards, CATCH_UP).await?;
    let answer = stage
        .playground
        .dmctl(["query-status", TASK])
        .await?
        .json()?;
    story.show_command(
        &format!("dmctl query-status {TASK}"),
        &answers::statuses(&answer),
    );
    report(story, &comparison, took);
    Ok(if comparison.difference.is_none() {
        Verdict::Equal
    } else {
        Verdict::Different
    })
}

fn report(story: &mut Story, comparison: &Comparison, took: Duration) {
    story.say(&format!(
        "Compared row by row in the order of the key, columns {}:",
        comparison.columns.join(", ")
    ));
    let mut text = String::new();
    for (shard, rows) in &comparison.shards {
        text += &format!("{:<24} {rows:>7} rows\n", shard.to_string());
    }
    let (sources, target) = (comparison.sources, comparison.downstream);
    text += &format!(
        "{:<24} {:>7} rows  checksum {:016x}\n",
        "merge of the sources", sources.rows, sources.checksum
    );
    text += &format!(
        "{:<24} {:>7} rows  checksum {:016x}\n",
        format!("{}.{}", TARGET.0, TARGET.1),
        target.rows,
        target.checksum
    );
    story.show(&text);
    match &comparison.difference {
        None => story.say(&format!("EQUAL: the downstream is the merge of the sources, every row and every value ({} after the last write).", time(took))),
        Some(difference) => story.say(&format!("DIFFERENT, and it stayed so for {}: {difference}", time(took))),
    }
}

pub(super) fn epilogue(story: &mut Story, verdict: Verdict, mode: ShardMode) {
    let end = match (verdict, mode) {
        (Verdict::Equal, ShardMode::Pessimistic) => {
            "Four shards became one table while rows were written, columns were added and a coordinator was killed. Nothing was lost."
        }
        (Verdict::Equal, ShardMode::Optimistic) => {
            "Four shards became one table while rows were written and every shard was altered in its own time. Nothing was lost."
        }
        (Verdict::Different, _) => "The downstream is not what it must be. This is a defect.",
    };
    story.say(end);
    story.say("To try things yourself: `make up` starts the same, and prints addresses and example commands.");
}
