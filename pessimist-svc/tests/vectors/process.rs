//! The process as it is installed, with an etcd as it is installed, as a host of the vectors: seen through its gRPC
//! methods, its `/status` and its log, and through the keys that it writes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use dm_keyspace::pessimism::{Operation, OperationKey};
use dm_keyspace::{SourceId, SubtaskKey, TaskName};
use dm_proto::pb;
use dm_proto::pessimist::pessimist_client::PessimistClient;
use dm_proto::pessimist::{LockDetail, RemoveMetaRequest, SourceState};
use dm_store::{KeyRange, Revision};
use dm_testkit::etcd::RealEtcd;
use dm_testkit::process::{Process, Spec};
use dm_testkit::proxy::{Direction, TcpProxy};
use dm_testkit::scratch::scratch_dir;
use dm_testkit::{free_port, wait_for};
use pessimist_svc::machine::{LockView, Phase, UnlockRequest};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::etcd::{Etcd, LIMIT, get, is_idle, leads_at, page};
use crate::host::{Call, Ended, Host};
use crate::player::NO_CODE;

/// How long an unlock waits here.
const UNLOCK_WAIT: Duration = Duration::from_millis(800);
/// What the log says of an info whose statements are not those of the lock.
const MISMATCH: &str = "statements differ from those of the lock";

type Answer = Result<pb::UnlockDdlLockResponse, Status>;

struct Running {
    process: Process,
    client: PessimistClient<Channel>,
    /// Where its log begins in the file that all runs share.
    log: u64,
}

/// One process at most.
pub(crate) struct Outside {
    // Dropped in this order: the process before its etcd, the runtime last.
    running: Option<Running>,
    call: Option<JoinHandle<Answer>>,
    etcd: Etcd,
    proxy: TcpProxy,
    _server: RealEtcd,
    /// Nothing that the process sends to etcd arrives.
    is_cut_off: bool,
    folder: TempDir,
    port: u16,
    runtime: Runtime,
}

