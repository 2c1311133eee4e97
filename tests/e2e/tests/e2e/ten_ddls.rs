//! Ten shard DDLs in a row over three sources of three shards each, rows being written all the time, and a crash in the middle of each.

use dm_keyspace::Role;
use e2e::{Environment, SHORT_TTL};
use playground::Playground;
use playground::migration::{self, LIMIT};
use playground::orders::Shard;
use playground::writers::Writers;

/// One change of all shards.
struct Step {
    /// Behind `ALTER TABLE` and the name of the shard.
    ddl: &'static str,
    /// How the downstream gets it.
    executed: &'static str,
    /// The column that writers stop using before it,
    without: Option<&'static str>,
    /// and the one that they use from then on.
    with: Option<&'static str>,
    /// Who crashes when some of the shards have it.
    victim: Victim,
}

#[derive(Clone, Copy, Debug)]
enum Victim {
    Active(Role),
    Standby(Role),
    /// Whoever serves the source.
    WorkerOf(usize),
    /// Whoever has not been bound when the others were.
    LastWorker,
    Etcd,
}

const fn step(ddl: &'static str, executed: &'static str, victim: Victim) -> Step {
    Step {
        ddl,
        executed,
        without: None,
        with: None,
        victim,
    }
}

const STEPS: [Step; 10] = [
    Step {
        with: Some("channel"),
        ..step(
            "ADD COLUMN channel VARCHAR(32) NULL",
            "ADD COLUMN `channel`",
            Victim::Active(Role::Pessimist),
        )
    },
    step(
        // Without a name, so that doing it twice would go unnoticed.
        "ADD INDEX (channel)",
        "ADD INDEX",
        Victim::WorkerOf(0),
    ),
    step(
        "MODIFY COLUMN amount DECIMAL(12,3) NOT NULL",
        "MODIFY COLUMN `amount`",
        Victim::Standby(Role::Pessimist),
    ),
    Step {
        with: Some("coupon"),
        ..step(
            "ADD COLUMN coupon VARCHAR(32) NULL AFTER remark",
            "ADD COLUMN `coupon`",
            Victim::Etcd,
        )
    },
    Step {
        without: Some("channel"),
        with: Some("route"),
        ..step(
            "CHANGE COLUMN channel route VARCHAR(64) NULL",
            "CHANGE COLUMN `channel` `route`",
            Victim::WorkerOf(1),
        )
    },
    step(
        "DROP INDEX channel",
        "DROP INDEX",
        Victim::Active(Role::Scheduler),
    ),
    step(
        "ADD UNIQUE INDEX by_place (placed_at, id)",
        "ADD UNIQUE INDEX `by_place`",
        Victim::WorkerOf(2),
    ),
    Step {
        without: Some("coupon"),
        ..step(
            "DROP COLUMN coupon",
            "DROP COLUMN `coupon`",
            Victim::Active(Role::Election),
        )
    },
    step(
        "MODIFY COLUMN customer VARCHAR(100) NOT NULL DEFAULT 'nobody'",
        "MODIFY COLUMN `customer`",
        Victim::LastWorker,
    ),
    step(
        "DROP INDEX by_customer",
        "DROP INDEX",
        Victim::Active(Role::Optimist),
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_ddls_in_a_row_with_a_crash_in_the_middle_of_each_are_executed_once_each() {
    let builder = Playground::builder()
        .sources(3)
        .workers(4)
        .keepalive_ttl(SHORT_TTL)
        .lease_ttl(SHORT_TTL);
    let mut env = Environment::start_sharded(builder, 3).await.unwrap();
    let writers = env.writers().await.unwrap();
    migration::start(&env.playground).await.unwrap();

    let mut unharmed: Vec<String> = env.playground.workers().iter().map(name).collect();
    for (number, step) in STEPS.iter().enumerate() {
        // One shard of one source, two of another and all of the last have it when something crashes; another split each time.
        let (before, after): (Vec<Shard>, Vec<Shard>) =
            env.shards.iter().cloned().partition(|shard| {
                let within = (shard.number - 1) % 3;
                within <= (shard.server + number) % 3
            });
        change(&env, &writers, &before, step).await;
        crash(&mut env, step.victim, &mut unharmed).await;
        change(&env, &writers, &after, step).await;
        env.playground.wait_ready().await.unwrap();
    }
    assert!(unharmed.is_empty(), "never killed: {unharmed:?}");

    let totals = writers.stop().await.unwrap();
    assert!(totals.updated > 0 && totals.deleted > 0, "{totals:?}");
    assert_eq!(env.difference().await.unwrap(), None);
    let executed = env.executed().await.unwrap();
    assert_eq!(executed.len(), STEPS.len(), "{executed:#?}");
    for (executed, step) in executed.iter().zip(&STEPS) {
        assert!(executed.starts_with(step.executed), "{executed}");
    }
    migration::wait_no_lock(&env.playground).await.unwrap();
    env.playground.stop().await.unwrap();
}

fn name(unit: &playground::Unit) -> String {
    unit.name().to_owned()
}

async fn change(env: &Environment, writers: &Writers, shards: &[Shard], step: &Step) {
    for shard in shards {
        if let Some(column) = step.without {
            writers.forget_column(shard, column).await;
        }
        let sql = format!("ALTER TABLE {shard} {}", step.ddl);
        let server = env.playground.mariadb(shard.server);
        server.exec(&sql).await.unwrap();
        if let Some(column) = step.with {
            writers.use_column(shard, column);
        }
    }
}

/// SIGKILL, and a new start at the same address.
async fn crash(env: &mut Environment, victim: Victim, unharmed: &mut Vec<String>) {
    let playground = &mut env.playground;
    match victim {
        Victim::Active(role) => {
            let dead = playground.wait_leader(role, LIMIT).await.unwrap();
            playground.kill9(role, dead).unwrap();
            // The other one has to do the work first.
            let heir = playground.wait_leader(role, LIMIT).await.unwrap();
            assert_eq!(heir, 1 - dead);
            playground.restart(role, dead).await.unwrap();
        }
        Victim::Standby(role) => {
            let dead = 1 - playground.wait_leader(role, LIMIT).await.unwrap();
            playground.kill9(role, dead).unwrap();
            playground.restart(role, dead).await.unwrap();
        }
        Victim::WorkerOf(source) => {
            let dead = env.crash_worker_of(source).await.unwrap();
            unharmed.retain(|name| *name != dead);
        }
        Victim::LastWorker => {
            for dead in std::mem::take(unharmed) {
                let worker = playground.worker(&dead).unwrap();
                worker.kill9().unwrap();
                worker.restart().await.unwrap();
            }
        }
        Victim::Etcd => {
            playground.etcd().process().kill9().unwrap();
            playground.etcd().restart().await.unwrap();
        }
    }
}
