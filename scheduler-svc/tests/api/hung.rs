//! Databases that take connections and say nothing: whoever asks them waits, and nobody else does.

use dm_keyspace::{SourceConfigKey, SubtaskKey};
use dm_proto::pb;
use dm_testkit::mariadb::{self, MariaDb};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::kit::{Client, Cluster, LIMIT, bounds, database};

/// Connections that it has taken.
struct Silent {
    listener: TcpListener,
    held: Vec<TcpStream>,
}

impl Silent {
    async fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            held: Vec::new(),
        }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Waits for so many callers more.
    async fn is_asked(&mut self, callers: usize) {
        for _ in 0..callers {
            self.held.push(self.listener.accept().await.unwrap().0);
        }
    }
}

fn source_file(id: &str, port: u16) -> String {
    format!("source-id: {id}\nfrom: {{host: 127.0.0.1, port: {port}, user: u}}\n")
}

fn task_file(name: &str, mode: &str, source: &str, target: (u16, &str), ignored: &str) -> String {
    let ((port, password), user) = (target, mariadb::USER);
    format!(
        "name: {name}\ntask-mode: {mode}\nignore-checking-items: [{ignored}]\n\
         target-database: {{host: 127.0.0.1, port: {port}, user: {user}, password: \"{password}\"}}\n\
         mysql-instances: [{{source-id: {source}}}]\n"
    )
}

async fn create(mut client: Client, config: String) {
    let request = pb::OperateSourceRequest {
        op: pb::SourceOp::StartSource.into(),
        config: vec![config],
        ..Default::default()
    };
    let answer = client.operate_source(request).await;
    panic!("a source is answered for whose server says nothing: {answer:?}");
}

async fn check(mut client: Client, task: String) {
    let request = pb::CheckTaskRequest {
        task,
        ..Default::default()
    };
    let answer = client.check_task(request).await;
    panic!("a task is checked whose source says nothing: {answer:?}");
}

async fn start(mut client: Client, task: String) -> pb::StartTaskResponse {
    let request = pb::StartTaskRequest {
        task,
        ..Default::default()
    };
    client.start_task(request).await.unwrap().into_inner()
}

async fn start_in_vain(client: Client, task: String) {
    let answer = start(client, task).await;
    panic!("a task is started whose databases say nothing: {answer:?}");
}

/// Requests that wait for databases, on their way.
async fn hang(cluster: &Cluster, db: &MariaDb, silent: &mut Silent) -> JoinSet<()> {
    cluster.source("s1");
    let mut from =
        dm_task::SourceConfig::from_yaml("", &source_file("mute", silent.port())).unwrap();
    from.complete("mysql", 1);
    let key = SourceConfigKey {
        source: "mute".into(),
    };
    cluster.etcd.put(key.encode(), from.to_toml().unwrap());
    let good = (db.port(), db.password());
    let mute = (silent.port(), "");
    let client = || cluster.client.clone();
    let mut waiting = JoinSet::new();
    // The server of a new source; the target, with and without checks; a source that is checked; one that is
    // asked for its position.
    waiting.spawn(create(client(), source_file("new", silent.port())));
    for ignored in ["all", "version"] {
        let task = task_file("at-target", "all", "s1", mute, ignored);
        waiting.spawn(start_in_vain(client(), task));
    }
    let task = task_file("checked", "all", "mute", good, "version");
    waiting.spawn(check(client(), task));
    let task = task_file("positioned", "incremental", "mute", good, "all");
    waiting.spawn(start_in_vain(client(), task));
    let asked = silent.is_asked(waiting.len());
    tokio::time::timeout(LIMIT, asked).await.unwrap();
    waiting
}

#[tokio::test]
async fn databases_that_hang_hold_up_no_failover_no_task_and_no_answer() {
    let db = database("lively").await;
    let mut silent = Silent::start().await;
    let cluster = Cluster::start_with(&["--database-timeout", "10m"]).await;
    let _w1 = cluster.worker("w1").await;
    let mut waiting = hang(&cluster, &db, &mut silent).await;
    // Workers come and go.
    cluster.bounds("w1-s1").await;
    let _w2 = cluster.worker("w2").await;
    cluster.bounds("w1-s1 w2-mute").await;
    cluster.offline("w1");
    let _w3 = cluster.worker("w3").await;
    cluster.bounds("w2-mute w3-s1").await;
    // The same task as one of those that wait, of a target that answers.
    let task = task_file("at-target", "all", "s1", (db.port(), db.password()), "all");
    let answer = start(cluster.client.clone(), task).await;
    assert!(answer.result && answer.sources[0].result, "{answer:?}");
    for op in [pb::TaskOp::Pause, pb::TaskOp::Resume, pb::TaskOp::Delete] {
        let request = pb::OperateTaskRequest {
            op: op.into(),
            name: "at-target".into(),
            sources: Vec::new(),
        };
        let answer = cluster.client.clone().operate_task(request).await.unwrap();
        let answer = answer.into_inner();
        assert!(answer.result && answer.sources[0].result, "{answer:?}");
    }
    let mut client = cluster.client.clone();
    let status = client.query_status(pb::QueryStatusListRequest::default());
    assert_eq!(status.await.unwrap().into_inner().sources.len(), 2);
    assert_eq!(bounds(&cluster.etcd), "w2-mute w3-s1");
    assert_eq!(cluster.keys(SubtaskKey::PREFIX), 0);
    assert!(
        waiting.try_join_next().is_none(),
        "one of them was answered"
    );
}
