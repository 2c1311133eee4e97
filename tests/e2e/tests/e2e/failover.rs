//! Crashes of workers, of the scheduler and of the front door, while rows are written.

use dm_keyspace::Role;
use e2e::{Environment, SHORT_TTL};
use playground::migration::{self, LIMIT};
use playground::orders::{TARGET, TASK};
use playground::wait::wait_for;
use playground::writers::Writers;
use playground::{Playground, answers};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_crashes_the_downstream_ends_equal_to_the_merge_of_the_sources() {
    let builder = Playground::builder()
        .workers(3)
        .keepalive_ttl(SHORT_TTL)
        .lease_ttl(SHORT_TTL);
    let mut env = Environment::start(builder).await.unwrap();
    let writers = env.writers().await.unwrap();
    migration::start(&env.playground).await.unwrap();

    a_source_fails_over_to_another_worker(&mut env, &writers).await;
    a_worker_that_slept_past_its_lease_spoils_nothing(&mut env, &writers).await;
    the_next_scheduler_takes_over(&mut env).await;
    the_next_front_door_takes_over(&mut env).await;
    a_task_can_be_paused_and_resumed(&env).await;

    let totals = writers.stop().await.unwrap();
    assert!(totals.updated > 0 && totals.deleted > 0, "{totals:?}");
    assert_eq!(env.difference().await.unwrap(), None);
    a_row_that_is_tampered_with_is_noticed(&env).await;
    env.playground.stop().await.unwrap();
}

/// Also with a shard DDL in between, half of which the old worker has seen.
async fn a_source_fails_over_to_another_worker(env: &mut Environment, writers: &Writers) {
    let before = env.worker_of(0).await.expect("the source is bound");
    env.alter(writers, 0, "channel").await.unwrap();
    env.playground.worker(&before).unwrap().kill9().unwrap();
    env.alter(writers, 1, "channel").await.unwrap();
    env.successor_of(0, &before).await.unwrap();
    env.alter(writers, 2, "channel").await.unwrap();
    env.alter(writers, 3, "channel").await.unwrap();
    migration::wait_resolved(&env.playground, "channel")
        .await
        .unwrap();
    migration::wait_stage(&env.playground, "Running Sync")
        .await
        .unwrap();
    env.playground
        .worker(&before)
        .unwrap()
        .restart()
        .await
        .unwrap();
    env.playground.wait_ready().await.unwrap();
}

/// It wakes up with rows in its hands that another worker has written by then, and has to notice before it writes them.
async fn a_worker_that_slept_past_its_lease_spoils_nothing(
    env: &mut Environment,
    writers: &Writers,
) {
    let asleep = env.worker_of(1).await.expect("the source is bound");
    env.playground.worker(&asleep).unwrap().pause().unwrap();
    env.successor_of(1, &asleep).await.unwrap();
    migration::wait_stage(&env.playground, "Running Sync")
        .await
        .unwrap();
    for shard in 0..env.shards.len() {
        env.alter(writers, shard, "coupon").await.unwrap();
    }
    env.playground.worker(&asleep).unwrap().resume().unwrap();
    migration::wait_resolved(&env.playground, "coupon")
        .await
        .unwrap();
    let is_free = wait_for(LIMIT, "the woken worker is free", async || {
        let answer = env
            .playground
            .dmctl(["list-member", "--worker"])
            .await
            .ok()?
            .json()
            .ok()?;
        (answers::worker_stage(&answer, &asleep)? == "free").then_some(())
    });
    is_free.await.unwrap();
}

async fn the_next_scheduler_takes_over(env: &mut Environment) {
    let dead = crash_leader(env, Role::Scheduler).await;
    let answer = env
        .playground
        .dmctl(["query-status", TASK])
        .await
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(answers::stages(&answer).len(), 2, "{answer}");
    env.playground.restart(Role::Scheduler, dead).await.unwrap();
    env.playground.wait_ready().await.unwrap();
}

async fn the_next_front_door_takes_over(env: &mut Environment) {
    let dead = crash_leader(env, Role::Election).await;
    let answer = env
        .playground
        .dmctl(["list-member"])
        .await
        .unwrap()
        .success()
        .unwrap();
    let leader = answer["members"][0]["leader"]["name"]
        .as_str()
        .map(str::to_owned);
    let survivor = env
        .playground
        .service(Role::Election, 1 - dead)
        .name()
        .to_owned();
    assert_eq!(leader, Some(survivor), "{answer}");
    env.playground.restart(Role::Election, dead).await.unwrap();
    env.playground.wait_ready().await.unwrap();
}

/// Kills the active replica, waits for the other one, and gives the number of the dead one.
async fn crash_leader(env: &mut Environment, role: Role) -> usize {
    let dead = env.playground.wait_leader(role, LIMIT).await.unwrap();
    env.playground.kill9(role, dead).unwrap();
    let heir = env.playground.wait_leader(role, LIMIT).await.unwrap();
    assert_eq!(heir, 1 - dead);
    dead
}

async fn a_task_can_be_paused_and_resumed(env: &Environment) {
    env.playground
        .dmctl(["pause-task", TASK])
        .await
        .unwrap()
        .success()
        .unwrap();
    migration::wait_stage(&env.playground, "Paused Sync")
        .await
        .unwrap();
    env.playground
        .dmctl(["resume-task", TASK])
        .await
        .unwrap()
        .success()
        .unwrap();
    let answer: Value = migration::wait_stage(&env.playground, "Running Sync")
        .await
        .unwrap();
    assert_eq!(answer["result"], true);
}

/// The comparison that everything here rests on does find differences.
async fn a_row_that_is_tampered_with_is_noticed(env: &Environment) {
    let (database, table) = TARGET;
    let sql = format!(
        "UPDATE {database}.{table} SET remark = CONCAT(COALESCE(remark, ''), '!') ORDER BY id LIMIT 1"
    );
    env.playground.downstream().exec(&sql).await.unwrap();
    let found = playground::compare::compare(&env.playground, &env.shards)
        .await
        .unwrap();
    let difference = found
        .difference
        .expect("a changed value is a difference")
        .to_string();
    assert!(difference.contains("column remark"), "{difference}");
    assert_ne!(found.sources.checksum, found.downstream.checksum);
    let sql = format!("DELETE FROM {database}.{table} ORDER BY id LIMIT 1");
    env.playground.downstream().exec(&sql).await.unwrap();
    let found = playground::compare::compare(&env.playground, &env.shards)
        .await
        .unwrap();
    let difference = found
        .difference
        .expect("a lost row is a difference")
        .to_string();
    assert!(difference.contains("is missing"), "{difference}");
}
