//! A source file and a task file with every key that there is, sent by clients; what lies in etcd after that is compared with the
//! tables of `crates/task/tests/every_key/rows.rs`, read as plain TOML and JSON and under keys that are written out here.

use std::collections::{BTreeMap, BTreeSet};

use dm_proto::pb::{self, CfgType};
use dm_testkit::mariadb::{self, MariaDb};
use serde_json::{Value, json};

use crate::kit::{Cluster, Fake, database};

#[path = "../../../crates/task/tests/every_key/rows.rs"]
#[expect(dead_code, reason = "what is not stored is the reader's business")]
mod rows;

use rows::{FILLED_IN, SOURCE, TASK};

const TASK_FILE: &str = include_str!("../../../tests/files/task-every-key.yaml");
const SOURCE_FILE: &str = include_str!("../../../tests/files/source-every-key.yaml");

/// `mysql-01`, `mysql-02` and `merge1`, as names are written in keys.
const FIRST: &str = "6d7973716c2d3031";
const SECOND: &str = "6d7973716c2d3032";
const MERGE: &str = "6d6572676531";

/// A variable that only TiDB has, and one that MariaDB has.
const TARGET_VARIABLE: [&str; 2] = ["tidb_skip_utf8_check", "sql_notes"];

type Leaves = BTreeMap<String, Value>;

/// Sections of the task file whose entries only the first source names.
const OF_THE_FIRST: [&str; 8] = [
    "mysql-instances[0].",
    "routes.",
    "filters.",
    "expression-filter.",
    "mydumpers.",
    "loaders.",
    "syncers.",
    "validators.",
];

/// What the subtask of the second source has there: the defaults.
#[rustfmt::skip]
const DEFAULTS: &[(&str, &str)] = &[
    ("mydumper-path", "'./bin/mydumper'"),
    ("chunk-filesize", "'64'"),
    ("statement-size", "0"),
    ("rows", "0"),
    ("where", "''"),
    ("skip-tz-utc", "true"),
    ("extra-args", "''"),
    ("dir", "'./dumped_data.merge1'"),
    ("sorting-dir-physical", "'./dumped_data.merge1.sorting'"),
    ("on-duplicate", "''"),
    ("on-duplicate-logical", "'replace'"),
    ("on-duplicate-physical", "'none'"),
    ("disk-quota-physical", "0"),
    ("checksum-physical", "'required'"),
    ("analyze", "'optional'"),
    ("range-concurrency", "0"),
    ("compress-kv-pairs", "''"),
    ("pd-addr", "''"),
    ("meta-file", "''"),
    ("batch", "100"),
    ("queue-size", "1024"),
    ("checkpoint-flush-interval", "30"),
    ("compact", "false"),
    ("multiple-rows", "false"),
    ("max-retry", "0"),
    ("auto-fix-gtid", "false"),
    ("enable-gtid", "false"),
    ("disable-detect", "false"),
    ("safe-mode", "false"),
    ("safe-mode-duration", "'60s'"),
    ("enable-ansi-quotes", "false"),
    ("ValidatorCfg.mode", "'none'"),
    ("ValidatorCfg.worker-count", "4"),
    ("ValidatorCfg.validate-interval", "'10s'"),
    ("ValidatorCfg.check-interval", "'5s'"),
    ("ValidatorCfg.row-error-delay", "'30m0s'"),
    ("ValidatorCfg.meta-flush-interval", "'5m0s'"),
    ("ValidatorCfg.batch-query-size", "100"),
    ("ValidatorCfg.max-pending-row-size", "'500m'"),
    ("ValidatorCfg.max-pending-row-count", "2147483647"),
];

/// The file without TLS, and with the pieces that the real server needs; each must be there once.
fn adapted(file: &str, pieces: &[(&str, &str)]) -> String {
    let is_tls = |line: &&str| line.starts_with("  security: ");
    assert_eq!(file.lines().filter(is_tls).count(), 1);
    let lines = file.lines().filter(|line| !is_tls(line));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    pieces.iter().fold(text, |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, to)
    })
}

fn toml_of(text: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
}

/// Paths, such as `a.b[0].c`, and values of all that holds no others with names.
fn leaves(value: &Value, path: &str, found: &mut Leaves) {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        _ => format!("{path}.{name}"),
    };
    match value {
        Value::Object(map) if !map.is_empty() => map
            .iter()
            .for_each(|(name, value)| leaves(value, &below(name), found)),
        Value::Array(list) if list.iter().any(Value::is_object) => list
            .iter()
            .enumerate()
            .for_each(|(at, value)| leaves(value, &format!("{path}[{at}]"), found)),
        _ => drop(found.insert(path.to_owned(), value.clone())),
    }
}

/// What etcd holds under a key, as text.
fn stored(cluster: &Cluster, key: &str) -> String {
    let mut found = cluster.etcd.dump(key);
    assert_eq!(found.len(), 1, "{key}");
    String::from_utf8(found.remove(0).value).unwrap()
}

