//! Source files as users write them.

use dm_errors::Code;
use dm_task::SourceConfig;

const FILE: &str = "\
source-id: mysql-01
enable-gtid: yes
from: {host: 10.0.0.2, port: 03306, user: dm, password: 0123}
purge: {interval: 3600, expires: 24, remain-space: 15}
checker: {check-enable: true, backoff-rollback: 5m, backoff-max: 5m, backoff-min: 10s}
filters:
  - {schema-pattern: \"*\", events: [\"Drop Schema\"], action: Ignore}
";

fn refused(text: &str) -> dm_errors::DmError {
    SourceConfig::from_yaml("source1.yaml", text).expect_err("the file is wrong")
}

#[test]
fn a_file_becomes_the_record_of_etcd() {
    let mut config = SourceConfig::from_yaml("source1.yaml", FILE).unwrap();
    config.complete("mysql", 429_523_137);
    let expected = r#"enable = true
enable-gtid = true
auto-fix-gtid = false
relay-dir = "relay-dir"
meta-dir = ""
flavor = "mysql"
charset = ""
enable-relay = false
relay-binlog-name = ""
relay-binlog-gtid = ""
source-id = "mysql-01"
server-id = 429523137
case-sensitive = false

[from]
host = "10.0.0.2"
port = 1734
user = "dm"
password = "0123"

[purge]
interval = 3600
expires = 24
remain-space = 15

[checker]
check-enable = true
backoff-rollback = "5m0s"
backoff-max = "5m0s"
check-interval = "5s"
backoff-min = "1s"
backoff-jitter = true
backoff-factor = 2.0

[[filters]]
schema-pattern = "*"
table-pattern = ""
events = ["drop database"]
action = "Ignore"
"#;
    assert_eq!(config.to_toml().unwrap(), expected);
    assert_eq!(SourceConfig::from_toml(expected).unwrap(), config);
}

#[test]
fn every_documented_key_is_accepted() {
    let text = "\
enable: true\nenable-gtid: off\nauto-fix-gtid: true\nrelay-dir: r\nmeta-dir: m\nflavor: mariadb\ncharset: c
enable-relay: true\nrelay-binlog-name: mysql-bin.000004\nrelay-binlog-gtid: 0-1-2\nsource-id: s\nserver-id: 0x65
case-sensitive: true
from:
  host: h\n  port: 1\n  user: u\n  password: p\n  max-allowed-packet: null\n  session: {a: 1, b: on}
  security: {ssl-ca: a, ssl-cert: b, ssl-key: c, cert-allowed-cn: [x], ssl-ca-bytes: [1], ssl-key-bytes: [2], ssl-cert-bytes: [3], ssl-ca-base64: a, ssl-key-base64: b, ssl-cert-base64: c}
purge:
checker: {check-enable: true, backoff-rollback: 1s, backoff-max: 1s, check-interval: 1s, backoff-min: 1s, backoff-jitter: true, backoff-factor: 2}
tracer: {enable: false, x: {y: 1}}
filters: [{schema-pattern: s, table-pattern: t, events: [], sql-pattern: [x], action: Do}]
";
    let config = SourceConfig::from_yaml("", text).unwrap();
    let session = config.from.session.clone().unwrap();
    assert_eq!((session["a"].as_str(), session["b"].as_str()), ("1", "on"));
    assert_eq!(
        (
            config.purge.interval,
            config.server_id,
            config.auto_fix_gtid
        ),
        (0, 101, false)
    );
    assert_eq!(
        SourceConfig::from_toml(&config.to_toml().unwrap()).unwrap(),
        config
    );
}

#[test]
fn form_errors_name_file_line_key_and_what_is_allowed_all_at_once() {
    let error =
        refused("source-id: s\nfrom:\n  hots: h\n  port: '3306'\nenable-gtid: 1\nsource-id: t\n");
    assert_eq!(
        (error.code(), error.message_text()),
        (Code::CONFIG_YAML_TRANSFORM, "decode source config")
    );
    assert_eq!(
        error.raw_cause(),
        "source1.yaml: yaml: unmarshal errors:\n  line 3: field hots not found in type dbconfig.DBConfig (allowed: host, \
         port, user, password, max-allowed-packet, session, security)\n  line 4: cannot unmarshal !!str `3306` into i64 \
         (key port)\n  line 5: cannot unmarshal !!int `1` into bool, one of true, false, yes, no, on, off (key \
         enable-gtid)\n  line 6: field source-id already set in type config.SourceConfig"
    );
}

#[test]
fn what_is_missing_or_out_of_range_has_its_code_and_place() {
    let long = "x".repeat(33);
    let cases = [
        (
            "enable: true\n".to_owned(),
            Code::WORKER_NEED_SOURCE_ID,
            "source1.yaml: key `source-id`: it is required, 1 to 32 bytes",
        ),
        (
            format!("enable: true\nsource-id: {long}\n"),
            Code::WORKER_TOO_LONG_SOURCE_ID,
            "source1.yaml: line 2: key `source-id`: 1 to 32 bytes are allowed",
        ),
        (
            "source-id: s\nrelay-binlog-name: x\n".into(),
            Code::WORKER_RELAY_BINLOG_NAME,
            "source1.yaml: line 2: key `relay-binlog-name`: a name such as mysql-bin.000001 is allowed",
        ),
        (
            "source-id: s\nflavor: oracle\n".into(),
            Code::NOT_SUPPORTED_FLAVOR,
            "source1.yaml: line 2: key `flavor`: allowed are mysql and mariadb",
        ),
        (
            "source-id: s\nchecker:\n  backoff-max: 10ms\n".into(),
            Code::CONFIG_CHECKER_MAX_TOO_SMALL,
            "source1.yaml: line 3: key `checker.backoff-max`: it must be 1s or more",
        ),
        (
            "source-id: s\nchecker:\n".into(),
            Code::CONFIG_CHECKER_MAX_TOO_SMALL,
            "source1.yaml: line 2: key `checker.backoff-max`: it must be 1s or more",
        ),
    ];
    for (text, code, cause) in cases {
        let error = refused(&text);
        assert_eq!((error.code(), error.raw_cause()), (code, cause), "{text}");
    }
}

#[test]
fn an_unknown_key_in_the_record_is_named() {
    let error = SourceConfig::from_toml(
        "source-id = 's'\nx = 1\n[from]\ny = 2\n[checker]\nbackoff-max = '1s'\n",
    )
    .unwrap_err();
    assert_eq!(
        (error.code(), error.message_text()),
        (
            Code::WORKER_UNDECODED_ITEM_FROM_FILE,
            "worker config contains unknown configuration options: x,from.y"
        )
    );
}

#[test]
fn no_error_and_no_debug_text_shows_the_password() {
    let config = SourceConfig::from_yaml("f", FILE).unwrap();
    assert!(!format!("{config:?}").contains("0123"));
    assert!(
        config
            .masked()
            .to_toml()
            .unwrap()
            .contains("password = \"******\"")
    );
    let error =
        SourceConfig::from_toml("source-id = 's'\n[from]\npassword = 'hunter2' x\n").unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}
