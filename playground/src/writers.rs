//! Rows that keep being written: one task per shard that inserts, updates and deletes until it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dm_testkit::mariadb::MariaDb;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, TxOpts, Value};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::orders::Shard;
use crate::{Error, Playground, Result};

/// What the writers have committed so far.
#[derive(Debug, Default)]
struct Counters {
    inserted: AtomicU64,
    updated: AtomicU64,
    deleted: AtomicU64,
}

/// Rows committed by the writers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// New rows.
    pub inserted: u64,
    /// Rows changed in place.
    pub updated: u64,
    /// Rows removed.
    pub deleted: u64,
}

/// The further columns of one shard's rows.
#[derive(Debug)]
struct Columns {
    shard: usize,
    wanted: watch::Sender<Vec<String>>,
    /// Those of the transaction under way, or of the last one.
    used: watch::Receiver<Vec<String>>,
}

/// The writers of all shards; they end with the value.
#[derive(Debug)]
pub struct Writers {
    stop: CancellationToken,
    counters: Arc<Counters>,
    columns: Vec<Columns>,
    tasks: Vec<JoinHandle<Result<()>>>,
}

impl Writers {
    /// Puts `rows` rows into each shard, then starts to write; `pace` is the pause between two transactions on one shard.
    pub async fn start(
        playground: &Playground,
        shards: &[Shard],
        rows: u64,
        pace: Duration,
    ) -> Result<Self> {
        let mut writers = Self {
            stop: CancellationToken::new(),
            counters: Arc::default(),
            columns: Vec::new(),
            tasks: Vec::new(),
        };
        for shard in shards {
            let (wanted, columns) = watch::channel(Vec::new());
            let (using, used) = watch::channel(Vec::new());
            let mut writer = Writer::new(
                playground.mariadb(shard.server),
                shard,
                (columns, using),
                &writers.counters,
            )
            .await?;
            writer.fill(rows).await?;
            let stop = writers.stop.clone();
            writers.columns.push(Columns {
                shard: shard.number,
                wanted,
                used,
            });
            writers.tasks.push(tokio::spawn(writer.run(pace, stop)));
        }
        Ok(writers)
    }

    /// From now on the shard's rows get values in a further text column too, which must exist.
    pub fn use_column(&self, shard: &Shard, column: &str) {
        for columns in self.columns.iter().filter(|c| c.shard == shard.number) {
            columns
                .wanted
                .send_modify(|columns| columns.push(column.to_owned()));
        }
    }

    /// From now on the shard's rows are written without a column. Waits for the transaction that may still use it: then it may be dropped or renamed.
    pub async fn forget_column(&self, shard: &Shard, column: &str) {
        for columns in self.columns.iter().filter(|c| c.shard == shard.number) {
            columns
                .wanted
                .send_modify(|columns| columns.retain(|name| name != column));
            let mut used = columns.used.clone();
            // A writer that has ended uses nothing any more.
            let _ended = used
                .wait_for(|columns| columns.iter().all(|name| name != column))
                .await;
        }
    }

    /// What has been committed so far.
    pub fn totals(&self) -> Totals {
        Totals {
            inserted: self.counters.inserted.load(Ordering::Relaxed),
            updated: self.counters.updated.load(Ordering::Relaxed),
            deleted: self.counters.deleted.load(Ordering::Relaxed),
        }
    }

