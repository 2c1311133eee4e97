//! Shard DDL through the optimist: columns come, go, are renamed and modified in another order on each shard, rows being written all the time; workers and the
//! active optimist crash in between, and one conflict is decided by hand.

use dm_keyspace::Role;
use e2e::{Environment, SHORT_TTL};
use playground::Playground;
use playground::migration::{self, LIMIT};
use playground::orders::{ShardMode, TASK, source_id};
use playground::wait::wait_for;
use playground::writers::Writers;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_that_are_altered_in_their_own_order_end_as_one_table() {
    let builder = Playground::builder()
        .sources(2)
        .workers(3)
        .keepalive_ttl(SHORT_TTL)
        .lease_ttl(SHORT_TTL);
    let mut env = Environment::start(builder).await.unwrap();
    let writers = env.writers().await.unwrap();
    migration::start_in(&env.playground, ShardMode::Optimistic)
        .await
        .unwrap();

    columns_are_added_in_different_orders(&mut env, &writers).await;
    a_renamed_column_waits_for_all_shards(&mut env, &writers).await;
    a_modified_column_waits_for_all_shards(&mut env).await;
    columns_are_dropped_and_added_in_different_orders(&mut env, &writers).await;
    a_conflict_is_decided_by_hand(&mut env, &writers).await;

    let totals = writers.stop().await.unwrap();
    assert!(totals.updated > 0 && totals.deleted > 0, "{totals:?}");
    assert_eq!(env.difference().await.unwrap(), None);
    migration::wait_no_lock(&env.playground).await.unwrap();
    env.playground.stop().await.unwrap();
}

async fn alter(env: &Environment, shard: usize, change: &str) {
    let shard = &env.shards[shard];
    let server = env.playground.mariadb(shard.server);
    let sql = format!("ALTER TABLE {shard} {change}");
    server.exec(&sql).await.unwrap();
}

/// Each shard has two statements of its own; nobody waits for anybody.
async fn columns_are_added_in_different_orders(env: &mut Environment, writers: &Writers) {
    let (channel, coupon) = (
        "ADD COLUMN channel VARCHAR(32) NULL",
        "ADD COLUMN coupon VARCHAR(32) NULL DEFAULT 'none' AFTER customer",
    );
    alter(env, 0, channel).await;
    writers.use_column(&env.shards[0], "channel");
    alter(env, 3, coupon).await;
    writers.use_column(&env.shards[3], "coupon");
    let optimist = crash_optimist(env).await;
    alter(env, 0, coupon).await;
    alter(env, 3, channel).await;
    alter(env, 1, &format!("{coupon}, {channel}")).await;
    env.crash_worker_of(0).await.unwrap();
    alter(
        env,
        2,
        &format!("{channel}, ADD INDEX by_channel (channel)"),
    )
    .await;
    alter(env, 2, coupon).await;
    for shard in [0, 1, 3] {
        alter(env, shard, "ADD INDEX by_channel (channel)").await;
    }
    restart_optimist(env, optimist).await;
    migration::wait_resolved(&env.playground, "coupon")
        .await
        .unwrap();
    migration::wait_resolved(&env.playground, "channel")
        .await
        .unwrap();
}

async fn a_renamed_column_waits_for_all_shards(env: &mut Environment, writers: &Writers) {
    for shard in 0..4 {
        writers.forget_column(&env.shards[shard], "channel").await;
        alter(env, shard, "RENAME COLUMN channel TO route").await;
        writers.use_column(&env.shards[shard], "route");
        match shard {
            1 => {
                wait_waiting(env, 2).await;
                env.crash_worker_of(0).await.unwrap();
            }
            2 => {
                wait_waiting(env, 3).await;
                let optimist = crash_optimist(env).await;
                restart_optimist(env, optimist).await;
            }
            _ => {}
        }
    }
    migration::wait_resolved(&env.playground, "route")
        .await
        .unwrap();
}

/// The worker that has to execute it crashes, too; other statements are behind it on shards that wait.
async fn a_modified_column_waits_for_all_shards(env: &mut Environment) {
    for shard in [3, 0, 2] {
        alter(env, shard, "MODIFY COLUMN amount DECIMAL(12,3) NOT NULL").await;
    }
    wait_waiting(env, 3).await;
    alter(env, 0, "ADD COLUMN weight INT NULL DEFAULT 3").await;
    alter(env, 1, "MODIFY COLUMN amount DECIMAL(12,3) NOT NULL").await;
    env.crash_worker_of(0).await.unwrap();
    for shard in 1..4 {
        alter(env, shard, "ADD COLUMN weight INT NULL DEFAULT 3").await;
    }
    migration::wait_resolved(&env.playground, "weight")
        .await
        .unwrap();
}

