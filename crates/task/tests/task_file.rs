//! Task files as users write them, and the subtasks they become.

use std::collections::BTreeMap;

use dm_errors::{Class, Code, DmError};
use dm_keyspace::SourceId;
use dm_task::{SourceConfig, SubtaskConfig, TaskConfig};

const MINIMAL: &str = "\
name: t1
task-mode: all
target-database: {host: 10.0.0.1, port: 4000, user: root, password: \"\"}
mysql-instances:
  - source-id: mysql-01
";

const FULL: &str = r#"
name: merge1
task-mode: all
is-sharding: false
shard-mode: optimistic
strict-optimistic-shard-mode: false
ignore-checking-items: [version, online_ddl]
meta-schema: dm_meta
enable-heartbeat: true
heartbeat-update-interval: 2
heartbeat-report-interval: 3
timezone: "+08:00"
case-sensitive: false
collation_compatible: loose
online-ddl: true
online-ddl-scheme: pt
shadow-table-rules: ['^_(.+)_(?:new|gho)$']
trash-table-rules: ['^_(.+)_(?:ghc|del|old)$']
clean-dump-file: true
ansi-quotes: false
remove-meta: false
target-database:
  host: 10.0.0.1
  port: 4000
  user: root
  password: "secret"
  session: {sql_mode: "ANSI_QUOTES", tidb_skip_utf8_check: 1}
  security: {ssl-ca: /tls/ca.pem, ssl-cert: /tls/c.pem, ssl-key: /tls/k.pem, cert-allowed-cn: [tidb]}
mysql-instances:
  - source-id: mysql-01
    meta: {binlog-name: bin.000001, binlog-pos: 4, binlog-gtid: ""}
    route-rules: [r1]
    filter-rules: [f1]
    block-allow-list: l1
    expression-filters: [e1]
    mydumper-config-name: global
    loader-config-name: global
    syncer-config-name: global
    validator-config-name: v1
  - source-id: mysql-02
    route-rules: [r1]
    black-white-list: l1
    mydumper: {mydumper-path: m, threads: 4, chunk-filesize: 64, statement-size: 1, rows: 2, where: w, skip-tz-utc: false, extra-args: x}
    mydumper-thread: 8
    loader: {pool-size: 1, dir: ./d, sorting-dir-physical: s, import-mode: sql, on-duplicate: x, on-duplicate-logical: Error, on-duplicate-physical: manual, disk-quota-physical: 10G, checksum-physical: off, analyze: off, range-concurrency: 1, compress-kv-pairs: gz, pd-addr: p}
    loader-thread: 17
    syncer: {meta-file: m, worker-count: 1, batch: 2, queue-size: 0, checkpoint-flush-interval: 1, compact: true, multiple-rows: true, max-retry: 1, auto-fix-gtid: true, enable-gtid: true, disable-detect: true, safe-mode: true, safe-mode-duration: "", enable-ansi-quotes: true}
    syncer-thread: 18
routes:
  r1:
    schema-pattern: "Shop_*"
    table-pattern: "order_*"
    target-schema: Shop
    target-table: orders
    extract-table: {table-regexp: "order_(.*)", target-column: c_table}
    extract-schema: {schema-regexp: "shop_(.*)", target-column: c_schema}
    extract-source: {source-regexp: "mysql-(.*)", target-column: c_source}
filters:
  f1: {schema-pattern: "shop_*", table-pattern: "order_*", events: ["Truncate Table", "drop table"], action: Ignore}
block-allow-list:
  l1:
    do-dbs: ["~^shop_\\D+$"]
    do-tables: [{db-name: "~^shop_\\d+$", tbl-name: "Order_*"}]
    ignore-dbs: [x]
    ignore-tables: [{db-name: "a", tbl-name: "b"}]
expression-filter:
  e1: {schema: shop_1, table: order_1, delete-value-expr: "state = 9"}
mydumpers: {global: {threads: 4, chunk-filesize: 64, extra-args: "--consistency none"}}
loaders: {global: {pool-size: 16, dir: ./dumped_data, import-mode: logical}}
syncers: {global: {worker-count: 16, batch: 100, safe-mode: false}}
validators: {v1: {mode: fast, worker-count: 4, validate-interval: 10s, check-interval: 5s, row-error-delay: 30m, meta-flush-interval: 5m, batch-query-size: 1, max-pending-row-size: 1m, max-pending-row-count: 5}}
experimental: {async-checkpoint-flush: true}
"#;

fn sources() -> BTreeMap<SourceId, SourceConfig> {
    let source = |id: &str| {
        let text = format!(
            "source-id: {id}\nfrom: {{host: {id}.example, port: 3306, user: dm, password: pw}}\n"
        );
        (
            SourceId::from(id),
            SourceConfig::from_yaml("", &text).expect("a good source file"),
        )
    };
    [source("mysql-01"), source("mysql-02")].into()
}

fn split(text: &str) -> Result<Vec<SubtaskConfig>, DmError> {
    TaskConfig::from_yaml("task.yaml", text)?.split(&sources())
}

#[test]
fn a_minimal_task_has_every_default() {
    let subtasks = split(MINIMAL).unwrap();
    let text = subtasks[0].to_toml().unwrap();
    let vectors = dm_testkit::vectors().join("etcd-values.json");
    let cases: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(vectors).unwrap()).unwrap();
    let is_default = |case: &&serde_json::Value| {
        case["record"] == "subtask config"
            && case["value"].as_str().unwrap().contains("\nmode = \"all\"")
    };
    let go = cases.as_array().unwrap().iter().find(is_default).unwrap()["value"]
        .as_str()
        .unwrap();
    let table = |text: &str| toml::from_str::<toml::Table>(text).unwrap();
    let (mut ours, mut go) = (table(&text), table(&go.replace("task1", "t1")));
    assert_eq!(
        ours.keys().collect::<Vec<_>>(),
        go.keys().collect::<Vec<_>>()
    );
    for own in ["uuid", "dump-uuid", "from", "to", "source-id"] {
        ours.remove(own).unwrap();
        go.remove(own).unwrap();
    }
    assert_eq!(ours, go);
}

