//! Checks of a server as such: version, binlog, replication, privileges, connections.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::facts::{BinlogFilter, Position, Server, Variables};
use super::grants::{Grants, Privilege};
use super::report::{Answer, Check, Finding, State};
use super::scope::TableName;

/// The variables that the checks of this module look at.
pub(crate) const VARIABLES: [&str; 6] = [
    "version",
    "server_id",
    "log_bin",
    "binlog_format",
    "binlog_row_image",
    "max_connections",
];

const OLDEST: [u32; 3] = [5, 6, 0];
const TOO_NEW: [u32; 3] = [8, 5, 0];
const ROW_IMAGE_SINCE: [u32; 3] = [5, 6, 2];
const ROW_IMAGE_SINCE_MARIADB: [u32; 3] = [10, 1, 6];

/// The first three numbers of a version such as `10.11.19-MariaDB-log`.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let head = version.split(['-', '+', ' ']).next()?;
    let mut parts = head.split('.').map(|part| {
        let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
        digits.parse().ok()
    });
    Some([
        parts.next()??,
        parts.next()??,
        parts.next().unwrap_or(Some(0))?,
    ])
}

fn is_mariadb(version: &str) -> bool {
    version.to_lowercase().contains("mariadb")
}

/// A variable, or the check that could not read it.
fn variable<'a>(
    server: &'a Server,
    check: Check,
    name: &str,
) -> Result<(Check, &'a str), Box<Check>> {
    match &server.variables {
        Err(trouble) => Err(Box::new(check.troubled(trouble))),
        Ok(variables) => Ok((check, value(variables, name))),
    }
}

fn value<'a>(variables: &'a Variables, name: &str) -> &'a str {
    variables.get(name).map_or("", String::as_str)
}

/// Item `version`.
pub(crate) fn version(server: &Server) -> Check {
    let check = Check::new(
        "mysql_version",
        "whether the version of the source is supported",
    )
    .at(&server.address);
    let (check, version) = match variable(server, check, "version") {
        Ok(read) => read,
        Err(check) => return *check,
    };
    let warn = |text: &str, advice| {
        let finding = Finding::warn(text);
        check.clone().found(State::Warn, finding).advise(advice)
    };
    if is_mariadb(version) {
        return warn(
            "Migrating from MariaDB is still experimental.",
            "Use MariaDB 10.1.2 or later.",
        );
    }
    if version.to_lowercase().contains("tidb") {
        return warn(
            "migration from TiDB not supported",
            "TiDB cannot be a source.",
        );
    }
    let Some(numbers) = numbers(version) else {
        let finding = Finding::fail(format!("invalid version {version:?}"));
        return check.found(State::Fail, finding);
    };
    if numbers < OLDEST {
        let text = format!("version suggested at least 5.6.0 but got {version}");
        return warn(&text, "Upgrade the source.");
    }
    if numbers >= TOO_NEW {
        let text = format!("version suggested earlier than 8.5.0 but got {version}");
        return warn(&text, "Use a source of another version.");
    }
    check
}

/// Item `server_id`.
pub(crate) fn server_id(server: &Server) -> Check {
    let check =
        Check::new("mysql_server_id", "whether the source has a server id").at(&server.address);
    let advice = "Set server_id on the source to a number other than 0.";
    match variable(server, check, "server_id") {
        Err(check) => *check,
        Ok((check, "")) => check
            .found(State::Warn, Finding::warn("server_id not set"))
            .advise(advice),
        Ok((check, "0")) => check
            .found(State::Warn, Finding::fail("server_id is 0"))
            .advise(advice),
        Ok((check, _)) => check,
    }
}

/// Item `binlog_enable`.
pub(crate) fn binlog_enable(server: &Server) -> Check {
    let check = Check::new("mysql_binlog_enable", "whether the source writes a binlog");
    must_be(
        server,
        check,
        "log_bin",
        "ON",
        "Start the source with log_bin.",
    )
}

/// Item `binlog_format`.
pub(crate) fn binlog_format(server: &Server) -> Check {
    let check = Check::new("mysql_binlog_format", "whether the binlog holds rows");
    let advice = "Set binlog_format to ROW on the source, for all its sessions.";
    must_be(server, check, "binlog_format", "ROW", advice)
}

