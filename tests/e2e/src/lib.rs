//! What the end-to-end tests have in common: a cluster of the real programs, one at a time on a machine, with the
//! traces that it sends.
//!
//! The programs are built before the first test, as `cargo test` builds only what a test itself is made of and would else run old ones; who
//! sets `PLAYGROUND_BIN_DIR` has built them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use dm_testkit::otlp::Collector;
use playground::binaries::BIN_DIR;
use playground::compare::Difference;
use playground::migration::LIMIT;
use playground::orders::{self, Shard, source_id};
use playground::wait::wait_for;
use playground::writers::Writers;
use playground::{Builder, Playground, answers, migration};
use tokio::sync::{Mutex, MutexGuard};

/// Rows in each shard before the writers begin.
pub const ROWS: u64 = 40;
/// Pause of a writer between two transactions.
pub const PACE: Duration = Duration::from_millis(25);
/// How long the downstream may need to catch up.
pub const CATCH_UP: Duration = Duration::from_secs(120);
/// The shortest lease there is, so that tests need not wait long for one to end.
pub const SHORT_TTL: Duration = Duration::from_secs(2);

static ALONE: Mutex<()> = Mutex::const_new(());
static BUILT: OnceLock<PathBuf> = OnceLock::new();

/// A cluster with the traces that it sends; no other one of this test program runs meanwhile.
#[derive(Debug)]
pub struct Environment {
    /// The cluster.
    pub playground: Playground,
    /// Where its spans go.
    pub collector: Collector,
    /// The shards, whose tables are there and empty.
    pub shards: Vec<Shard>,
    _alone: MutexGuard<'static, ()>,
}

impl Environment {
    /// Starts what the builder says, and waits until all of it is ready. Each source has two shards.
    pub async fn start(builder: Builder) -> playground::Result<Self> {
        Self::start_sharded(builder, 2).await
    }

    /// The same with as many shards on each source as are asked for.
    pub async fn start_sharded(builder: Builder, each: usize) -> playground::Result<Self> {
        let alone = ALONE.lock().await;
        let collector = Collector::start().await?;
        let builder = builder.bin_dir(programs()).otlp(collector.endpoint());
        let mut playground = builder.start().await?;
        playground.wait_ready().await?;
        let shards = orders::shards(playground.sources().len(), each);
        orders::create(&playground, &shards).await?;
        Ok(Self {
            playground,
            collector,
            shards,
            _alone: alone,
        })
    }

    /// Fills the shards and keeps writing to them.
    pub async fn writers(&self) -> playground::Result<Writers> {
        Writers::start(&self.playground, &self.shards, ROWS, PACE).await
    }

    /// Adds a column to one shard, and has it written to.
    pub async fn alter(
        &self,
        writers: &Writers,
        shard: usize,
        column: &str,
    ) -> playground::Result<()> {
        let shard = &self.shards[shard];
        migration::add_column(&self.playground, shard, column).await?;
        writers.use_column(shard, column);
        Ok(())
    }

    /// The worker that serves a source.
    pub async fn worker_of(&self, source: usize) -> Option<String> {
        let output = self.playground.dmctl(["list-member", "--worker"]).await;
        let answer = output.ok()?.json().ok()?;
        answers::bound_worker(&answer, &source_id(source))
    }

    /// Waits until another worker than `former` serves a source.
    pub async fn successor_of(&self, source: usize, former: &str) -> playground::Result<String> {
        wait_for(LIMIT, "another worker serves the source", async || {
            self.worker_of(source).await.filter(|now| now != former)
        })
        .await
    }

    /// Kills the worker that serves a source, waits until another one does, and starts it again. Its name.
    pub async fn crash_worker_of(&mut self, source: usize) -> playground::Result<String> {
        let bound = wait_for(LIMIT, "the source is bound", async || {
            self.worker_of(source).await
        });
        let dead = bound.await?;
        self.playground.worker(&dead)?.kill9()?;
        self.successor_of(source, &dead).await?;
        self.playground.worker(&dead)?.restart().await?;
        Ok(dead)
    }

    /// The changes of the merged table's structure that the downstream was told to make, in order, by its own binlog. (The workers' checkpoints quote DDL too, but are rows.)
    pub async fn executed(&self) -> playground::Result<Vec<String>> {
        let (database, table) = orders::TARGET;
        let head = format!("ALTER TABLE `{database}`.`{table}` ");
        let downstream = self.playground.downstream();
        let mut found = Vec::new();
        for log in downstream.query("SHOW BINARY LOGS").await? {
            let name = log[0].clone().unwrap_or_default();
            let sql = format!("SHOW BINLOG EVENTS IN '{name}'");
            for event in downstream.query(&sql).await? {
                // Log_name, Pos, Event_type, Server_id, End_log_pos, Info
                let (kind, info) = (event[2].as_deref(), event[5].as_deref().unwrap_or_default());
                if kind == Some("Query") {
                    found.extend(
                        info.find(&head)
                            .map(|at| info[at + head.len()..].to_owned()),
                    );
                }
            }
        }
        Ok(found)
    }

    /// Waits for the downstream to be equal; gives the first difference when it does not become so.
    pub async fn difference(&self) -> playground::Result<Option<Difference>> {
        let (comparison, _) = migration::catch_up(&self.playground, &self.shards, CATCH_UP).await?;
        Ok(comparison.difference)
    }
}

/// Waits for its turn; for tests that start a cluster by themselves.
pub async fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().await
}

/// Where freshly built programs are.
///
/// # Panics
/// When they cannot be built: no test can go on.
pub fn programs() -> &'static Path {
    BUILT.get_or_init(|| {
        if let Some(dir) = std::env::var_os(BIN_DIR) {
            return dir.into();
        }
        let dir = playground::binaries::find(None).expect("this test program has a path");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        // The whole workspace, as features are settled over all that is built together: with fewer packages, libraries would be built anew.
        build.args(["build", "--workspace", "--bins"]);
        if dir.ends_with("release") {
            build.arg("--release");
        }
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "cargo build --workspace --bins failed: no programs to test"
        );
        dir
    })
}
