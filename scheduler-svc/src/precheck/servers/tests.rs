//! One test for each item, on facts as servers give them.

use super::super::report::Trouble;
use super::*;

fn server(variables: &[(&str, &str)], grants: &[&str]) -> Server {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Server {
        variables: Ok(variables.iter().map(pair).collect()),
        grants: Ok(grants.iter().map(|g| (*g).to_owned()).collect()),
        connections: Ok(10),
        ..Server::new("h:3306")
    }
}

/// State and texts of a check, in one line.
fn told(check: &Check) -> String {
    let texts: Vec<&str> = check
        .errors
        .iter()
        .map(|e| e.short_error.as_str())
        .collect();
    format!("{:?} {}", check.state, texts.join(" | "))
        .trim_end()
        .to_owned()
}

#[test]
fn version_warns_of_servers_that_are_not_supported_and_fails_for_what_is_no_version() {
    let cases = [
        ("5.7.26-log", "Success"),
        ("8.0.36", "Success"),
        ("8.4.0", "Success"),
        ("5.6", "Success"),
        (
            "10.11.19-MariaDB-0+deb12u1",
            "Warn Migrating from MariaDB is still experimental.",
        ),
        (
            "5.7.25-TiDB-v7.5.0",
            "Warn migration from TiDB not supported",
        ),
        (
            "5.5.62",
            "Warn version suggested at least 5.6.0 but got 5.5.62",
        ),
        (
            "8.5.0",
            "Warn version suggested earlier than 8.5.0 but got 8.5.0",
        ),
        ("nonsense", "Fail invalid version \"nonsense\""),
    ];
    for (version, expected) in cases {
        assert_eq!(
            told(&super::version(&server(&[("version", version)], &[]))),
            expected
        );
    }
    let check = super::version(&server(&[("version", "5.5.1")], &[]));
    assert_eq!(check.extra, "address of db instance - h:3306");
    assert!(!check.instruction.is_empty());
}

#[test]
fn server_id_warns_when_it_is_missing_or_zero() {
    assert_eq!(
        told(&server_id(&server(&[("server_id", "7")], &[]))),
        "Success"
    );
    assert_eq!(
        told(&server_id(&server(&[("server_id", "0")], &[]))),
        "Warn server_id is 0"
    );
    assert_eq!(
        told(&server_id(&server(&[], &[]))),
        "Warn server_id not set"
    );
}

#[test]
fn binlog_enable_format_and_row_image_fail_with_the_value_that_is_there() {
    let off = server(
        &[
            ("version", "8.0.1"),
            ("log_bin", "OFF"),
            ("binlog_format", "MIXED"),
            ("binlog_row_image", "MINIMAL"),
        ],
        &[],
    );
    assert_eq!(
        told(&binlog_enable(&off)),
        "Fail log_bin is OFF, and should be ON"
    );
    assert_eq!(
        told(&binlog_format(&off)),
        "Fail binlog_format is MIXED, and should be ROW"
    );
    assert_eq!(
        told(&binlog_row_image(&off)),
        "Fail binlog_row_image is MINIMAL, and should be FULL"
    );
    let on = server(
        &[
            ("version", "10.1.6-MariaDB"),
            ("log_bin", "ON"),
            ("binlog_format", "ROW"),
            ("binlog_row_image", "full"),
        ],
        &[],
    );
    for check in [
        binlog_enable(&on),
        binlog_format(&on),
        binlog_row_image(&on),
    ] {
        assert_eq!(told(&check), "Success");
    }
    for old in ["5.6.1", "10.1.5-MariaDB"] {
        assert_eq!(
            told(&binlog_row_image(&server(&[("version", old)], &[]))),
            "Success"
        );
    }
}

#[test]
fn binlog_db_names_the_schemas_that_are_not_logged() {
    let check = |do_dbs: &[&str], ignore_dbs: &[&str], case_sensitive| {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let filter = BinlogFilter {
            do_dbs: owned(do_dbs),
            ignore_dbs: owned(ignore_dbs),
        };
        let schemas = BTreeSet::from(["Shop", "stock"]);
        told(&binlog_db(
            &server(&[], &[]),
            &Ok(filter),
            &schemas,
            case_sensitive,
        ))
    };
    assert_eq!(check(&[], &[], false), "Success");
    assert_eq!(check(&["shop", "stock", "x"], &["stock"], false), "Success");
    assert_eq!(
        check(&["shop", "x"], &[], true),
        "Fail these dbs [Shop,stock] are not in binlog_do_db[shop,x]"
    );
    assert_eq!(
        check(&["shop", "x"], &[], false),
        "Fail these dbs [stock] are not in binlog_do_db[shop,x]"
    );
    assert_eq!(
        check(&[], &["stock"], false),
        "Fail these dbs [stock] are in binlog_ignore_db[stock]"
    );
}

