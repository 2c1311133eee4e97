//! What all scenarios share: connections to etcd, the way to the master, the names of the run, and the records that a
//! task consists of.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::time::Duration;

use dm_keyspace::pessimism::{InfoKey, OperationKey};
use dm_keyspace::{LastBoundKey, SourceConfigKey, SourceId, SubtaskKey, TaskName, optimism};
use dm_proto::pb::master_client::MasterClient;
use dm_store::{KeyRange, Options, Put, Revision, Store, Txn};
use dm_task::{SourceConfig, SubtaskConfig};
use futures::{StreamExt, TryStreamExt, stream};
use tonic::transport::{Channel, Endpoint};

use crate::names::Run;
use crate::{Error, Result};

/// Connections that the simulated workers share; a real worker has one of its own.
const CONNECTIONS: usize = 8;
/// Puts in one transaction; a stock etcd takes 128, and 1.5 MiB.
const PUTS: usize = 100;
/// Transactions under way while records are loaded.
const LOADERS: usize = 8;
/// How long one call may take.
const CALL: Duration = Duration::from_secs(30);

/// A master and its etcd, as a run sees them.
#[derive(Clone, Debug)]
pub struct World {
    run: Run,
    options: Options,
    pool: Vec<Store>,
    master: Option<String>,
    subtask: String,
}

impl World {
    /// Prepares connections. Without a master nothing is registered and nothing is bound: then only the part of the
    /// master that coordinates shard DDLs needs to be there.
    ///
    /// # Errors
    /// When an address is unusable; not when nobody listens there.
    pub async fn new(run: Run, etcd: Vec<String>, master: Option<String>) -> Result<Self> {
        let options = Options {
            endpoints: etcd,
            call_timeout: CALL,
            ..Options::default()
        };
        let connect = async || {
            Store::connect(&options)
                .await
                .map_err(Error::etcd("connect to etcd"))
        };
        let mut pool = Vec::new();
        for _ in 0..CONNECTIONS {
            pool.push(connect().await?);
        }
        Ok(Self {
            run,
            pool,
            options,
            master,
            subtask: subtask_template()?,
        })
    }

    /// The names of this run.
    #[must_use]
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// A connection; the same number gives the same one.
    #[must_use]
    pub fn store(&self, number: usize) -> &Store {
        &self.pool[number % self.pool.len()]
    }

    /// A connection that nobody else uses.
    ///
    /// # Errors
    /// As [`World::new`].
    pub async fn own_store(&self) -> Result<Store> {
        let connected = Store::connect(&self.options).await;
        connected.map_err(Error::etcd("connect to etcd"))
    }

    /// The first address of etcd.
    #[must_use]
    pub fn etcd(&self) -> &str {
        self.options.endpoints.first().map_or("", String::as_str)
    }

    /// Whether there is a master to register with.
    #[must_use]
    pub fn has_master(&self) -> bool {
        self.master.is_some()
    }

    /// The way to `pb.Master`.
    ///
    /// # Errors
    /// When there is no master, or its address is unusable.
    pub fn master(&self) -> Result<MasterClient<Channel>> {
        let addr = self.master.as_deref();
        let addr = addr.ok_or_else(|| Error::Usage("there is no master in this run".to_owned()))?;
        Ok(MasterClient::new(channel(addr)?))
    }

    /// Writes many records, a hundred to a transaction, and gives the revision of the last.
    ///
    /// # Errors
    /// When etcd refuses one.
    pub async fn load(
        &self,
        records: impl IntoIterator<Item = (String, Vec<u8>)> + Send,
    ) -> Result<Revision> {
        let mut records = records.into_iter().peekable();
        let txns = std::iter::from_fn(move || next_txn(&mut records));
        let committed = stream::iter(txns).enumerate().map(|(number, txn)| {
            let store = self.store(number).clone();
            async move { store.commit(&txn).await }
        });
        committed
            .buffer_unordered(LOADERS)
            .try_fold(
                Revision::ZERO,
                async |last, revision| Ok(last.max(revision)),
            )
            .await
            .map_err(Error::commit("load records"))
    }

    /// Makes the sources members of the task, with the records that `start-task` writes.
    ///
    /// # Errors
    /// When etcd refuses one.
    pub async fn start_task(&self, task: &TaskName, sources: &[SourceId]) -> Result<Revision> {
        let subtasks: Vec<_> = sources.iter().map(|s| self.subtask(s, task)).collect();
        self.load(subtasks).await
    }

    /// The record of one subtask.
    #[must_use]
    pub fn subtask(&self, source: &SourceId, task: &TaskName) -> (String, Vec<u8>) {
        let key = SubtaskKey {
            source: source.clone(),
            task: task.clone(),
        };
        let text = self
            .subtask
            .replace(TASK, task.as_str())
            .replace(SOURCE, source.as_str());
        (key.encode(), text.into_bytes())
    }

    /// The record of one subtask of an optimistic task.
    #[must_use]
    pub fn optimistic_subtask(&self, source: &SourceId, task: &TaskName) -> (String, Vec<u8>) {
        let (key, text) = self.subtask(source, task);
        let text = String::from_utf8_lossy(&text).replace("\"pessimistic\"", "\"optimistic\"");
        (key, text.into_bytes())
    }

