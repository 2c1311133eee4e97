//! The process as it is installed, with an etcd and a MariaDB as they are installed, as a host of the vectors: seen
//! through its gRPC methods and its `/status`, and through the keys that it writes.

use dm_keyspace::optimism::{Operation, OperationKey};
use dm_keyspace::{SourceId, SubtaskKey};
use dm_proto::optimist::optimist_client::OptimistClient;
use dm_proto::optimist::{
    LockDetail, Phase, RemoveMetaRequest, ShowDdlLocksResponse, TableState, TableStatus,
};
use dm_proto::pb;
use dm_store::KeyRange;
use dm_task::SubtaskConfig;
use dm_testkit::etcd::RealEtcd;
use dm_testkit::mariadb::{MariaDb, Options, USER};
use dm_testkit::process::{Process, Spec};
use dm_testkit::scratch::scratch_dir;
use dm_testkit::{free_port, wait_for};
use optimist_svc::machine::{TableId, UnlockRequest};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

use crate::TASK;
use crate::etcd::{Etcd, LIMIT, is_idle, page};
use crate::host::{Host, Row, Shown};

/// What stands for an answer without a code of DM.
const NO_CODE: u32 = u32::MAX;

/// How often is looked whether it is at rest.
const ROUNDS: usize = 100_000;

/// Whether it has something to read, to answer or to delete for the lock.
fn owes(lock: &LockDetail) -> bool {
    let mut tables = lock.tables.iter();
    let is_reported = tables.any(|table| table.state() == TableState::Reported);
    lock.awaited > 0 || lock.phase() == Phase::Resolved || is_reported
}

struct Running {
    process: Process,
    client: OptimistClient<Channel>,
}

/// One process at most.
pub(crate) struct Outside {
    // Dropped in this order: the process before its servers, the runtime last.
    running: Option<Running>,
    etcd: Etcd,
    downstream: MariaDb,
    server: RealEtcd,
    folder: TempDir,
    port: u16,
    runtime: Runtime,
}

impl Outside {
    pub(crate) fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (server, downstream) = runtime.block_on(async {
            let options = Options::sharing(env!("CARGO_TARGET_TMPDIR"), 1);
            let downstream = MariaDb::start_temp("downstream", options).await;
            let server = RealEtcd::start_temp().await.expect("an etcd");
            let downstream = downstream.expect("a MariaDB");
            let checkpoint = format!(
                "CREATE DATABASE dm_meta; \
                 CREATE TABLE dm_meta.{TASK}_syncer_checkpoint (id VARCHAR(32) NOT NULL, cp_schema VARCHAR(128) NOT NULL, \
                 cp_table VARCHAR(128) NOT NULL, table_info JSON NOT NULL, is_global BOOLEAN, \
                 UNIQUE KEY uk_id_schema_table (id, cp_schema, cp_table))"
            );
            let created = downstream.exec(&checkpoint).await;
            created.expect("a checkpoint");
            (server, downstream)
        });
        Self {
            running: None,
            etcd: Etcd::connect(&runtime, server.endpoint(), OperationKey::PREFIX),
            downstream,
            server,
            folder: scratch_dir("optimist").expect("a folder"),
            port: free_port().expect("a port"),
            runtime,
        }
    }

    /// An empty etcd and an empty checkpoint, for the next case.
    pub(crate) fn make_ready(&mut self) {
        let own = [
            "/dm-master/shardddl-optimism/",
            "/dm-master/optimist/",
            SubtaskKey::PREFIX,
        ];
        let own = own.map(KeyRange::prefix);
        self.etcd.write(&self.runtime, Vec::new(), own.to_vec());
        let emptied = format!("TRUNCATE TABLE dm_meta.{TASK}_syncer_checkpoint");
        self.exec(&emptied);
        self.quiet();
        self.take_put();
    }

    fn exec(&self, sql: &str) {
        let executed = self.runtime.block_on(self.downstream.exec(sql));
        executed.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn client(&self) -> OptimistClient<Channel> {
        let running = self.running.as_ref();
        running.expect("a process runs").client.clone()
    }

    fn wait(&self, what: &str, condition: impl Fn(&Value) -> bool) {
        let look = || async { page(self.port).await.filter(|page| condition(page)) };
        let waited = self.runtime.block_on(wait_for(LIMIT, what, look));
        waited.unwrap_or_else(|late| {
            let page = self.runtime.block_on(page(self.port));
            let log = self.running.as_ref().map(|r| r.process.log_tail());
            panic!("{late}: {page:?}\n{}", log.unwrap_or_default())
        });
    }

    fn shown(&self, task: &str, sources: &[SourceId]) -> ShowDdlLocksResponse {
        let request = pb::ShowDdlLocksRequest {
            task: task.to_owned(),
            sources: sources.iter().map(ToString::to_string).collect(),
        };
        let answer = self
            .runtime
            .block_on(self.client().show_ddl_locks(request))
            .expect("it shows its locks");
        answer.into_inner()
    }
}

impl Host for Outside {
    fn write(&mut self, puts: Vec<(String, Vec<u8>)>, deletes: &[String]) {
        let deletes = deletes.iter().map(|key| KeyRange::key(key.as_str()));
        self.etcd.write(&self.runtime, puts, deletes.collect());
    }

    fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.etcd.value(&self.runtime, key)
    }

    fn entries(&self, prefix: &'static str) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.etcd.entries(&self.runtime, prefix)
    }

    fn subtask(&self, source: &str) -> Vec<u8> {
        let mut config = SubtaskConfig {
            name: TASK.to_owned(),
            source_id: source.to_owned(),
            mode: "all".to_owned(),
            shard_mode: "optimistic".to_owned(),
            meta_schema: "dm_meta".to_owned(),
            ..SubtaskConfig::default()
        };
        config.to.host = "127.0.0.1".to_owned();
        config.to.port = self.downstream.port().into();
        config.to.user = USER.to_owned();
        config.to.password = self.downstream.password().into();
        config.to_toml().expect("a record").into_bytes()
    }

    fn flush(&mut self, table: &TableId, json: &str) {
        let text = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
        let (source, schema) = (text(table.source.as_str()), text(&table.schema));
        let (table, json) = (text(&table.table), text(json));
        self.exec(&format!(
            "REPLACE INTO dm_meta.{TASK}_syncer_checkpoint VALUES ('{source}', '{schema}', '{table}', '{json}', 0)"
        ));
    }

    fn start(&mut self) {
        if self.running.is_some() {
            return;
        }
        let address = format!("127.0.0.1:{}", self.port);
        let program = env!("CARGO_BIN_EXE_optimist-svc");
        let process = Spec::new("optimist", program, self.folder.path())
            .args(["--name", "o1", "--listen", &address])
            .args(["--etcd-endpoints", &self.server.endpoint()])
            .args(["--lease-ttl", "60s", "--checkpoint-wait", "10m"])
            .args(["--checkpoint-timeout", "30s"])
            .spawn()
            .expect("it starts");
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let client = {
            let _within = self.runtime.enter();
            OptimistClient::new(endpoint.connect_lazy())
        };
        self.running = Some(Running { process, client });
        self.wait("it leads", |page| page["leads"] == true);
    }

    /// It dies at once; its lease runs out at once, too.
    fn stop(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        running.process.kill9().expect("it can be killed");
        self.etcd.end_leases(&self.runtime);
    }

    fn leads(&self) -> bool {
        self.running.is_some()
    }

    fn quiet(&mut self) {
        for round in 0.. {
            assert!(round < ROUNDS, "it never comes to rest");
            let present = self.etcd.revision(&self.runtime);
            if self.running.is_some() {
                self.wait("it comes to rest", |page| is_idle(page, present));
                // The status is told a little later than what follows from a checkpoint.
                if self.shown("", &[]).details.iter().any(owes) {
                    continue;
                }
            }
            if self.etcd.revision(&self.runtime) == present {
                self.etcd.listen(&self.runtime, present);
                return;
            }
        }
    }

    fn take_put(&mut self) -> Vec<Operation> {
        let put = self.etcd.take_put().into_iter();
        put.map(|value| Operation::from_bytes(&value).expect("operations decode"))
            .collect()
    }

    fn locks(&self) -> Vec<Shown> {
        let shown = self.shown("", &[]);
        let undone = |detail: &LockDetail| {
            let undone = detail.tables.iter().filter(|table| table.undone);
            let mut names: Vec<String> = undone.map(name).collect();
            names.sort();
            names
        };
        let lock = |detail: &LockDetail| {
            let row = shown.locks.iter().find(|row| row.id == detail.id);
            let row = row.expect("each lock has a row").clone();
            Shown {
                id: row.id,
                synced: row.synced,
                unsynced: row.unsynced,
                undone: undone(detail),
            }
        };
        shown.details.iter().map(lock).collect()
    }

    fn rows(&self, task: &str, sources: &[SourceId]) -> Vec<Row> {
        let row = |row: pb::DdlLock| Row {
            id: row.id,
            owner: row.owner,
            ddls: row.dd_ls,
            synced: row.synced,
            unsynced: row.unsynced,
        };
        let shown = self.shown(task, sources);
        shown.locks.into_iter().map(row).collect()
    }

    fn unlock(&mut self, request: &UnlockRequest) -> u32 {
        let op = match request.executes {
            true => pb::UnlockDdlLockOp::ExecLock,
            false => pb::UnlockDdlLockOp::SkipLock,
        };
        let request = pb::UnlockDdlLockRequest {
            id: request.id.clone(),
            sources: vec![request.table.source.to_string()],
            op: op as i32,
            database: request.table.schema.clone(),
            table: request.table.table.clone(),
            ..Default::default()
        };
        let answer = self
            .runtime
            .block_on(self.client().unlock_ddl_lock(request))
            .expect("it answers")
            .into_inner();
        // DM's code stands in the text.
        let in_text = || {
            let (code, _) = answer.msg.strip_prefix("[code=")?.split_once(':')?;
            code.parse().ok()
        };
        match answer.result {
            true => 0,
            false => in_text().unwrap_or(NO_CODE),
        }
    }

    fn remove_task(&mut self) {
        let request = RemoveMetaRequest {
            task: TASK.to_owned(),
        };
        let removed = self.runtime.block_on(self.client().remove_meta(request));
        removed.expect("it removes them");
    }
}

/// The table as the vectors name it.
fn name(table: &TableStatus) -> String {
    let id = TableId {
        source: table.source.as_str().into(),
        schema: table.schema.clone(),
        table: table.table.clone(),
    };
    id.to_string()
}