async fn columns_are_dropped_and_added_in_different_orders(
    env: &mut Environment,
    writers: &Writers,
) {
    writers.forget_column(&env.shards[3], "coupon").await;
    let drop = "DROP COLUMN coupon";
    let add = "ADD COLUMN gift VARCHAR(32) NOT NULL DEFAULT ''";
    for (shard, changes) in [(0, [drop, add]), (3, [add, drop])] {
        for change in changes {
            alter(env, shard, change).await;
        }
    }
    let optimist = crash_optimist(env).await;
    alter(env, 1, drop).await;
    env.crash_worker_of(1).await.unwrap();
    alter(env, 2, &format!("{add}, {drop}")).await;
    restart_optimist(env, optimist).await;
    alter(env, 1, add).await;
    for shard in &env.shards {
        writers.use_column(shard, "gift");
    }
    migration::wait_resolved(&env.playground, "gift")
        .await
        .unwrap();
}

async fn a_conflict_is_decided_by_hand(env: &mut Environment, writers: &Writers) {
    for shard in 0..3 {
        alter(env, shard, "ADD COLUMN note VARCHAR(20) NULL").await;
        writers.use_column(&env.shards[shard], "note");
    }
    alter(env, 3, "ADD COLUMN note INT NULL").await;
    let lock = wait_conflict(env).await;
    // Whoever takes over shows the same, and takes the decision.
    env.crash_worker_of(1).await.unwrap();
    let optimist = crash_optimist(env).await;
    restart_optimist(env, optimist).await;
    assert_eq!(wait_conflict(env).await, lock);
    let shard = env.shards[3].clone();
    let (source, database, table) = (source_id(shard.server), shard.database(), shard.table());
    let args = [
        "shard-ddl-lock",
        "unlock",
        &lock,
        "-s",
        &source,
        "-d",
        &database,
        "-t",
        &table,
        "-a",
        "skip",
    ];
    let unlocked = wait_for(LIMIT, "the lock is unlocked", async || {
        let output = env.playground.dmctl(args).await.ok()?;
        output.is_success().then_some(())
    });
    unlocked.await.unwrap();
    alter(env, 3, "MODIFY COLUMN note VARCHAR(20) NULL").await;
    writers.use_column(&shard, "note");
    migration::wait_resolved(&env.playground, "note")
        .await
        .unwrap();
}

async fn wait_waiting(env: &Environment, count: usize) {
    let waited = wait_for(LIMIT, "tables wait to be redirected", async || {
        let answer = status(env).await?;
        let waiting: usize = tasks(&answer)
            .flat_map(|task| {
                task["sync"]["unresolvedGroups"]
                    .as_array()
                    .into_iter()
                    .flatten()
            })
            .map(|group| group["unsynced"].as_array().map_or(0, Vec::len))
            .sum();
        (waiting == count).then_some(())
    });
    waited.await.unwrap();
}

/// Waits until a source says that it waits for a decision; gives the lock.
async fn wait_conflict(env: &Environment) -> String {
    let waited = wait_for(LIMIT, "a conflict is shown", async || {
        let answer = status(env).await?;
        let mut conflicts = tasks(&answer).filter(|task| {
            let owner = task["sync"]["blockDDLOwner"].as_str();
            owner.is_some_and(|owner| owner == "mysql-02-`shop_2`.`orders_4`")
        });
        Some(
            conflicts.next()?["unresolvedDDLLockID"]
                .as_str()?
                .to_owned(),
        )
    });
    waited.await.unwrap()
}

async fn status(env: &Environment) -> Option<serde_json::Value> {
    let output = env.playground.dmctl(["query-status", TASK]).await.ok()?;
    output.json().ok()
}

fn tasks(answer: &serde_json::Value) -> impl Iterator<Item = &serde_json::Value> {
    let sources = answer["sources"].as_array().into_iter().flatten();
    sources.flat_map(|source| source["subTaskStatus"].as_array().into_iter().flatten())
}

/// Kills the active one; the other one has taken over.
async fn crash_optimist(env: &mut Environment) -> usize {
    let playground = &mut env.playground;
    let dead = playground.wait_leader(Role::Optimist, LIMIT).await.unwrap();
    playground.kill9(Role::Optimist, dead).unwrap();
    let heir = playground.wait_leader(Role::Optimist, LIMIT).await.unwrap();
    assert_eq!(heir, 1 - dead);
    dead
}

async fn restart_optimist(env: &mut Environment, replica: usize) {
    env.playground
        .restart(Role::Optimist, replica)
        .await
        .unwrap();
    env.playground.wait_ready().await.unwrap();
}