#[test]
fn settings_reach_their_subtask_in_the_form_that_is_stored() {
    let subtasks = split(FULL).unwrap();
    let [first, second] = &subtasks[..] else {
        panic!("{}", subtasks.len())
    };
    assert_eq!(first.route_rules[0].schema_pattern, "shop_*");
    assert_eq!(first.route_rules[0].target_schema, "Shop");
    assert_eq!(
        first.filter_rules[0].events.as_deref().unwrap()[0],
        "truncate table"
    );
    let list = first.block_allow_list.as_ref().unwrap();
    assert_eq!(
        list.do_dbs.as_deref().unwrap()[0],
        "~^shop_\\D+$",
        "regular expressions keep their letter classes"
    );
    assert_eq!(list.do_tables.as_ref().unwrap()[0].tbl_name, "order_*");
    assert_eq!(
        (first.loader.dir.as_str(), first.validator.mode.as_str()),
        ("./dumped_data.merge1", "fast")
    );
    assert_eq!(first.expression_filters[0].delete_value_expr, "state = 9");
    assert_eq!(first.from.host, "mysql-01.example");
    assert_eq!(first.from.session.as_ref().unwrap()["time_zone"], "+08:00");
    assert_eq!(
        (
            second.mydumper.threads,
            second.loader.pool_size,
            second.syncer.worker_count
        ),
        (8, 17, 18)
    );
    assert_eq!(
        (
            second.loader.disk_quota_physical,
            second.loader.import_mode.as_str()
        ),
        (10 << 30, "logical")
    );
    assert_eq!(
        (
            second.syncer.queue_size,
            second.syncer.safe_mode_duration.as_str()
        ),
        (1024, "2s")
    );
    assert!(
        second.block_allow_list.is_some()
            && second.validator.mode == "none"
            && first.experimental.async_checkpoint_flush
    );
    for subtask in &subtasks {
        assert_eq!(
            SubtaskConfig::from_toml(&subtask.to_toml().unwrap()).unwrap(),
            *subtask
        );
        assert!(!format!("{subtask:?}").contains("secret"));
    }
}

/// The minimal task with one line changed or added, and what is answered.
fn answer(find: &str, replace: &str) -> (Code, String) {
    assert!(MINIMAL.contains(find), "{find}");
    let error = split(&MINIMAL.replacen(find, replace, 1)).expect_err("the file is wrong");
    assert_eq!(error.error_class(), Class::DmMaster);
    (error.code(), error.raw_cause().to_owned())
}

