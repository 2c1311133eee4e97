//! etcd that goes away and comes back, and networks that cut, swallow and delay, under a migration with rows being written and shard DDLs.

use std::time::Duration;

use dm_keyspace::Role;
use dm_testkit::proxy::TcpProxy;
use e2e::{Environment, SHORT_TTL};
use playground::Playground;
use playground::migration::{self, LIMIT};
use playground::wait::wait_for;
use playground::writers::Writers;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_network_does_every_ddl_is_resolved_once_and_no_row_is_lost() {
    let mut builder = Playground::builder()
        .workers(3)
        .keepalive_ttl(SHORT_TTL)
        .lease_ttl(SHORT_TTL);
    for role in Role::ALL {
        builder = builder.etcd_through_proxies(role);
    }
    let mut env = Environment::start(builder).await.unwrap();
    let writers = env.writers().await.unwrap();
    migration::start(&env.playground).await.unwrap();

    etcd_is_away_for_a_while(&mut env, &writers).await;
    every_connection_is_cut(&env, &writers).await;
    the_active_pessimist_is_cut_off(&env, &writers).await;
    the_door_of_the_workers_is_cut_off(&env, &writers).await;
    everything_is_slow(&env, &writers).await;

    writers.stop().await.unwrap();
    assert_eq!(env.difference().await.unwrap(), None);
    let executed = env.executed().await.unwrap();
    assert_eq!(executed.len(), 5, "{executed:#?}");
    env.playground.stop().await.unwrap();
}

/// The first half of the shards.
async fn begin(env: &Environment, writers: &Writers, column: &str) {
    for shard in 0..env.shards.len() / 2 {
        env.alter(writers, shard, column).await.unwrap();
    }
}

/// The other half.
async fn end(env: &Environment, writers: &Writers, column: &str) {
    for shard in env.shards.len() / 2..env.shards.len() {
        env.alter(writers, shard, column).await.unwrap();
    }
}

fn proxies(env: &Environment) -> impl Iterator<Item = &TcpProxy> {
    let replicas = Role::ALL
        .into_iter()
        .flat_map(|role| [(role, 0), (role, 1)]);
    replicas.map(|(role, replica)| env.playground.etcd_proxy(role, replica))
}

/// Longer than any lease lasts, as all of them see when it is back.
async fn etcd_is_away_for_a_while(env: &mut Environment, writers: &Writers) {
    begin(env, writers, "channel").await;
    env.playground.etcd().stop().await.unwrap();
    end(env, writers, "channel").await;
    let leader = wait_for(LIMIT, "nobody leads", async || {
        let leader = env.playground.leader_of(Role::Pessimist).await;
        leader.is_none().then_some(())
    });
    leader.await.unwrap();
    env.playground.etcd().restart().await.unwrap();
    migration::wait_resolved(&env.playground, "channel")
        .await
        .unwrap();
}

async fn every_connection_is_cut(env: &Environment, writers: &Writers) {
    begin(env, writers, "coupon").await;
    proxies(env).for_each(TcpProxy::cut);
    end(env, writers, "coupon").await;
    proxies(env).for_each(TcpProxy::cut);
    migration::wait_resolved(&env.playground, "coupon")
        .await
        .unwrap();
}

/// Without a word: no connection ends.
async fn the_active_pessimist_is_cut_off(env: &Environment, writers: &Writers) {
    begin(env, writers, "route").await;
    let active = env.playground.wait_leader(Role::Pessimist, LIMIT).await;
    let active = active.unwrap();
    let network = env.playground.etcd_proxy(Role::Pessimist, active);
    network.black_hole_both();
    end(env, writers, "route").await;
    migration::wait_resolved(&env.playground, "route")
        .await
        .unwrap();
    network.heal();
}

/// Workers reach etcd through the doors; with one of them deaf they have the other.
async fn the_door_of_the_workers_is_cut_off(env: &Environment, writers: &Writers) {
    let active = env.playground.wait_leader(Role::Election, LIMIT).await;
    let network = env.playground.etcd_proxy(Role::Election, active.unwrap());
    network.black_hole_both();
    begin(env, writers, "basket").await;
    end(env, writers, "basket").await;
    migration::wait_resolved(&env.playground, "basket")
        .await
        .unwrap();
    network.heal();
}

async fn everything_is_slow(env: &Environment, writers: &Writers) {
    proxies(env).for_each(|proxy| proxy.delay(Duration::from_millis(100)));
    begin(env, writers, "region").await;
    end(env, writers, "region").await;
    migration::wait_resolved(&env.playground, "region")
        .await
        .unwrap();
    proxies(env).for_each(TcpProxy::heal);
}