#[test]
fn privileges_that_lack_are_a_warning_for_the_target_and_failures_for_a_source() {
    let poor = server(
        &[],
        &["GRANT CREATE, INSERT, UPDATE, DELETE, ALTER, DROP, INDEX ON *.* TO u@h"],
    );
    let check = target_privilege(&poor);
    assert_eq!(told(&check), "Warn lack of Select global (*.*) privilege;");
    assert_eq!(check.errors[0].severity, State::Fail);
    assert_eq!(check.instruction, "You need grant related privileges.");
    let tables = [TableName::new("a", "t")];
    assert_eq!(
        told(&dump_privilege(&poor, "auto", &tables)),
        "Fail lack of Select privilege: {`a`.`t`}; lack of RELOAD global (*.*) privilege;"
    );
    assert_eq!(
        told(&dump_privilege(&poor, "lock", &[])),
        "Fail lack of LOCK TABLES global (*.*) privilege;"
    );
    assert_eq!(told(&dump_privilege(&poor, "none", &[])), "Success");
    assert_eq!(
        told(&replication_privilege(&poor)),
        "Fail lack of REPLICATION CLIENT global (*.*) privilege; lack of REPLICATION SLAVE global (*.*) privilege;"
    );
    let rich = server(&[], &["GRANT ALL PRIVILEGES ON *.* TO u@h"]);
    for check in [
        target_privilege(&rich),
        dump_privilege(&rich, "auto", &tables),
        replication_privilege(&rich),
    ] {
        assert_eq!(told(&check), "Success");
    }
}

#[test]
fn conn_number_counts_what_is_needed_against_what_is_there_and_what_is_free() {
    let with = |most: &str| {
        server(
            &[("max_connections", most)],
            &["GRANT PROCESS, SUPER ON *.* TO u@h"],
        )
    };
    assert_eq!(told(&dumper_connections(&with("16"), 4)), "Success");
    assert_eq!(told(&dumper_connections(&with("0"), 4)), "Success");
    assert_eq!(
        told(&dumper_connections(&with("5"), 4)),
        "Fail checked database's max_connections: 5 is less than the number dumper needs: 6"
    );
    let few = dumper_connections(&with("15"), 4);
    assert_eq!(
        told(&few),
        "Warn database's max_connections: 15, used_connections: 10, available_connections: 5 is less than dumper needs: 6"
    );
    assert_eq!(few.instruction, MORE_CONNECTIONS);
    let blind = server(&[("max_connections", "6")], &["GRANT SELECT ON *.* TO u@h"]);
    assert_eq!(
        told(&dumper_connections(&blind, 4)),
        "Warn lack of Process global (*.*) privilege;"
    );
    let loader = loader_connections(&with("20"), [16, 16].into_iter());
    assert_eq!(
        told(&loader),
        "Warn checked database's max_connections: 20 is less than the number loader needs: 34 | task precheck cannot \
         accurately check the number of connection needed for Lightning."
    );
    assert_eq!(
        loader.instruction,
        "You need to set a larger connection for TiDB."
    );
}

#[test]
fn meta_position_tells_a_refusal_from_a_set_that_does_not_read() {
    let server = server(&[], &[]);
    assert_eq!(told(&meta_position(&server, &Position::Good)), "Success");
    for (position, advice) in [
        (
            Position::Refused("no".into()),
            "you should make sure your meta's binlog position is valid",
        ),
        (
            Position::BadGtid("no".into()),
            "you should check your BinlogGTID's format, ",
        ),
        (
            Position::BadTls("no".into()),
            "please check upstream tls config",
        ),
        (
            Position::BadFlavor("no".into()),
            "please check upstream database config",
        ),
    ] {
        let check = meta_position(&server, &position);
        assert_eq!(told(&check), "Fail no");
        assert!(
            check.instruction.starts_with(advice),
            "{}",
            check.instruction
        );
    }
}

#[test]
fn a_server_that_did_not_answer_fails_each_check_with_the_reason() {
    let mut silent = Server::new("h:3306");
    silent.variables = Err(Trouble::new("no answer within 30s"));
    silent.grants = Err(Trouble::new("no answer within 30s"));
    let none = Err(Trouble::new("no answer within 30s"));
    for check in [
        version(&silent),
        server_id(&silent),
        binlog_enable(&silent),
        binlog_row_image(&silent),
        binlog_db(&silent, &none, &BTreeSet::new(), false),
        target_privilege(&silent),
        dump_privilege(&silent, "auto", &[]),
        dumper_connections(&silent, 1),
    ] {
        assert_eq!(told(&check), "Fail no answer within 30s");
    }
}
