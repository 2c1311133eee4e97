//! `shard-ddl-lock unlock` with each of its options, as a user types it.

use dm_keyspace::Role;
use e2e::{Environment, SHORT_TTL};
use playground::Playground;
use playground::dmctl::Output;
use playground::migration::{self, LIMIT};
use playground::orders::{TASK, target_has};
use playground::wait::wait_for;
use playground::writers::Writers;

const ID: &str = "orders-`shop`.`orders`";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_unlocked_by_hand_with_every_option() {
    let builder = Playground::builder()
        .sources(3)
        .workers(3)
        .replicas(1)
        .lease_ttl(SHORT_TTL)
        .role_flag(Role::Pessimist, "--unlock-wait=2s");
    let env = Environment::start_sharded(builder, 1).await.unwrap();
    let writers = env.writers().await.unwrap();
    migration::start(&env.playground).await.unwrap();

    what_cannot_be_unlocked_says_why(&env).await;
    the_owner_executes_and_the_source_that_is_late_skips(&env, &writers).await;
    another_source_can_be_made_the_owner(&env, &writers).await;
    options_of_the_optimistic_mode_change_nothing(&env, &writers).await;
    an_owner_that_does_not_execute_keeps_the_lock_unless_it_is_forced(&env, &writers).await;
    the_lock_of_a_stopped_task_is_removed(&env, &writers).await;

    writers.stop().await.unwrap();
    assert_eq!(env.difference().await.unwrap(), None);
    env.playground.stop().await.unwrap();
}

async fn unlock(env: &Environment, options: &[&str]) -> Output {
    let args = ["shard-ddl-lock", "unlock", ID].iter().chain(options);
    env.playground.dmctl(args).await.unwrap()
}

/// What it said when it failed.
async fn refusal(env: &Environment, args: &[&str]) -> String {
    let output = env.playground.dmctl(args).await.unwrap();
    assert!(!output.is_success(), "{output:?}");
    format!("{}{}", output.stdout, output.stderr)
}

async fn what_cannot_be_unlocked_says_why(env: &Environment) {
    let no_lock = refusal(env, &["shard-ddl-lock", "unlock", ID]).await;
    assert!(no_lock.contains("code=38019"), "{no_lock}");
    assert!(
        no_lock.contains(&format!("lock with ID {ID} not found")),
        "{no_lock}"
    );
    let no_task = refusal(env, &["shard-ddl-lock", "unlock", "nonsense"]).await;
    assert!(
        no_task.contains("can't find task name from lock-ID"),
        "{no_task}"
    );
    let action = refusal(env, &["shard-ddl-lock", "unlock", ID, "-a", "both"]).await;
    assert!(
        action.contains("please check --action argument, only exec/skip are acceptable"),
        "{action}"
    );
    let none = refusal(env, &["shard-ddl-lock", "unlock"]).await;
    assert!(none.contains("shard-ddl-lock unlock <lock-id>"), "{none}");
}

async fn wait_column(env: &Environment, column: &str) {
    let there = wait_for(LIMIT, "the downstream has the column", async || {
        let has = target_has(&env.playground, column).await;
        has.is_ok_and(|has| has).then_some(())
    });
    there.await.unwrap();
}

/// The source that has executed last, when as many have as are expected, by the traces.
async fn last_executed_by(env: &Environment, executed: usize) -> String {
    let source = wait_for(LIMIT, "a source has executed", async || {
        let mut spans = env.collector.spans_named("execute_shard_ddl");
        spans.sort_by_key(|span| span.start_nanos);
        let last = spans.last().filter(|_| spans.len() == executed)?;
        last.attributes.get("dm.source").cloned()
    });
    source.await.unwrap()
}

/// Two of three have reported.
async fn the_owner_executes_and_the_source_that_is_late_skips(
    env: &Environment,
    writers: &Writers,
) {
    env.alter(writers, 0, "channel").await.unwrap();
    // The first to report is the owner.
    migration::wait_lock(&env.playground, 1).await.unwrap();
    env.alter(writers, 1, "channel").await.unwrap();
    migration::wait_lock(&env.playground, 2).await.unwrap();
    let stranger = refusal(env, &["shard-ddl-lock", "unlock", ID, "-o", "mysql-03"]).await;
    assert!(stranger.contains("code=38022"), "{stranger}");
    assert!(
        stranger.contains("owner mysql-03 is not waiting for a lock, but sources [mysql-01 mysql-02] are waiting for the lock"),
        "{stranger}"
    );
    unlock(env, &[]).await.success().unwrap();
    migration::wait_no_lock(&env.playground).await.unwrap();
    assert_eq!(last_executed_by(env, 1).await, "mysql-01");
    assert!(target_has(&env.playground, "channel").await.unwrap());
    env.alter(writers, 2, "channel").await.unwrap();
    unlock_late(env).await;
}