/// Item `binlog_row_image`. Older servers do not have the variable and always write whole rows.
pub(crate) fn binlog_row_image(server: &Server) -> Check {
    let check = Check::new(
        "mysql_binlog_row_image",
        "whether the binlog holds whole rows",
    );
    let version = server
        .variables
        .as_ref()
        .map_or("", |v| value(v, "version"));
    let since = match is_mariadb(version) {
        true => ROW_IMAGE_SINCE_MARIADB,
        false => ROW_IMAGE_SINCE,
    };
    if numbers(version).is_some_and(|numbers| numbers < since) {
        return check.at(&server.address);
    }
    let advice = "Set binlog_row_image to FULL on the source.";
    must_be(server, check, "binlog_row_image", "FULL", advice)
}

fn must_be(server: &Server, check: Check, name: &str, wanted: &str, advice: &str) -> Check {
    match variable(server, check.at(&server.address), name) {
        Err(check) => *check,
        Ok((check, value)) if value.eq_ignore_ascii_case(wanted) => check,
        Ok((check, value)) => {
            let text = format!("{name} is {value}, and should be {wanted}");
            check.found(State::Fail, Finding::fail(text)).advise(advice)
        }
    }
}

/// Item `binlog_db`. `schemas` are those with tables that take part.
pub(crate) fn binlog_db(
    server: &Server,
    filter: &Answer<BinlogFilter>,
    schemas: &BTreeSet<&str>,
    case_sensitive: bool,
) -> Check {
    let check = Check::new(
        "binlog_do_db/binlog_ignore_db check",
        "whether the binlog holds the schemas of the task",
    )
    .at(&server.address);
    let filter = match filter {
        Ok(filter) => filter,
        Err(trouble) => return check.troubled(trouble),
    };
    let holds = |list: &[String], schema: &str| {
        list.iter().any(|name| match case_sensitive {
            true => name == schema,
            false => name.to_lowercase() == schema.to_lowercase(),
        })
    };
    let wrong = |list: &[String], is_allowed: bool| -> Vec<&str> {
        let schemas = schemas.iter().copied();
        schemas.filter(|s| holds(list, s) != is_allowed).collect()
    };
    let (names, list, what) = if filter.do_dbs.is_empty() {
        (
            wrong(&filter.ignore_dbs, false),
            &filter.ignore_dbs,
            "are in binlog_ignore_db",
        )
    } else {
        (
            wrong(&filter.do_dbs, true),
            &filter.do_dbs,
            "are not in binlog_do_db",
        )
    };
    if names.is_empty() {
        return check;
    }
    let text = format!("these dbs [{}] {what}[{}]", names.join(","), list.join(","));
    check
        .found(State::Fail, Finding::warn(text))
        .advise("Make the source log these schemas: change binlog_do_db or binlog_ignore_db.")
}

/// The grants of a server, or the check that could not read them.
fn grants(server: &Server, check: Check) -> Result<(Check, Grants), Box<Check>> {
    match &server.grants {
        Err(trouble) => Err(Box::new(check.troubled(trouble))),
        Ok(rows) => match Grants::read(rows) {
            Ok(grants) => Ok((check, grants)),
            Err(text) => Err(Box::new(check.found(State::Fail, Finding::fail(text)))),
        },
    }
}

/// Item `target_privilege`. A lack is a warning only: a target may have other ways to allow what is needed.
pub(crate) fn target_privilege(server: &Server) -> Check {
    use Privilege::{Alter, Create, Delete, Drop, Index, Insert, Select, Update};
    let check = Check::new(
        "target db privilege checker",
        "whether the target's account may do all that a task does",
    )
    .at(&server.address);
    let (check, grants) = match grants(server, check) {
        Ok(read) => read,
        Err(check) => return *check,
    };
    let lack = grants.lack_globally(&[Create, Select, Insert, Update, Delete, Alter, Drop, Index]);
    if lack.is_empty() {
        return check;
    }
    check
        .found(State::Warn, Finding::fail(lack))
        .advise("You need grant related privileges.")
}

/// Item `dump_privilege`.
pub(crate) fn dump_privilege(server: &Server, consistency: &str, tables: &[TableName]) -> Check {
    let check = Check::new(
        "source db dump privilege checker",
        "whether the source's account may dump the tables of the task",
    )
    .at(&server.address);
    let globally: &[Privilege] = match consistency {
        "auto" | "flush" => &[Privilege::Reload],
        "lock" => &[Privilege::LockTables],
        _ => &[],
    };
    match grants(server, check) {
        Err(check) => *check,
        Ok((check, grants)) => {
            let lack = grants.lack(globally, &[Privilege::Select], tables);
            lacking(
                check,
                lack,
                "Please grant the required privileges to the account.",
            )
        }
    }
}

