//! Shard DDL through the pessimist: its trace, and a leader that sleeps past its lease.

use dm_keyspace::Role;
use dm_testkit::otlp::Span;
use e2e::{Environment, SHORT_TTL};
use playground::migration::{self, LIMIT};
use playground::wait::wait_for;
use playground::writers::Writers;
use playground::{Playground, traces};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_ddl_is_traced_whole_and_resolved_once() {
    let builder = Playground::builder().lease_ttl(SHORT_TTL);
    let mut env = Environment::start(builder).await.unwrap();
    let writers = env.writers().await.unwrap();
    migration::start(&env.playground).await.unwrap();

    the_start_of_a_task_is_one_trace(&env).await;
    a_shard_ddl_is_one_trace(&env, &writers).await;
    a_leader_that_slept_past_its_lease_commits_nothing(&mut env, &writers).await;

    writers.stop().await.unwrap();
    assert_eq!(env.difference().await.unwrap(), None);
    env.playground.stop().await.unwrap();
}

/// From `dmctl` through the front door and the scheduler to the workers.
async fn the_start_of_a_task_is_one_trace(env: &Environment) {
    let services = ["dmctl", "election-svc", "scheduler-svc", "worker-svc"];
    let is_start = |spans: &[Span]| spans.iter().any(|span| span.name.contains("StartTask"));
    let trace = traces::wait_whole(&env.collector, &services, LIMIT, is_start).await;
    let trace = trace.unwrap_or_else(|e| panic!("{e}\n{}", everything(env)));
    let tree = env.collector.tree(&trace);
    assert_eq!(tree.len(), 1);
    assert_eq!(
        tree[0].span.service,
        "dmctl",
        "{}",
        traces::render(&env.collector, &trace)
    );
}

/// From the worker that met it, through the pessimist, to every worker that executed or skipped it.
async fn a_shard_ddl_is_one_trace(env: &Environment, writers: &Writers) {
    for shard in 0..env.shards.len() {
        env.alter(writers, shard, "channel").await.unwrap();
    }
    migration::wait_resolved(&env.playground, "channel")
        .await
        .unwrap();
    let is_over = |spans: &[Span]| traces::is_shard_ddl(spans, 2);
    let services = ["worker-svc", "pessimist-svc"];
    let trace = traces::wait_whole(&env.collector, &services, LIMIT, is_over).await;
    let trace = trace.unwrap_or_else(|e| panic!("{e}\n{}", everything(env)));
    let spans = env.collector.spans(&trace);
    let sources: std::collections::BTreeSet<&str> = spans
        .iter()
        .filter(|span| is_settled(span))
        .filter_map(|span| attribute(span, "dm.source"))
        .collect();
    assert_eq!(
        sources.into_iter().collect::<Vec<_>>(),
        ["mysql-01", "mysql-02"],
        "{}",
        traces::render(&env.collector, &trace)
    );
}

fn is_settled(span: &Span) -> bool {
    span.name == "execute_shard_ddl" || span.name == "skip_shard_ddl"
}

fn attribute<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    span.attributes.get(name).map(String::as_str)
}

/// SIGSTOP hides everything from the leader; its lease ends, the standby resolves the lock, and the one that wakes up has nothing to add.
async fn a_leader_that_slept_past_its_lease_commits_nothing(
    env: &mut Environment,
    writers: &Writers,
) {
    for shard in 0..3 {
        env.alter(writers, shard, "coupon").await.unwrap();
    }
    migration::wait_lock(&env.playground, 1).await.unwrap();
    let asleep = env
        .playground
        .wait_leader(Role::Pessimist, LIMIT)
        .await
        .unwrap();
    let before = commits(env, asleep).await.unwrap();
    env.playground.pause(Role::Pessimist, asleep).unwrap();
    env.alter(writers, 3, "coupon").await.unwrap();
    let heir = env
        .playground
        .wait_leader(Role::Pessimist, LIMIT)
        .await
        .unwrap();
    assert_eq!(heir, 1 - asleep);
    migration::wait_resolved(&env.playground, "coupon")
        .await
        .unwrap();

    env.playground.resume(Role::Pessimist, asleep).unwrap();
    let heir_name = env
        .playground
        .service(Role::Pessimist, heir)
        .name()
        .to_owned();
    let woken = wait_for(LIMIT, "the woken replica sees who leads", async || {
        let status = env
            .playground
            .service(Role::Pessimist, asleep)
            .status()
            .await
            .ok()?;
        let state = &status["state"];
        (state["leads"] == false && state["leader"]["name"] == heir_name.as_str()).then_some(())
    });
    woken.await.unwrap();
    assert_eq!(commits(env, asleep).await, Some(before));
    assert_eq!(executions(env, "coupon").await, 1);
}

/// Transactions that a replica has committed since it was started.
async fn commits(env: &mut Environment, replica: usize) -> Option<u64> {
    let status = env
        .playground
        .service(Role::Pessimist, replica)
        .status()
        .await
        .ok()?;
    status["state"]["loop"]["commits"].as_u64()
}

/// How often the downstream was told to add the column.
async fn executions(env: &Environment, column: &str) -> usize {
    let executed = env.executed().await.unwrap();
    executed.iter().filter(|ddl| ddl.contains(column)).count()
}

/// Every trace, for the message of a failure.
fn everything(env: &Environment) -> String {
    env.collector
        .trace_ids()
        .iter()
        .map(|id| traces::render(&env.collector, id))
        .collect()
}