/// The round is over, so the source that comes late opens a new one, in which all others are missing. What it executes is there already.
async fn unlock_late(env: &Environment) {
    migration::wait_lock(&env.playground, 1).await.unwrap();
    unlock(env, &[]).await.success().unwrap();
    migration::wait_no_lock(&env.playground).await.unwrap();
}

async fn another_source_can_be_made_the_owner(env: &Environment, writers: &Writers) {
    env.alter(writers, 0, "coupon").await.unwrap();
    // The first to report is the owner.
    migration::wait_lock(&env.playground, 1).await.unwrap();
    env.alter(writers, 1, "coupon").await.unwrap();
    migration::wait_lock(&env.playground, 2).await.unwrap();
    unlock(env, &["--owner", "mysql-02"])
        .await
        .success()
        .unwrap();
    assert_eq!(last_executed_by(env, 3).await, "mysql-02");
    env.alter(writers, 2, "coupon").await.unwrap();
    unlock_late(env).await;
}

async fn options_of_the_optimistic_mode_change_nothing(env: &Environment, writers: &Writers) {
    env.alter(writers, 0, "route").await.unwrap();
    migration::wait_lock(&env.playground, 1).await.unwrap();
    let options = [
        "-a", "exec", "-d", "shop_1", "-t", "orders_1", "-s", "mysql-03",
    ];
    unlock(env, &options).await.success().unwrap();
    wait_column(env, "route").await;
    for late in 1..3 {
        env.alter(writers, late, "route").await.unwrap();
        unlock_late(env).await;
    }
}

/// Its subtask is paused.
async fn an_owner_that_does_not_execute_keeps_the_lock_unless_it_is_forced(
    env: &Environment,
    writers: &Writers,
) {
    env.alter(writers, 0, "basket").await.unwrap();
    migration::wait_lock(&env.playground, 1).await.unwrap();
    let task = |command: &'static str| async move {
        env.playground
            .dmctl([command, TASK])
            .await
            .unwrap()
            .success()
            .unwrap();
    };
    task("pause-task").await;
    migration::wait_stage(&env.playground, "Paused Sync")
        .await
        .unwrap();
    let waiting = refusal(env, &["shard-ddl-lock", "unlock", ID]).await;
    assert!(waiting.contains("code=38024"), "{waiting}");
    assert!(waiting.contains("mysql-01"), "{waiting}");
    migration::wait_lock(&env.playground, 1).await.unwrap();
    unlock(env, &["-f"]).await.success().unwrap();
    migration::wait_no_lock(&env.playground).await.unwrap();
    assert!(!target_has(&env.playground, "basket").await.unwrap());
    // It meets the DDL again when it is resumed, and the others join.
    task("resume-task").await;
    for shard in 1..3 {
        env.alter(writers, shard, "basket").await.unwrap();
    }
    migration::wait_resolved(&env.playground, "basket")
        .await
        .unwrap();
}

async fn the_lock_of_a_stopped_task_is_removed(env: &Environment, writers: &Writers) {
    env.alter(writers, 0, "region").await.unwrap();
    migration::wait_lock(&env.playground, 1).await.unwrap();
    env.playground
        .dmctl(["stop-task", TASK])
        .await
        .unwrap()
        .success()
        .unwrap();
    migration::wait_lock(&env.playground, 1).await.unwrap();
    // Nobody is there to execute, so nobody is waited for.
    unlock(env, &[]).await.success().unwrap();
    migration::wait_no_lock(&env.playground).await.unwrap();
    let file = env.playground.root().join(format!("{TASK}.yaml"));
    // The answer warns of the column that one side has and the other has not.
    let started = migration::start_task(&env.playground, &file).await.unwrap();
    assert_eq!(started.code, Some(0), "{started:?}");
    assert!(started.stdout.contains("columns: [region]"), "{started:?}");
    for shard in 1..3 {
        env.alter(writers, shard, "region").await.unwrap();
    }
    migration::wait_resolved(&env.playground, "region")
        .await
        .unwrap();
}