    /// Lets each writer finish its transaction; fails when one of them had failed.
    pub async fn stop(mut self) -> Result<Totals> {
        self.stop.cancel();
        for task in std::mem::take(&mut self.tasks) {
            task.await
                .map_err(|e| Error::Unexpected(format!("a writer: {e}")))??;
        }
        Ok(self.totals())
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Writer {
    shard: Shard,
    conn: Conn,
    wanted: watch::Receiver<Vec<String>>,
    using: watch::Sender<Vec<String>>,
    counters: Arc<Counters>,
    /// Reproducible: the same shard always writes the same.
    random: StdRng,
    next_id: u64,
    ids: Vec<u64>,
}

impl Writer {
    async fn new(
        server: &MariaDb,
        shard: &Shard,
        (wanted, using): (watch::Receiver<Vec<String>>, watch::Sender<Vec<String>>),
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        Ok(Self {
            conn: server.connect().await?,
            wanted,
            using,
            counters: Arc::clone(counters),
            random: StdRng::seed_from_u64(shard.first_id()),
            next_id: shard.first_id(),
            ids: Vec::new(),
            shard: shard.clone(),
        })
    }

    async fn fill(&mut self, rows: u64) -> Result<()> {
        let inserts = (0..rows).map(|_| self.insert()).collect();
        self.commit(inserts).await?;
        self.counters.inserted.fetch_add(rows, Ordering::Relaxed);
        Ok(())
    }

    async fn run(mut self, pace: Duration, stop: CancellationToken) -> Result<()> {
        while stop
            .run_until_cancelled(tokio::time::sleep(pace))
            .await
            .is_some()
        {
            self.using.send_replace(self.wanted.borrow().clone());
            let mut statements = vec![self.insert(), self.insert()];
            let updates: Vec<_> = (0..2).filter_map(|_| self.update()).collect();
            let updated = u64::try_from(updates.len()).unwrap_or_default();
            statements.extend(updates);
            let delete = self
                .random
                .random_bool(0.4)
                .then(|| self.delete())
                .flatten();
            let deleted = u64::from(delete.is_some());
            statements.extend(delete);
            self.commit(statements).await?;
            self.counters.inserted.fetch_add(2, Ordering::Relaxed);
            self.counters.updated.fetch_add(updated, Ordering::Relaxed);
            self.counters.deleted.fetch_add(deleted, Ordering::Relaxed);
        }
        self.conn
            .disconnect()
            .await
            .map_err(Error::sql("disconnect a writer"))
    }

    fn insert(&mut self) -> (String, Params) {
        let id = self.next_id;
        self.next_id += 1;
        self.ids.push(id);
        let extra = self.using.borrow().clone();
        let names: String = extra.iter().map(|name| format!(", {name}")).collect();
        let places = ", ?".repeat(extra.len());
        let sql = format!(
            "INSERT INTO {} (id, customer, amount, remark, placed_at{names}) VALUES (?, ?, ?, ?, ?{places})",
            self.shard
        );
        let mut values: Vec<Value> = vec![
            id.into(),
            self.customer().into(),
            self.amount().into(),
            self.remark(),
            self.moment(id).into(),
        ];
        values.extend(extra.iter().map(|name| self.word(name)));
        (sql, Params::Positional(values))
    }

    /// Also moves values between NULL and text, and writes to columns that an old row got by an ALTER.
    fn update(&mut self) -> Option<(String, Params)> {
        let at = self.pick()?;
        let id = *self.ids.get(at)?;
        let extra = self.using.borrow().clone();
        let names: String = extra.iter().map(|name| format!(", {name} = ?")).collect();
        let mut values: Vec<Value> = vec![self.amount().into(), self.remark()];
        values.extend(extra.iter().map(|name| self.word(name)));
        values.push(id.into());
        Some((
            format!(
                "UPDATE {} SET amount = ?, remark = ?{names} WHERE id = ?",
                self.shard
            ),
            Params::Positional(values),
        ))
    }

    fn delete(&mut self) -> Option<(String, Params)> {
        let at = self.pick()?;
        let id = self.ids.swap_remove(at);
        Some((
            format!("DELETE FROM {} WHERE id = ?", self.shard),
            Params::Positional(vec![id.into()]),
        ))
    }

    fn pick(&mut self) -> Option<usize> {
        (!self.ids.is_empty()).then(|| self.random.random_range(0..self.ids.len()))
    }

    fn customer(&mut self) -> String {
        const NAMES: [&str; 5] = [
            "Ada",
            "Grace O'Hopper",
            "Łukasz \"Ł\"",
            "李雷",
            "back\\slash 🦀",
        ];
        NAMES[self.random.random_range(0..NAMES.len())].to_owned()
    }

    fn amount(&mut self) -> String {
        format!(
            "{}.{:02}",
            self.random.random_range(-50..5_000),
            self.random.random_range(0..100)
        )
    }

    fn remark(&mut self) -> Value {
        if self.random.random_bool(0.3) {
            Value::NULL
        } else {
            self.word("remark")
        }
    }

    fn word(&mut self, column: &str) -> Value {
        format!("{column} {}", self.random.random_range(0..100_000)).into()
    }

    fn moment(&mut self, id: u64) -> String {
        format!(
            "2026-01-{:02} {:02}:{:02}:{:02}.{:06}",
            id % 28 + 1,
            id % 24,
            id % 60,
            id % 59,
            id % 1_000_000
        )
    }

    async fn commit(&mut self, statements: Vec<(String, Params)>) -> Result<()> {
        let failed = |what: &str| Error::sql(format!("{what} in {}", self.shard));
        let mut transaction = self
            .conn
            .start_transaction(TxOpts::default())
            .await
            .map_err(failed("begin"))?;
        for (sql, params) in statements {
            transaction
                .exec_drop(&sql, params)
                .await
                .map_err(failed(&sql))?;
        }
        transaction.commit().await.map_err(failed("commit"))
    }
}
