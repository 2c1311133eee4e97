//! Configurations as `config source`, `config task` and `config export` show them.

use std::collections::BTreeMap;

use dm_keyspace::SourceId;
use dm_task::task::{exported_yaml, shown_yaml};
use dm_task::{Secret, SourceConfig, SubtaskConfig, TaskConfig};

const SOURCE: &str = r#"
source-id: mysql-01
enable-gtid: true
tracer: {}
from: {host: 10.0.0.2, port: 3306, user: dm, password: s3cret, session: {}, security: {ssl-ca: /ca, ssl-key-bytes: [1, 2], ssl-cert-bytes: [], ssl-ca-bytes: [], cert-allowed-cn: []}}
filters:
  - {schema-pattern: "*", events: [], sql-pattern: ["^DROP"], action: Ignore}
"#;

fn source(id: &str) -> SourceConfig {
    let mut source =
        SourceConfig::from_yaml("", &SOURCE.replace("mysql-01", id)).expect("a good file");
    source.complete("mysql", 429_523_137);
    source
}

#[test]
fn a_source_is_shown_with_every_key_and_without_secrets() {
    let shown = source("mysql-01").to_shown_yaml().expect("yaml");
    let expected = r#"enable: true
enable-gtid: true
auto-fix-gtid: false
relay-dir: relay-dir
meta-dir: ""
flavor: mysql
charset: ""
enable-relay: false
relay-binlog-name: ""
relay-binlog-gtid: ""
source-id: mysql-01
from:
  host: 10.0.0.2
  port: 3306
  user: dm
  password: '******'
  max-allowed-packet: null
  session: {}
  security:
    ssl-ca: /ca
    ssl-cert: ""
    ssl-key: ""
    cert-allowed-cn: []
    ssl-ca-bytes: []
    ssl-key-bytes: []
    ssl-cert-bytes: []
    ssl-ca-base64: ""
    ssl-key-base64: ""
    ssl-cert-base64: ""
purge:
  interval: 3600
  expires: 0
  remain-space: 15
checker:
  check-enable: true
  backoff-rollback: 5m0s
  backoff-max: 5m0s
  check-interval: 5s
  backoff-min: 1s
  backoff-jitter: true
  backoff-factor: 2
server-id: 429523137
tracer: {}
case-sensitive: false
filters:
- schema-pattern: '*'
  table-pattern: ""
  events: []
  sql-pattern:
  - ^DROP
  action: Ignore
"#;
    assert_eq!(shown, expected);
}

#[test]
fn an_exported_source_makes_the_same_source_again() {
    let source = source("mysql-01");
    let file = source
        .to_exported_yaml(source.from.password.clone())
        .expect("yaml");
    assert!(
        !file.contains("auto-fix-gtid") && !file.contains("case-sensitive"),
        "{file}"
    );
    let again = SourceConfig::from_yaml("", &file).expect("the file can be imported");
    assert_eq!(again.to_toml().unwrap(), source.to_toml().unwrap());
}

const TASK: &str = r#"
name: t1
task-mode: all
shard-mode: optimistic
strict-optimistic-shard-mode: true
ignore-checking-items: [version]
timezone: "+08:00"
target-database: {host: 10.0.0.1, port: 4000, user: root, password: "s3cret", session: {sql_mode: "ANSI_QUOTES"}}
online-ddl: false
mysql-instances:
  - {source-id: s2, route-rules: [r1, r2], block-allow-list: l1, meta: {binlog-name: bin.000001, binlog-pos: 4}}
  - {source-id: s1, route-rules: [r2], filter-rules: [f1], expression-filters: [e1], validator-config-name: v1, syncer-thread: 3}
routes:
  r1: {schema-pattern: a*, target-schema: b, extract-table: {table-regexp: "t_(.*)", target-column: c}}
  r2: {schema-pattern: x*, table-pattern: t*, target-schema: b, target-table: t}
filters:
  f1: {schema-pattern: a*, events: [drop table], sql-pattern: [], action: Ignore}
expression-filter:
  e1: {schema: a, table: t, insert-value-expr: "c > 1"}
block-allow-list:
  l1: {do-dbs: [a1, "~^x"], do-tables: [], ignore-dbs: [], ignore-tables: [{db-name: a1, tbl-name: y}]}
validators:
  v1: {mode: full, worker-count: 8}
"#;

fn split(text: &str) -> Vec<SubtaskConfig> {
    let sources: BTreeMap<SourceId, SourceConfig> = ["s1", "s2"]
        .into_iter()
        .map(|id| (id.into(), source(id)))
        .collect();
    let task = TaskConfig::from_yaml("", text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut subtasks = task.split(&sources).expect("subtasks");
    subtasks.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    // What lies in etcd is what there is to be shown.
    subtasks
        .iter()
        .map(|s| SubtaskConfig::from_toml(&s.to_toml().expect("toml")).expect("a subtask"))
        .collect()
}

#[test]
fn a_task_is_shown_with_made_up_names_and_without_secrets() {
    let shown = shown_yaml(&split(TASK)).expect("yaml").expect("a task");
    assert!(!shown.contains("s3cret"), "{shown}");
    let expected = r#"mysql-instances:
- source-id: s1
  meta: null
  filter-rules:
  - filter-01
  column-mapping-rules: []
  route-rules:
  - route-01
  expression-filters:
  - expr-filter-01
  black-white-list: ""
  block-allow-list: ""
  mydumper-config-name: dump-01
  mydumper: null
  mydumper-thread: 0
  loader-config-name: load-01
  loader: null
  loader-thread: 0
  syncer-config-name: sync-01
  syncer: null
  syncer-thread: 0
  validator-config-name: validator-01
- source-id: s2
  meta:
    binlog-name: bin.000001
    binlog-pos: 4
    binlog-gtid: ""
"#;
    assert!(shown.contains(expected), "{shown}");
    assert!(shown.starts_with("name: t1\ntask-mode: all\n"));
    assert!(
        shown.contains(
            "    dir: ./dumped_data\n    sorting-dir-physical: ./dumped_data.t1.sorting\n"
        )
    );
    assert!(shown.ends_with("clean-dump-file: true\nansi-quotes: false\nremove-meta: false\nexperimental:\n  async-checkpoint-flush: false\n"), "{shown}");
    assert_eq!(shown_yaml(&[]).unwrap(), None);
}

#[test]
fn what_is_shown_is_a_task_file_but_for_the_password() {
    let subtasks = split(TASK);
    let shown = shown_yaml(&subtasks).unwrap().unwrap();
    assert!(
        split(&shown.replace("'******'", "s3cret")) == subtasks,
        "{shown}"
    );
}

#[test]
fn an_exported_task_makes_the_same_subtasks_again() {
    for text in [
        TASK.to_owned(),
        TASK.replace("mode: full", "mode: none")
            .replace("worker-count: 8", "worker-count: 4"),
    ] {
        let subtasks = split(&text);
        let file = exported_yaml(&subtasks, &Secret::from("s3cret"))
            .unwrap()
            .unwrap();
        assert!(split(&file) == subtasks, "{file}");
        assert_eq!(file.contains("validators"), text.contains("full"), "{file}");
        assert!(
            !file.contains("experimental") && !file.contains("range-concurrency"),
            "{file}"
        );
    }
}
