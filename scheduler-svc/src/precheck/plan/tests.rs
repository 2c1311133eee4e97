//! Which checks there are, by mode and by what is ignored.

use std::collections::BTreeMap;

use super::super::facts::{Position, Server};
use super::super::report::Trouble;
use super::super::scope::Scope;
use super::*;

fn candidate(mode: &str, shard_mode: &str) -> Candidate {
    Candidate {
        subtask: SubtaskConfig {
            source_id: "s".into(),
            mode: mode.into(),
            shard_mode: shard_mode.into(),
            online_ddl: true,
            ..SubtaskConfig::default()
        },
        flavor: "mysql".into(),
        enable_gtid: false,
        uses_relay: false,
    }
}

fn upstream(table: &str, position: Option<Position>) -> Upstream {
    let mut scope = Scope::default();
    let target = TableName::new("b", "t");
    scope
        .targets
        .insert(target, vec![TableName::new("a", table)]);
    Upstream {
        server: Server::new("h:1"),
        listing: BTreeMap::new(),
        scope,
        binlog_filter: Err(Trouble::new("not asked")),
        definitions: BTreeMap::new(),
        position,
        data_size: Ok(0),
    }
}

fn names(candidate: &Candidate, ignored: &[&str], position: Option<Position>) -> Vec<String> {
    let ignored: Vec<String> = ignored.iter().map(|i| (*i).to_owned()).collect();
    let candidates = [candidate.clone(), candidate.clone()];
    let sources = [upstream("t1", position.clone()), upstream("t2", position)];
    let target = Downstream {
        server: Server::new("h:2"),
        definitions: BTreeMap::new(),
        is_fresh: Ok(true),
        cluster: Some(physical::Cluster {
            stores: Ok(Vec::new()),
            components: Ok(Vec::new()),
            replicas: Ok(3),
            mutex: Ok(physical::Mutex::default()),
            filled: BTreeMap::new(),
        }),
    };
    let all = checks(&Items::but(&ignored), &candidates, &sources, &target);
    all.into_iter().map(|check| check.name).collect()
}

const SYNC: [&str; 7] = [
    "mysql_server_id",
    "mysql_binlog_enable",
    "mysql_binlog_format",
    "mysql_binlog_row_image",
    "source db replication privilege checker",
    "online ddl checker",
    "binlog_do_db/binlog_ignore_db check",
];

#[test]
fn mode_all_has_the_checks_of_dump_load_and_sync_in_their_order() {
    let mut one = vec!["mysql_version", "source db dump privilege checker"];
    one.extend(SYNC);
    let mut expected = vec![
        "dumper_conn_number_checker",
        "dumper_conn_number_checker",
        "loader_conn_number_checker",
        "target db privilege checker",
    ];
    expected.extend(one.clone());
    expected.extend(one);
    expected.push("table structure compatibility check");
    assert_eq!(names(&candidate("all", ""), &[], None), expected);
    expected.push("sharding table `b`.`t` consistency checking");
    assert_eq!(names(&candidate("all", "pessimistic"), &[], None), expected);
}

#[test]
fn each_mode_has_only_what_concerns_it() {
    let of = |mode: &str, position| names(&candidate(mode, "pessimistic"), &[], position);
    let dump = of("dump", None);
    assert!(dump.iter().all(|name| !SYNC.contains(&name.as_str())));
    assert!(!dump.contains(&"loader_conn_number_checker".to_owned()));
    let incremental = of("incremental", Some(Position::Good));
    assert!(incremental.contains(&"meta position check".to_owned()));
    for name in [
        "dumper_conn_number_checker",
        "loader_conn_number_checker",
        "source db dump privilege checker",
        "sharding table `b`.`t` consistency checking",
    ] {
        assert!(!incremental.contains(&name.to_owned()), "{name}");
    }
    let load = of("load", None);
    assert!(load.contains(&"loader_conn_number_checker".to_owned()));
    assert!(load.iter().all(|name| !SYNC.contains(&name.as_str())));
}

#[test]
fn ignored_items_leave_no_trace() {
    let items = [
        ("conn_number", "dumper_conn_number_checker"),
        ("target_privilege", "target db privilege checker"),
        ("version", "mysql_version"),
        ("dump_privilege", "source db dump privilege checker"),
        ("server_id", "mysql_server_id"),
        ("binlog_enable", "mysql_binlog_enable"),
        ("binlog_format", "mysql_binlog_format"),
        ("binlog_row_image", "mysql_binlog_row_image"),
        (
            "replication_privilege",
            "source db replication privilege checker",
        ),
        ("online_ddl", "online ddl checker"),
        ("binlog_db", "binlog_do_db/binlog_ignore_db check"),
        ("table_schema", "table structure compatibility check"),
        (
            "schema_of_shard_tables",
            "sharding table `b`.`t` consistency checking",
        ),
        ("free_space", "lightning_free_space"),
        ("empty_region", "lightning_empty_region"),
        ("region_distribution", "lightning_region_distribution"),
        ("downstream_version", "lightning_cluster_version"),
        (
            "downstream_mutex_features",
            "lightning_downstream_mutex_features",
        ),
        ("downstream_table_empty", "lightning_downstream_empty_table"),
    ];
    let mut candidate = candidate("all", "pessimistic");
    candidate.subtask.loader.import_mode = "physical".into();
    let all = names(&candidate, &[], None);
    for (item, name) in items {
        assert!(all.contains(&name.to_owned()), "{name}");
        let rest = names(&candidate, &[item], None);
        assert!(!rest.contains(&name.to_owned()), "{item}");
    }
}

#[test]
fn a_position_is_tried_only_where_replication_begins_from_it() {
    let with = |mode: &str, name: &str, gtid: &str| {
        let mut candidate = candidate(mode, "");
        candidate.subtask.meta = Some(Meta {
            binlog_name: name.into(),
            binlog_gtid: gtid.into(),
            ..Meta::default()
        });
        candidate
    };
    assert!(with("incremental", "bin.1", "").has_position());
    assert!(with("load&sync", "bin.1", "").has_position());
    assert!(!with("all", "bin.1", "").has_position());
    assert!(!with("incremental", "", "0-1-1").has_position());
    let mut by_gtid = with("incremental", "", "0-1-1");
    by_gtid.enable_gtid = true;
    assert!(by_gtid.has_position());
    by_gtid.uses_relay = true;
    assert!(!by_gtid.has_position());
    // What stands for --start-time is no file of any server.
    assert!(!with("incremental", Meta::AT_START_TIME, "").has_position());
    assert!(!candidate("incremental", "").has_position());
}