/// The record under a key, path by path.
fn record(cluster: &Cluster, key: &str) -> Leaves {
    let mut found = Leaves::new();
    leaves(&toml_of(&stored(cluster, key)), "", &mut found);
    found
}

/// Adds rows, but none of TLS; later ones go over earlier ones.
fn add(expected: &mut Leaves, rows: impl Iterator<Item = (&'static str, &'static str)>) {
    let [gone, there] = TARGET_VARIABLE;
    for (path, value) in rows.filter(|(path, _)| !path.contains(".security.")) {
        let value = toml_of(&format!("v = {value}"))["v"].take();
        expected.insert(path.replace(gone, there), value);
    }
}

/// Key by key, so that a failure names the key.
fn assert_same(mut stored: Leaves, expected: &Leaves) {
    for (path, value) in expected {
        assert_eq!(stored.remove(path).as_ref(), Some(value), "{path}");
    }
    assert_eq!(stored, Leaves::new(), "keys that nothing explains");
}

/// A server, a cluster of two workers, and the answer to the start of the task.
struct Started {
    db: MariaDb,
    cluster: Cluster,
    answer: pb::StartTaskResponse,
    _workers: [Fake; 2],
}

impl Started {
    /// Both files go in, for two sources on one server that is the target as well.
    async fn new() -> Self {
        let db = database("every").await;
        let mut cluster = Cluster::start().await;
        let workers = [cluster.worker("w1").await, cluster.worker("w2").await];
        let port = format!("port: {}", db.port());
        let user = format!("user: {}", mariadb::USER);
        let password = format!("password: {}", db.password());
        let first = adapted(
            SOURCE_FILE,
            &[
                ("flavor: mysql", "flavor: mariadb"),
                ("\"3ccc475b-2343-11e7-be21-6c0b84d59f30:1-14\"", "0-1-14"),
                ("port: 3306", &port),
                ("user: dm", &user),
                ("password: \"456\"", &password),
            ],
        );
        let second =
            format!("source-id: mysql-02\nfrom: {{host: 127.0.0.1, {port}, {user}, {password}}}\n");
        let request = pb::OperateSourceRequest {
            op: pb::SourceOp::StartSource.into(),
            config: vec![first, second],
            ..Default::default()
        };
        let answer = cluster.client.operate_source(request).await.unwrap();
        let answer = answer.into_inner();
        assert!(answer.result, "{}", answer.msg);
        cluster.bounds("w1-mysql-01 w2-mysql-02").await;
        let [gone, there] = TARGET_VARIABLE;
        let pieces = [
            ("port: 4000", port.as_str()),
            ("user: root", &user),
            ("password: \"123\"", &password),
            (gone, there),
        ];
        let request = pb::StartTaskRequest {
            task: adapted(TASK_FILE, &pieces),
            ..Default::default()
        };
        let answer = cluster.client.start_task(request).await.unwrap();
        Self {
            answer: answer.into_inner(),
            db,
            cluster,
            _workers: workers,
        }
    }

    /// Adds what a record says of the server.
    fn add_login(&self, expected: &mut Leaves, section: &str) {
        for (key, value) in [
            ("host", json!("127.0.0.1")),
            ("port", json!(self.db.port())),
            ("user", json!(mariadb::USER)),
            ("password", json!(self.db.password())),
        ] {
            expected.insert(format!("{section}.{key}"), value);
        }
    }

    fn check_source(&self) {
        let mut expected = Leaves::new();
        add(&mut expected, SOURCE.iter().map(|row| (row.2, row.3)));
        self.add_login(&mut expected, "from");
        expected.insert("flavor".into(), json!("mariadb"));
        expected.insert("relay-binlog-gtid".into(), json!("0-1-14"));
        let key = format!("/dm-master/v2/upstream/config/{FIRST}");
        assert_same(record(&self.cluster, &key), &expected);
    }

    fn check_subtask(&self, source: &str, mut expected: Leaves) -> [Value; 2] {
        add(&mut expected, FILLED_IN.iter().copied());
        self.add_login(&mut expected, "from");
        self.add_login(&mut expected, "to");
        let key = format!("/dm-master/upstream/subtask/{source}/{MERGE}");
        let mut stored = record(&self.cluster, &key);
        let made_up = ["uuid", "dump-uuid"].map(|path| stored.remove(path).unwrap());
        assert_same(stored, &expected);
        made_up
    }

    fn check_first_subtask(&self) -> [Value; 2] {
        let mut expected = Leaves::new();
        let from = SOURCE.iter().filter(|row| row.2.starts_with("from."));
        add(&mut expected, from.map(|row| (row.2, row.3)));
        let own = TASK.iter().filter(|row| !row.2.starts_with("second."));
        add(&mut expected, own.map(|row| (row.2, row.3)));
        self.check_subtask(FIRST, expected)
    }