/// What is replaced by what in the minimal task, the code of the answer and its cause.
const MISTAKES: &[(&str, &str, Code, &str)] = &[
    (
        "name: t1\n",
        "",
        Code::CONFIG_NEED_UNIQUE_TASK_NAME,
        "task.yaml: key `name`: it is required",
    ),
    (
        "all",
        "al",
        Code::CONFIG_INVALID_TASK_MODE,
        "task.yaml: line 2: key `task-mode`: allowed are full, incremental, all, dump, load, load&sync",
    ),
    (
        "task-mode: all\n",
        "task-mode: all\nshard-mode: x\n",
        Code::CONFIG_SHARD_MODE_NOT_SUPPORT,
        "task.yaml: line 3: key `shard-mode`: allowed are pessimistic, optimistic and empty",
    ),
    (
        "mysql-01\n",
        "mysql-01\n  - source-id: mysql-01\n",
        Code::CONFIG_MYSQL_INST_SAME_SOURCE_ID,
        "task.yaml: line 6: key `mysql-instances[1].source-id`: each source is allowed once",
    ),
    (
        "mysql-01\n",
        "mysql-09\n",
        Code::CONFIG_SOURCE_ID_NOT_FOUND,
        "task.yaml: line 5: key `mysql-instances[0].source-id`: known sources: [mysql-01 mysql-02]",
    ),
    (
        "mysql-01\n",
        "mysql-01\n    route-rules: [r1]\n",
        Code::CONFIG_ROUTE_RULE_NOT_FOUND,
        "task.yaml: line 6: key `mysql-instances[0].route-rules`: nothing of the kind is defined",
    ),
    (
        "mysql-01\n",
        "mysql-01\nroutes: {r1: {schema-pattern: a, target-schema: b}}\n",
        Code::CONFIG_GLOBAL_CONFIGS_UNUSED,
        "task.yaml: line 6: key `routes.r1`: only what an instance uses is allowed",
    ),
    (
        "mysql-01\n",
        "mysql-01\n    route-rules: [r1]\nroutes: {r1: {schema-pattern: a*b, target-schema: b}}\n",
        Code::CONFIG_GEN_TABLE_ROUTER,
        "task.yaml: line 7: key `routes.r1`: schema-pattern and target-schema are required; names with `*` at the end, `?`, `[a-z]` and `[!a-z]` are allowed, and regular expressions after `~` (pattern a*b not valid: `*` is allowed only as the last character)",
    ),
    (
        "  - source-id: mysql-01\n",
        "  - meta: {}\n",
        Code::CONFIG_EMPTY_SOURCE_ID,
        "task.yaml: line 5: key `mysql-instances[0].source-id`: it is required",
    ),
    (
        "  - source-id: mysql-01\n",
        "  -\n",
        Code::CONFIG_MYSQL_INST_NOT_FOUND,
        "task.yaml: line 5: key `mysql-instances[0]`: an entry with source-id is required",
    ),
    (
        "mysql-01\n",
        "mysql-01\ntimezone: SYSTEM\n",
        Code::CONFIG_INVALID_TIMEZONE,
        "task.yaml: line 6: key `timezone`: a name such as Asia/Shanghai or an offset such as +08:00 is allowed",
    ),
];

#[test]
fn mistakes_have_dms_code_and_name_file_line_and_key() {
    for &(find, replace, code, cause) in MISTAKES {
        assert_eq!(answer(find, replace), (code, cause.to_owned()), "{replace}");
    }
}