    /// Removes every task, source, info and operation of this run, and what the master has noted about its workers.
    ///
    /// # Errors
    /// When etcd refuses.
    pub async fn clean_up(&self) -> Result<Revision> {
        let mut last = Revision::ZERO;
        let families = [
            SubtaskKey::PREFIX,
            InfoKey::PREFIX,
            OperationKey::PREFIX,
            optimism::InfoKey::PREFIX,
            optimism::OperationKey::PREFIX,
            optimism::SourceTablesKey::PREFIX,
            SourceConfigKey::PREFIX,
            LastBoundKey::PREFIX,
        ];
        let prefixes = families.map(|family| self.run.prefix_in(family));
        for prefix in prefixes.into_iter().chain([self.run.prefix_outside_dm()]) {
            let range = KeyRange::prefix(prefix);
            let deleted = self.store(0).delete(range).await;
            last = last.max(deleted.map_err(Error::commit("clean up"))?);
        }
        Ok(last)
    }
}

/// The next records, as many as fit; etcd takes a key once in a transaction.
fn next_txn(records: &mut Peekable<impl Iterator<Item = (String, Vec<u8>)>>) -> Option<Txn> {
    let mut puts = Vec::new();
    let mut keys = BTreeSet::new();
    while puts.len() < PUTS
        && let Some((key, value)) = records.next_if(|(key, _)| keys.insert(key.clone()))
    {
        puts.push(Put {
            key: key.into(),
            value: value.into(),
            lease: None,
        });
    }
    let txn = Txn {
        puts,
        ..Txn::default()
    };
    (!txn.puts.is_empty()).then_some(txn)
}

/// A lazily opened connection.
///
/// # Errors
/// When the address is unusable.
pub fn channel(addr: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}"))
        .map_err(Error::call(format!("use address {addr:?}")))?;
    Ok(endpoint.connect_timeout(CALL).timeout(CALL).connect_lazy())
}

/// The record of a source that no worker will really connect to.
///
/// # Errors
/// When it cannot be written as TOML.
pub fn source_config(source: &SourceId) -> Result<(String, Vec<u8>)> {
    let mut config = SourceConfig {
        enable: true,
        source_id: source.as_str().to_owned(),
        ..SourceConfig::default()
    };
    config.from.host = "127.0.0.1".to_owned();
    config.from.port = 9;
    config.from.user = "bench".to_owned();
    config.checker.backoff_max = "5m0s".parse().unwrap_or_default();
    config.complete("mysql", 429_500_000);
    let key = SourceConfigKey {
        source: source.clone(),
    };
    let text = config.to_toml().map_err(Error::call("write a source"))?;
    Ok((key.encode(), text.into_bytes()))
}

const TASK: &str = "@task@";
const SOURCE: &str = "@source@";

/// A subtask with every key that DM writes, so that its size is the real one.
fn subtask_template() -> Result<String> {
    let least = format!(
        "name = \"{TASK}\"\nsource-id = \"{SOURCE}\"\nmode = \"all\"\nis-sharding = true\nshard-mode = \"pessimistic\"\n\
         [to]\nhost = \"127.0.0.1\"\nport = 9\nuser = \"bench\"\npassword = \"\"\n"
    );
    let whole = SubtaskConfig::from_toml(&least).and_then(|subtask| subtask.to_toml());
    whole.map_err(Error::call("write a subtask"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_once_in_a_transaction() {
        let keys = ["a", "b", "a", "a", "c"].map(|key| (key.to_owned(), Vec::new()));
        let mut records = keys.into_iter().peekable();
        let sizes: Vec<_> = std::iter::from_fn(|| next_txn(&mut records))
            .map(|txn| txn.puts.len())
            .collect();
        assert_eq!(sizes, [2, 1, 2]);
        let many = (0..=PUTS).map(|number| (number.to_string(), Vec::new()));
        let mut records = many.peekable();
        assert_eq!(next_txn(&mut records).unwrap().puts.len(), PUTS);
        assert_eq!(next_txn(&mut records).unwrap().puts.len(), 1);
        assert!(next_txn(&mut records).is_none());
    }

    #[tokio::test]
    async fn the_records_of_a_task_are_ones_that_dm_reads() {
        let world = World::new(Run::new("b"), vec!["127.0.0.1:1".to_owned()], None)
            .await
            .unwrap();
        let (source, task) = (world.run().source(1), world.run().task("t", 2));
        let (_, text) = world.subtask(&source, &task);
        let subtask = SubtaskConfig::from_toml(std::str::from_utf8(&text).unwrap()).unwrap();
        assert_eq!(
            (subtask.name.as_str(), subtask.source_id.as_str()),
            ("b-t-2", "b-source-1")
        );
        let (_, text) = world.optimistic_subtask(&source, &task);
        let subtask = SubtaskConfig::from_toml(std::str::from_utf8(&text).unwrap()).unwrap();
        assert_eq!(subtask.shard_mode, "optimistic");
        let (_, text) = source_config(&source).unwrap();
        let config = SourceConfig::from_toml(std::str::from_utf8(&text).unwrap()).unwrap();
        assert_eq!(config.source_id, "b-source-1");
    }
}
