//! Shard DDL through the pessimist: its trace, and a leader that sleeps past its lease.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dm_keyspace::Role;
use dm_testkit::otlp::Span;
use dm_testkit::proxy::Direction;
use e2e::Environment;
use playground::migration::{self, LIMIT};
use playground::wait::wait_for;
use playground::writers::Writers;
use playground::{Playground, traces};

/// Long enough that a leader whose renewals are held back decides something before it steps down, on a busy machine too.
const LEASE: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_ddl_is_traced_whole_and_resolved_once() {
    let builder = Playground::builder()
        .lease_ttl(LEASE)
        .etcd_through_proxies(Role::Pessimist);
    let mut env = Environment::start(builder).await.unwrap();
    let writers = env.writers().await.unwrap();
    migration::start(&env.playground).await.unwrap();

    the_start_of_a_task_is_one_trace(&env).await;
    a_shard_ddl_is_one_trace(&mut env, &writers).await;
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
async fn a_shard_ddl_is_one_trace(env: &mut Environment, writers: &Writers) {
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
    let sources: BTreeSet<&str> = spans
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
    let workers = env.playground.workers().iter();
    assert_shape(&spans, &workers.map(|w| w.name().to_owned()).collect());
}

/// Each source's execution or skip lies under the order to it, each order under the DDL that was met first, and every worker took part by its own name.
fn assert_shape(spans: &[Span], workers: &BTreeSet<String>) {
    let by_id: BTreeMap<&str, &Span> = spans.iter().map(|s| (s.span_id.as_str(), s)).collect();
    let above = |span: &Span| {
        let mut names = Vec::new();
        let mut at = span.parent.as_deref();
        while let Some(parent) = at.and_then(|id| by_id.get(id)) {
            names.push(parent.name.clone());
            at = parent.parent.as_deref();
        }
        names
    };
    let mut settled_by = BTreeSet::new();
    for span in spans.iter().filter(|span| is_settled(span)) {
        let order = match span.name.as_str() {
            "execute_shard_ddl" => "order_execution",
            _ => "order_skip",
        };
        let above = above(span);
        let ordered = above.iter().position(|name| name == order);
        let met = above.iter().rposition(|name| name == "shard_ddl");
        assert!(
            ordered.is_some() && ordered < met,
            "{} lies under {above:?}",
            span.name
        );
        assert_eq!(span.service, "worker-svc");
        assert_eq!(attribute(span, "dm.worker"), Some(span.instance.as_str()));
        settled_by.insert(span.instance.clone());
    }
    assert_eq!(settled_by, *workers);
    let orders = spans.iter().filter(|s| s.name.starts_with("order_"));
    assert!(orders.clone().all(|s| s.service == "pessimist-svc"));
    assert_eq!(orders.count(), 2);
}

fn is_settled(span: &Span) -> bool {
    span.name == "execute_shard_ddl" || span.name == "skip_shard_ddl"
}

fn attribute<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    span.attributes.get(name).map(String::as_str)
}

/// It has just sent an order, which the network holds back, when SIGSTOP hides everything from it. Its lease ends, the standby resolves the lock, and then the
/// order arrives: it is refused, and counted.
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
    let before = figures(env, asleep).await.unwrap();
    let network = env.playground.etcd_proxy(Role::Pessimist, asleep);
    network.black_hole(Direction::ToTarget);
    env.alter(writers, 3, "coupon").await.unwrap();
    let sent = wait_for(LIMIT, "the leader has sent its order", async || {
        let now = figures(env, asleep).await?;
        (now.in_flight > 0).then_some(())
    });
    sent.await.unwrap();
    env.playground.pause(Role::Pessimist, asleep).unwrap();
    let heir = env
        .playground
        .wait_leader(Role::Pessimist, LIMIT)
        .await
        .unwrap();
    assert_eq!(heir, 1 - asleep);
    migration::wait_resolved(&env.playground, "coupon")
        .await
        .unwrap();

    env.playground.etcd_proxy(Role::Pessimist, asleep).heal();
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
    let landed = wait_for(LIMIT, "the order is accounted for", async || {
        figures(env, asleep).await.filter(|now| now.in_flight == 0)
    });
    let after = landed.await.unwrap();
    assert_eq!(after.commits, before.commits);
    assert!(after.in_vain > before.in_vain, "{before:?} {after:?}");
    assert_eq!(executions(env, "coupon").await, 1);
}

/// A replica's transactions since it was started.
#[derive(Clone, Copy, Debug)]
struct Figures {
    commits: u64,
    /// Refused by a guard, or without an answer until there was no right to repeat it.
    in_vain: u64,
    in_flight: u64,
}

async fn figures(env: &mut Environment, replica: usize) -> Option<Figures> {
    let status = env
        .playground
        .service(Role::Pessimist, replica)
        .status()
        .await
        .ok()?;
    let figure = |name: &str| status["state"]["loop"][name].as_u64();
    Some(Figures {
        commits: figure("commits")?,
        in_vain: figure("guard-failures")? + figure("lost-replies")?,
        in_flight: figure("in-flight")?,
    })
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