    fn check_second_subtask(&self) -> [Value; 2] {
        let mut expected = Leaves::new();
        let is_shared = |key: &str| !OF_THE_FIRST.iter().any(|name| key.starts_with(name));
        let shared = TASK.iter().filter(|row| is_shared(row.0));
        let shared = shared.filter(|row| !row.2.starts_with("second."));
        add(&mut expected, shared.map(|row| (row.2, row.3)));
        add(&mut expected, DEFAULTS.iter().copied());
        let own = |row: &rows::Row| Some((row.2.strip_prefix("second.")?, row.3));
        add(&mut expected, TASK.iter().filter_map(own));
        self.check_subtask(SECOND, expected)
    }

    /// Every record that is not TOML, and that there are no others.
    fn check_other_records(&self) {
        let expected = BTreeMap::from([
            (
                "bound-worker/7731".into(),
                json!({"source": "mysql-01", "worker": "w1"}),
            ),
            (
                "bound-worker/7732".into(),
                json!({"source": "mysql-02", "worker": "w2"}),
            ),
            (
                "last-bound-worker/7731".into(),
                json!({"source": "mysql-01", "worker": "w1"}),
            ),
            (
                "last-bound-worker/7732".into(),
                json!({"source": "mysql-02", "worker": "w2"}),
            ),
            (
                format!("lightning-coord/{MERGE}/{FIRST}"),
                json!("not-ready"),
            ),
            (
                format!("lightning-coord/{MERGE}/{SECOND}"),
                json!("not-ready"),
            ),
            (
                format!("stage/subtask/{FIRST}/{MERGE}"),
                json!({"expect": 2, "source": "mysql-01", "task": "merge1"}),
            ),
            (
                format!("stage/subtask/{SECOND}/{MERGE}"),
                json!({"expect": 2, "source": "mysql-02", "task": "merge1"}),
            ),
            // Only the first source names a validator.
            (
                format!("stage/validator/{FIRST}/{MERGE}"),
                json!({"expect": 2, "source": "mysql-01", "task": "merge1"}),
            ),
            // Only the first source has `enable-relay`.
            (
                format!("v2/stage/relay/{FIRST}"),
                json!({"expect": 2, "source": "mysql-01"}),
            ),
        ]);
        let all = self.cluster.etcd.dump("/dm-master/");
        let told = all.iter().filter_map(|kv| {
            let key = String::from_utf8(kv.key.clone()).unwrap();
            let key = key.strip_prefix("/dm-master/").unwrap().to_owned();
            let is_other = ["upstream/", "v2/upstream/", "leader/", "member/"];
            let is_other = is_other.iter().any(|family| key.starts_with(family));
            (!is_other).then(|| (key, serde_json::from_slice(&kv.value).unwrap()))
        });
        assert_eq!(told.collect::<Leaves>(), expected);
    }
}

#[tokio::test]
async fn every_key_of_the_files_lies_in_etcd_as_workers_read_it() {
    let started = Started::new().await;
    let answer = &started.answer;
    assert!(answer.result, "{} {}", answer.msg, answer.check_result);
    started.check_source();
    let first = started.check_first_subtask();
    let second = started.check_second_subtask();
    let made_up: BTreeSet<String> = first.iter().chain(&second).map(Value::to_string).collect();
    assert_eq!(made_up.len(), 4, "{made_up:?}");
    // With quotation marks.
    assert!(made_up.iter().all(|uuid| uuid.len() == 38), "{made_up:?}");
    started.check_other_records();
}

#[tokio::test]
async fn what_users_are_shown_of_them_has_no_password_and_what_lies_in_etcd_is_told_as_it_is() {
    let mut started = Started::new().await;
    let client = &mut started.cluster.client;
    for (kind, name) in [
        (CfgType::TaskType, "merge1"),
        (CfgType::SourceType, "mysql-01"),
    ] {
        let request = pb::GetCfgRequest {
            r#type: kind.into(),
            name: name.into(),
        };
        let shown = client.get_cfg(request).await.unwrap().into_inner();
        assert!(shown.result, "{}", shown.msg);
        assert_eq!(
            shown.cfg.matches("password: '******'").count(),
            1,
            "{}",
            shown.cfg
        );
        assert!(!shown.cfg.contains(started.db.password()), "{}", shown.cfg);
    }
    // Only programs ask for these; as in DM, they get the records.
    let request = pb::GetSubTaskCfgRequest {
        name: "merge1".into(),
    };
    let told = client.get_sub_task_cfg(request).await.unwrap();
    let keys = [FIRST, SECOND].map(|id| format!("/dm-master/upstream/subtask/{id}/{MERGE}"));
    let stored = keys.map(|key| stored(&started.cluster, &key));
    assert_eq!(told.into_inner().cfgs, stored);
}