impl Outside {
    pub(crate) fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (server, proxy) = runtime.block_on(async {
            let server = RealEtcd::start_temp().await.expect("an etcd");
            let target = format!("127.0.0.1:{}", server.port());
            (server, TcpProxy::start(target).await.expect("a proxy"))
        });
        Self {
            running: None,
            call: None,
            etcd: Etcd::connect(&runtime, server.endpoint(), OperationKey::PREFIX),
            proxy,
            _server: server,
            is_cut_off: false,
            folder: scratch_dir("pessimist").expect("a folder"),
            port: free_port().expect("a port"),
            runtime,
        }
    }

    /// An empty etcd, and a process that runs or not, for the next case.
    pub(crate) fn make_ready(&mut self, runs: bool) {
        if !runs {
            self.stop();
        }
        let own = [
            "/dm-master/shardddl-pessimism/",
            "/dm-master/pessimist/",
            SubtaskKey::PREFIX,
        ];
        let own = own.map(KeyRange::prefix);
        self.etcd.write(&self.runtime, Vec::new(), own.to_vec());
        self.quiet();
        self.take_put();
    }

    fn client(&self) -> PessimistClient<Channel> {
        let running = self.running.as_ref();
        running.expect("a process runs").client.clone()
    }

    fn page(&self) -> Option<Value> {
        self.runtime.block_on(page(self.port))
    }

    fn wait(&self, what: &str, condition: impl Fn(&Value) -> bool) {
        let look = || async { page(self.port).await.filter(|page| condition(page)) };
        let waited = self.runtime.block_on(wait_for(LIMIT, what, look));
        waited.unwrap_or_else(|late| {
            let log = self.running.as_ref().map(|r| r.process.log_tail());
            panic!("{late}: {:?}\n{}", self.page(), log.unwrap_or_default())
        });
    }

    fn shown(&self, task: &str, sources: &[SourceId]) -> Vec<LockView> {
        let request = pb::ShowDdlLocksRequest {
            task: task.to_owned(),
            sources: sources.iter().map(ToString::to_string).collect(),
        };
        let mut client = self.client();
        let answer = self.runtime.block_on(client.show_ddl_locks(request));
        let answer = answer.expect("it shows its locks").into_inner();
        let details = answer.details.into_iter();
        answer.locks.into_iter().zip(details).map(view).collect()
    }

    fn request(request: &UnlockRequest) -> pb::UnlockDdlLockRequest {
        let owner = request.replace_owner.as_ref();
        pb::UnlockDdlLockRequest {
            id: request.id.clone(),
            replace_owner: owner.map(ToString::to_string).unwrap_or_default(),
            force_remove: request.force_remove,
            ..Default::default()
        }
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

    fn values(&self, prefix: &str) -> Vec<Vec<u8>> {
        let entries = self.etcd.entries(&self.runtime, prefix).into_iter();
        entries.map(|(_, value)| value).collect()
    }

    fn start(&mut self) {
        if self.running.is_some() {
            return;
        }
        let address = format!("127.0.0.1:{}", self.port);
        let wait = format!("{}ms", UNLOCK_WAIT.as_millis());
        let spec = Spec::new(
            "pessimist",
            env!("CARGO_BIN_EXE_pessimist-svc"),
            self.folder.path(),
        )
        .args(["--name", "p1", "--listen", &address])
        .args(["--etcd-endpoints", &self.proxy.endpoint()])
        .args(["--lease-ttl", "60s", "--unlock-wait", &wait]);
        let process = spec.spawn().expect("it starts");
        let log = std::fs::metadata(process.stderr_path()).map_or(0, |file| file.len());
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let client = {
            let _within = self.runtime.enter();
            PessimistClient::new(endpoint.connect_lazy())
        };
        self.running = Some(Running {
            process,
            client,
            log,
        });
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

    fn lose_watch(&mut self) {
        let loads = |page: &Value| page["loop"]["loads"].as_u64().unwrap_or_default();
        let before = self.page().as_ref().map(loads).unwrap_or_default();
        self.proxy.refuse(true);
        let key = "/dm-master/unused".to_owned();
        self.write(vec![(key.clone(), Vec::new())], &[]);
        self.write(Vec::new(), &[key]);
        let present = self.etcd.revision(&self.runtime);
        self.etcd.listen(&self.runtime, present);
        let compacted = self.runtime.block_on(self.etcd.store.compact(present));
        compacted.expect("it can be compacted");
        self.proxy.heal();
        self.wait("it has loaded anew", |page| loads(page) > before);
    }

    /// What the process writes from now on does not arrive. It does when an unlock asks for it next: a fault that ended before
    /// would be over before anybody could look.
    fn fail_deletes(&mut self, on: bool) {
        if on {
            self.proxy.black_hole(Direction::ToTarget);
            self.is_cut_off = true;
        }
    }

    fn leads(&self) -> bool {
        self.running.is_some()
    }

    fn quiet(&mut self) {
        loop {
            let present = self.etcd.revision(&self.runtime);
            // What does not arrive stays under way.
            let is_cut_off = self.is_cut_off;
            let is_idle =
                |page: &Value| is_idle(page, present) || is_cut_off && leads_at(page, present);
            if self.running.is_some() {
                self.wait("it comes to rest", is_idle);
                // A read goes through the loop: what it has decided by now shows in its status afterwards.
                self.shown("", &[]);
                if !self.page().as_ref().is_some_and(is_idle) {
                    continue;
                }
            }
            if self.etcd.revision(&self.runtime) == present {
                self.etcd.listen(&self.runtime, present);
                return;
            }
        }
    }

    fn pass_time(&mut self) {
        std::thread::sleep(UNLOCK_WAIT / 10);
    }

    fn take_put(&mut self) -> Vec<Operation> {
        let put = self.etcd.take_put().into_iter();
        put.filter_map(|value| Operation::from_bytes(&value).ok())
            .collect()
    }

    fn locks(&self, task: &str, sources: &[SourceId]) -> Vec<LockView> {
        self.shown(task, sources)
    }

    fn rejected(&self) -> u64 {
        let Some(running) = &self.running else {
            return 0;
        };
        let mut log = String::new();
        let mut file = File::open(running.process.stderr_path()).expect("its log");
        file.seek(SeekFrom::Start(running.log)).expect("its log");
        file.read_to_string(&mut log).expect("its log");
        log.matches(MISMATCH).count() as u64
    }

    /// As `/metrics` shows them, once it shows what the log says.
    fn errors(&self) -> BTreeMap<String, u64> {
        if self.running.is_none() {
            return BTreeMap::new();
        }
        let look = || async {
            let errors = errors(&get(self.port, "/metrics").await?);
            let shown = errors.get("InfoPut - SyncLockError").copied();
            // Read each time: what is rejected a moment later is in the log, too.
            (shown.unwrap_or_default() == self.rejected()).then_some(errors)
        };
        let waited = self.runtime.block_on(wait_for(LIMIT, "its errors", look));
        waited.expect("figures show what the log says")
    }

    fn is_running(&self, task: &TaskName) -> bool {
        let subtasks = self.runtime.block_on(
            self.etcd
                .store
                .snapshot(&KeyRange::prefix(SubtaskKey::PREFIX)),
        );
        let keys = subtasks.expect("etcd answers").entries;
        keys.iter()
            .filter_map(|kv| SubtaskKey::parse(&kv.key).ok())
            .any(|key| key.task == *task)
    }

    fn begin_unlock(&mut self, _: &TaskName, request: &UnlockRequest) -> Result<Revision, Ended> {
        let (mut client, request) = (self.client(), Self::request(request));
        if std::mem::take(&mut self.is_cut_off) {
            self.proxy.heal();
        }
        let call = async move {
            let answer = client.unlock_ddl_lock(request).await;
            answer.map(tonic::Response::into_inner)
        };
        self.call = Some(self.runtime.spawn(call));
        Ok(Revision::ZERO)
    }

    fn unlock_ended(&mut self, _: &TaskName, _: &str, _: Revision) -> Option<Ended> {
        let call = self.call.take_if(|call| call.is_finished())?;
        Some(ended(self.runtime.block_on(call).expect("it is not ended")))
    }

    fn call_unlock(&mut self, request: &UnlockRequest) -> Option<Ended> {
        let (mut client, request) = (self.client(), Self::request(request));
        let answer = self.runtime.block_on(client.unlock_ddl_lock(request));
        Some(ended(answer.map(tonic::Response::into_inner)))
    }

    fn call_without_lead(&mut self, _: &Call) -> u32 {
        panic!("a process without a leader answers before its own API is asked");
    }

    fn remove_meta(&mut self, task: &TaskName) {
        let task = task.to_string();
        let mut client = self.client();
        let removed = self
            .runtime
            .block_on(client.remove_meta(RemoveMetaRequest { task }));
        removed.expect("it removes them");
    }
}

/// DM's code stands in the text.
fn ended(answer: Answer) -> Ended {
    let answer = answer.expect("it answers");
    let in_text = || {
        let (code, _) = answer.msg.strip_prefix("[code=")?.split_once(':')?;
        code.parse().ok()
    };
    let code = match answer.result {
        true => 0,
        false => in_text().unwrap_or(NO_CODE),
    };
    Ended {
        code,
        msg: answer.msg,
    }
}

/// What a client sees of a lock, in the form in which the machine gives it.
fn view((lock, detail): (pb::DdlLock, LockDetail)) -> LockView {
    assert_eq!(lock.id, detail.id);
    let names = |names: Vec<String>| names.into_iter().map(SourceId::from).collect();
    let done = detail
        .sources
        .iter()
        .filter(|source| source.state() == SourceState::Done);
    LockView {
        done: done.map(|source| source.source.clone().into()).collect(),
        task: lock.task.into(),
        owner: lock.owner.into(),
        ddls: lock.dd_ls,
        synced: names(lock.synced),
        unsynced: names(lock.unsynced),
        phase: Phase::Collecting,
        sources: Vec::new(),
        reasons: detail.reasons,
        trace: None,
        age: Duration::from_millis(detail.age_ms),
        id: lock.id,
    }
}

/// The counters of `dm_master_shard_ddl_error`, of all tasks together.
fn errors(figures: &str) -> BTreeMap<String, u64> {
    let mut errors = BTreeMap::new();
    let lines = figures.lines();
    for line in lines.filter(|line| line.starts_with("dm_master_shard_ddl_error{")) {
        let kind = line
            .split_once("type=\"")
            .and_then(|(_, rest)| rest.split_once('"'));
        let number: Option<u64> = line
            .rsplit_once(' ')
            .and_then(|(_, number)| number.parse().ok());
        if let Some(((kind, _), number)) = kind.zip(number) {
            *errors.entry(kind.to_owned()).or_default() += number;
        }
    }
    errors
}