#[test]
fn other_mistakes_have_dms_code() {
    let with = |text: &str| answer("mysql-01\n", &format!("mysql-01\n{text}\n")).0;
    assert_eq!(with("    meta: {binlog-pos: 4}"), Code::CONFIG_META_INVALID);
    assert_eq!(
        with("    loader: {}\n    loader-config-name: x"),
        Code::CONFIG_LOADER_CFG_CONFLICT
    );
    assert_eq!(
        with("    syncer-config-name: x"),
        Code::CONFIG_SYNCER_CFG_NOT_FOUND
    );
    assert_eq!(
        with("    validator-config-name: x"),
        Code::CONTINUOUS_VALIDATOR_CFG_NOT_FOUND
    );
    assert_eq!(
        with("    block-allow-list: x"),
        Code::CONFIG_BA_LIST_NOT_FOUND
    );
    assert_eq!(
        with("    syncer: {safe-mode-duration: x}"),
        Code::CONFIG_INVALID_SAFE_MODE_DURATION
    );
    assert_eq!(
        with("    loader: {import-mode: x}"),
        Code::CONFIG_INVALID_LOAD_MODE
    );
    assert_eq!(
        with("    mydumper: {chunk-filesize: x}"),
        Code::CONFIG_INVALID_CHUNK_FILE_SIZE
    );
    assert_eq!(
        with("ignore-checking-items: [x]"),
        Code::CONFIG_CHECK_ITEM_NOT_SUPPORT
    );
    assert_eq!(
        with("column-mappings: {x: {}}"),
        Code::CONFIG_COLUMN_MAPPING_DEPRECATED
    );
    assert_eq!(
        with("strict-optimistic-shard-mode: true"),
        Code::CONFIG_STRICT_OPTIMISTIC_SHARD_MODE
    );
    assert_eq!(
        with("expression-filter: {e: {schema: s}}"),
        Code::CONFIG_EXPR_FILTER_EMPTY_NAME
    );
    assert_eq!(
        with("expression-filter: {e: {schema: s, table: t, insert-value-expr: a >}}"),
        Code::CONFIG_EXPR_FILTER_WRONG_GRAMMAR
    );
    assert_eq!(
        with(
            "expression-filter: {e: {schema: s, table: t, insert-value-expr: a, delete-value-expr: b}}"
        ),
        Code::CONFIG_EXPR_FILTER_MANY_EXPR
    );
    assert_eq!(
        with("validators: {v: {mode: x}}"),
        Code::CONFIG_VALIDATION_MODE
    );
    assert_eq!(
        with("    route-rules: [r, r]\nroutes: {r: {schema-pattern: a, target-schema: b}}"),
        Code::CONFIG_DUPLICATE_CFG_ITEM
    );
    assert_eq!(
        answer("target-database:", "experimental:").0,
        Code::CONFIG_YAML_TRANSFORM
    );
}

#[test]
fn of_several_mistakes_the_one_that_dm_meets_first_is_told() {
    let with = |text: &str| answer("mysql-01\n", &format!("mysql-01\n{text}\n")).0;
    assert_eq!(
        with("    expression-filters: [x]"),
        Code::CONFIG_EXPR_FILTER_NOT_FOUND
    );
    assert_eq!(
        with("    expression-filters: [x]\n    validator-config-name: x"),
        Code::CONTINUOUS_VALIDATOR_CFG_NOT_FOUND,
        "expressions are looked up last"
    );
}

#[test]
fn duplicates_in_a_list_are_all_listed() {
    let text = MINIMAL.to_owned()
        + "    route-rules: [r, r]\nroutes: {r: {schema-pattern: a, target-schema: b}}\n";
    let error = split(&text).unwrap_err();
    assert!(
        error
            .message_text()
            .ends_with("mysql-instance(0)'s route-rules: r"),
        "{error}"
    );
}

#[test]
fn broken_files_are_refused_with_a_line() {
    for (text, part) in [
        (
            "- a\n",
            "line 1: cannot unmarshal !!seq into config.TaskConfig",
        ),
        ("name: [a\n", "yaml: line "),
        (
            "nmae: x\n",
            "task.yaml: yaml: unmarshal errors:\n  line 1: field nmae not found in type config.TaskConfig (allowed: name, task-mode, ",
        ),
        (
            "routes: {a: {}, a: {}}\n",
            "line 1: key \"a\" already set in map",
        ),
        (
            "shadow-table-rules: x\n",
            "line 1: cannot unmarshal !!str `x` into []string (key shadow-table-rules)",
        ),
    ] {
        let error = TaskConfig::from_yaml("task.yaml", text).unwrap_err();
        assert_eq!(error.code(), Code::CONFIG_YAML_TRANSFORM);
        assert!(error.raw_cause().contains(part), "{text}: {error}");
    }
}

#[test]
fn the_session_of_a_tidb_target_becomes_optimistic() {
    let session = |version: &str| {
        let mut task = TaskConfig::from_yaml(
            "",
            &MINIMAL.replace("user: root", "user: root, session: {SQL_MODE: x}"),
        )
        .unwrap();
        task.adjust_target_session(version);
        task.target_database
            .session
            .unwrap()
            .into_iter()
            .collect::<Vec<_>>()
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        session("5.7.25-TiDB-v3.0.0"),
        [pair("sql_mode", "x"), pair("tidb_txn_mode", "optimistic")]
    );
    assert_eq!(session("5.7.25-TiDB-v2.1.0"), [pair("sql_mode", "x")]);
    assert_eq!(session("10.11.6-MariaDB"), [pair("SQL_MODE", "x")]);
}