/// Item `replication_privilege`.
pub(crate) fn replication_privilege(server: &Server) -> Check {
    let check = Check::new(
        "source db replication privilege checker",
        "whether the source's account may replicate",
    )
    .at(&server.address);
    match grants(server, check) {
        Err(check) => *check,
        Ok((check, grants)) => {
            let needed = [Privilege::ReplicationClient, Privilege::ReplicationSlave];
            let lack = grants.lack_globally(&needed);
            lacking(check, lack, "Grant the required privileges to the account.")
        }
    }
}

fn lacking(check: Check, lack: String, advice: &str) -> Check {
    if lack.is_empty() {
        return check;
    }
    check.found(State::Fail, Finding::fail(lack)).advise(advice)
}

const MORE_CONNECTIONS: &str = "You need to set a larger max_connection, or adjust the configuration of DM such as \
reducing the worker count of sycner and reducing the pool size of the dumper and loader.";

/// Item `conn_number` of a source: two connections beside the threads of the dump.
pub(crate) fn dumper_connections(server: &Server, threads: i64) -> Check {
    let check = Check::new(
        "dumper_conn_number_checker",
        "whether the source has connections enough for the dump",
    );
    let needed = u64::try_from(threads).unwrap_or(0) + 2;
    connections(server, check, "dumper", needed, Privilege::Process).advise(MORE_CONNECTIONS)
}

/// Item `conn_number` of the target. What is found is a warning at most.
pub(crate) fn loader_connections(server: &Server, pool_sizes: impl Iterator<Item = i64>) -> Check {
    let check = Check::new(
        "loader_conn_number_checker",
        "whether the target has connections enough for the load",
    );
    let needed = pool_sizes
        .map(|size| u64::try_from(size).unwrap_or(0) + 1)
        .sum();
    let mut check =
        connections(server, check, "loader", needed, Privilege::Super).advise(MORE_CONNECTIONS);
    if check.state == State::Fail {
        check.state = State::Warn;
        check.errors.push(Finding::warn(
            "task precheck cannot accurately check the number of connection needed for Lightning.",
        ));
        "You need to set a larger connection for TiDB.".clone_into(&mut check.instruction);
    }
    check
}

/// `sees_all` is the privilege without which others' connections are not shown.
fn connections(
    server: &Server,
    check: Check,
    who: &str,
    needed: u64,
    sees_all: Privilege,
) -> Check {
    let (check, most) = match variable(server, check, "max_connections") {
        Ok(read) => read,
        Err(check) => return *check,
    };
    let Ok(most) = most.parse::<u64>() else {
        let text = format!("max_connections is {most:?}, which is no number");
        return check.found(State::Fail, Finding::fail(text));
    };
    if most == 0 {
        return check;
    }
    let (check, grants) = match grants(server, check) {
        Ok(read) => read,
        Err(check) => return *check,
    };
    if most < needed {
        let text = format!(
            "checked database's max_connections: {most} is less than the number {who} needs: {needed}"
        );
        return check.found(State::Fail, Finding::fail(text));
    }
    let lack = grants.lack_globally(&[sees_all]);
    let used = match (&server.connections, lack.is_empty()) {
        (_, false) => 0,
        (Ok(used), true) => *used,
        (Err(trouble), true) => return check.troubled(trouble),
    };
    let check = match lack.is_empty() {
        true => check,
        false => check.found(State::Warn, Finding::fail(lack)),
    };
    let free = most.saturating_sub(used);
    match free.cmp(&needed) {
        Ordering::Less => {
            let text = format!(
                "database's max_connections: {most}, used_connections: {used}, available_connections: {free} is less \
                 than {who} needs: {needed}"
            );
            check.found(State::Warn, Finding::fail(text))
        }
        _ => check,
    }
}

/// Item `meta_position`.
pub(crate) fn meta_position(server: &Server, position: &Position) -> Check {
    let check = Check::new(
        "meta position check",
        "whether replication can begin where the task says",
    )
    .at(&server.address);
    let (text, advice) = match position {
        Position::Good => return check,
        Position::Refused(text) => (
            text,
            "you should make sure your meta's binlog position is valid and not purged, and the user has \
             REPLICATION SLAVE privilege",
        ),
        Position::BadGtid(text) => (
            text,
            "you should check your BinlogGTID's format, such as 3E11FA47-71CA-11E1-9E33-C80AA9429562:1-5 for MySQL \
             and 0-1-23 for MariaDB",
        ),
        Position::BadTls(text) => (text, "please check upstream tls config"),
        Position::BadFlavor(text) => (text, "please check upstream database config"),
    };
    check
        .found(State::Fail, Finding::fail(text.clone()))
        .advise(advice)
}

#[cfg(test)]
mod tests;
