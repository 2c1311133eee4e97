//! Questions to upstream and downstream databases, made by request handlers before they propose anything.

use std::time::Duration;

use dm_database::Unusable;
use dm_errors::{Code, DmError, Scope};
use dm_task::subtask::Meta;
use dm_task::{DbConfig, SourceConfig};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

/// The first id that DM gives to a replica of its own; ordinary servers have smaller ones.
const FIRST_SERVER_ID: u32 = 429_496_729;
const SERVER_IDS: u64 = 100_000;
const SERVER_ID_TRIES: u64 = 5;

/// Asks a source for what its configuration leaves open: the flavor, and a server id that nobody uses. Connects
/// even if nothing is open: a source that cannot be reached is not added.
///
/// # Errors
/// 10001 when it cannot be reached, 48003 when its certificates do not load, 11010 for an unknown flavor, 26007 when
/// it is to be read by GTID and does not write any, 11015 when no server id is free.
pub async fn complete_source(config: &mut SourceConfig, limit: Duration) -> Result<(), DmError> {
    within(limit, Scope::Upstream, complete(config)).await
}

async fn complete(config: &mut SourceConfig) -> Result<(), DmError> {
    let mut conn = connect(&config.from, Scope::Upstream).await?;
    let mut flavor = config.flavor.clone();
    let mut server_id = config.server_id;
    if flavor.is_empty() {
        let version = version(&mut conn, Scope::Upstream).await?;
        flavor = if version.to_uppercase().contains("MARIADB") {
            "mariadb"
        } else {
            "mysql"
        }
        .to_owned();
    } else if !matches!(flavor.as_str(), "mysql" | "mariadb") {
        return Err(DmError::new(Code::NOT_SUPPORTED_FLAVOR, &[&flavor]));
    }
    if config.enable_gtid && flavor != "mariadb" {
        check_gtid_mode(&config.source_id, &mut conn).await?;
    }
    if server_id == 0 {
        server_id = free_server_id(&config.source_id, &used_server_ids(&mut conn).await)?;
    }
    config.complete(&flavor, server_id);
    disconnect(conn).await;
    Ok(())
}

/// A server that does not know the variable has no such mode, whatever its flavor was said to be.
async fn check_gtid_mode(source: &str, conn: &mut Conn) -> Result<(), DmError> {
    let row: Option<(String, String)> = conn
        .query_first("SHOW GLOBAL VARIABLES LIKE 'gtid_mode'")
        .await
        .map_err(|error| driver_error(Scope::Upstream, &error))?;
    let mode = row.map(|(_, mode)| mode).unwrap_or_default();
    if mode == "ON" {
        return Ok(());
    }
    Err(DmError::new(Code::SOURCE_CHECK_GTID, &[&source, &mode]))
}

/// The ids that cannot be taken, as far as the server tells; what it does not tell is no failure.
async fn used_server_ids(conn: &mut Conn) -> Vec<u32> {
    let mut used = Vec::new();
    for list in ["SHOW SLAVE HOSTS", "SHOW REPLICAS"] {
        if let Ok(rows) = conn.query::<Row, _>(list).await {
            used.extend(
                rows.iter()
                    .filter_map(|row| row.get_opt::<u32, _>("Server_id")?.ok()),
            );
            break;
        }
    }
    match conn
        .query_first::<u32, _>("SELECT @@GLOBAL.server_id")
        .await
    {
        Ok(own) => used.extend(own),
        Err(error) => tracing::warn!(%error, "the server id of the source is not known"),
    }
    used
}

/// An id made from the source's name, so that a source that is added again gets the same one.
fn free_server_id(source: &str, used: &[u32]) -> Result<u32, DmError> {
    let candidate = |attempt: u64| {
        let seed = 0xcbf2_9ce4_8422_2325_u64.wrapping_add(attempt);
        let hash = source.bytes().fold(seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let offset = u32::try_from(hash % SERVER_IDS).unwrap_or(0);
        FIRST_SERVER_ID + offset
    };
    (0..SERVER_ID_TRIES)
        .map(candidate)
        .find(|id| !used.contains(id))
        .ok_or_else(|| {
            DmError::new(Code::INVALID_SERVER_ID, &[])
                .message("can't find a random available server ID")
        })
}

/// What the target of a task says of its version.
///
/// # Errors
/// 10001 when it cannot be reached.
pub async fn target_version(target: &DbConfig, limit: Duration) -> Result<String, DmError> {
    within(limit, Scope::Downstream, async {
        let mut conn = connect(target, Scope::Downstream).await?;
        let version = version(&mut conn, Scope::Downstream).await?;
        disconnect(conn).await;
        Ok(version)
    })
    .await
}

/// Where the binlog of a source ends now, for an incremental task that names no position.
///
/// # Errors
/// 10001 when it cannot be reached or writes no binlog.
pub async fn binlog_position(source: &SourceConfig, limit: Duration) -> Result<Meta, DmError> {
    within(limit, Scope::Upstream, async {
        let mut conn = connect(&source.from, Scope::Upstream).await?;
        let failed = |error: mysql_async::Error| driver_error(Scope::Upstream, &error);
        let row: Option<Row> = match conn.query_first("SHOW MASTER STATUS").await {
            Ok(row) => row,
            Err(_) => conn
                .query_first("SHOW BINARY LOG STATUS")
                .await
                .map_err(failed)?,
        };
        let row =
            row.ok_or_else(|| driver_error(Scope::Upstream, &"the source writes no binlog"))?;
        let mut binlog_gtid: String = row
            .get_opt("Executed_Gtid_Set")
            .and_then(Result::ok)
            .unwrap_or_default();
        if source.flavor == "mariadb" {
            binlog_gtid = conn
                .query_first("SELECT @@GLOBAL.gtid_binlog_pos")
                .await
                .map_err(failed)?
                .unwrap_or_default();
        }
        let binlog_name = row.get_opt("File").and_then(Result::ok).unwrap_or_default();
        let binlog_pos = row
            .get_opt("Position")
            .and_then(Result::ok)
            .unwrap_or_default();
        disconnect(conn).await;
        Ok(Meta {
            binlog_name,
            binlog_pos,
            binlog_gtid,
        })
    })
    .await
}

/// Drops what earlier runs of a task have left in the target: checkpoints, shard metadata, validator tables.
///
/// # Errors
/// 10001 when the target cannot be reached or refuses.
pub async fn drop_task_meta(
    target: &DbConfig,
    schema: &str,
    task: &str,
    limit: Duration,
) -> Result<(), DmError> {
    within(limit, Scope::Downstream, async {
        let mut conn = connect(target, Scope::Downstream).await?;
        for statement in drops(schema, task) {
            conn.query_drop(statement)
                .await
                .map_err(|e| driver_error(Scope::Downstream, &e))?;
        }
        disconnect(conn).await;
        Ok(())
    })
    .await
}

const META_TABLES: [&str; 9] = [
    "loader_checkpoint",
    "lightning_checkpoint_list",
    "syncer_checkpoint",
    "syncer_sharding_meta",
    "onlineddl",
    "validator_checkpoint",
    "validator_pending_change",
    "validator_error_change",
    "validator_table_status",
];

fn drops(schema: &str, task: &str) -> Vec<String> {
    let table = |suffix: &&str| {
        format!(
            "DROP TABLE IF EXISTS {}.{}",
            quoted(schema),
            quoted(&format!("{task}_{suffix}"))
        )
    };
    let schema = format!(
        "DROP DATABASE IF EXISTS {}",
        quoted(&format!("{schema}_{task}"))
    );
    META_TABLES.iter().map(table).chain([schema]).collect()
}

/// A name in backquotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

async fn version(conn: &mut Conn, side: Scope) -> Result<String, DmError> {
    let version = conn
        .query_first("SELECT @@GLOBAL.version")
        .await
        .map_err(|e| driver_error(side, &e))?;
    Ok(version.unwrap_or_default())
}

/// A connection that belongs to the caller.
pub(crate) async fn connect(config: &DbConfig, side: Scope) -> Result<Conn, DmError> {
    let options = dm_database::options(config).await;
    let options = options.map_err(|unusable| match unusable {
        Unusable::Tls(error) => error,
        Unusable::Port(_) => driver_error(side, &unusable),
    })?;
    let options = options.setup(session(config));
    let failed = |e: mysql_async::Error| {
        driver_error(side, &format!("{}:{}: {e}", config.host, config.port))
    };
    Conn::new(options).await.map_err(failed)
}

async fn disconnect(conn: Conn) {
    if let Err(error) = conn.disconnect().await {
        tracing::debug!(%error, "a database connection was not closed in order");
    }
}

/// What sets the variables of a session. Numbers stay numbers: servers take no text for some.
fn session(config: &DbConfig) -> Vec<String> {
    let variables = config.session.iter().flatten();
    let set = variables.map(|(name, value)| {
        let is_number = value.parse::<i64>().is_ok();
        let value = match is_number {
            true => value.clone(),
            false => format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''")),
        };
        format!("SET SESSION {} = {value}", quoted(name))
    });
    set.collect()
}

async fn within<T>(
    limit: Duration,
    side: Scope,
    work: impl Future<Output = Result<T, DmError>>,
) -> Result<T, DmError> {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(driver_error(side, &format!("no answer within {limit:?}"))),
    }
}

/// 10001 with the side it is about.
pub(crate) fn driver_error(side: Scope, cause: &dyn std::fmt::Display) -> DmError {
    DmError::new(Code::DB_DRIVER_ERROR, &[])
        .scope(side)
        .cause(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_id_depends_on_the_source_and_avoids_those_in_use() {
        let first = free_server_id("s1", &[]).unwrap();
        assert_eq!(first, free_server_id("s1", &[]).unwrap());
        let second = free_server_id("s1", &[first]).unwrap();
        assert!(first != second && first >= FIRST_SERVER_ID && second >= FIRST_SERVER_ID);
        let all: Vec<u32> = (FIRST_SERVER_ID..FIRST_SERVER_ID + 100_000).collect();
        assert_eq!(
            free_server_id("s1", &all).unwrap_err().code().number(),
            11015
        );
    }

    #[test]
    fn names_in_statements_are_quoted() {
        let drops = drops("dm`meta", "t");
        assert_eq!(drops.len(), 10);
        assert_eq!(
            drops[0],
            "DROP TABLE IF EXISTS `dm``meta`.`t_loader_checkpoint`"
        );
        assert_eq!(drops[9], "DROP DATABASE IF EXISTS `dm``meta_t`");
    }

    #[test]
    fn variables_of_a_session_are_set_and_cannot_break_out() {
        let variables = [
            ("sql_mode", "ANSI_QUOTES"),
            ("max_execution_time", "50"),
            ("a`b", "it's \\"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = DbConfig {
            session: Some(variables.into_iter().collect()),
            ..DbConfig::default()
        };
        assert_eq!(
            session(&config),
            [
                r"SET SESSION `a``b` = 'it''s \\'",
                "SET SESSION `max_execution_time` = 50",
                "SET SESSION `sql_mode` = 'ANSI_QUOTES'",
            ]
        );
    }

    #[tokio::test]
    async fn certificates_that_do_not_load_are_an_error_before_anything_is_sent() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let target = DbConfig {
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port().into(),
            security: Some(dm_task::db::Security {
                ssl_ca_base64: "***".into(),
                ..Default::default()
            }),
            ..DbConfig::default()
        };
        let error = target_version(&target, Duration::from_secs(10))
            .await
            .unwrap_err();
        assert_eq!(error.code().number(), 48003);
        assert!(listener.accept().is_err(), "somebody has called");
    }

    #[tokio::test]
    async fn a_database_that_refuses_is_named_without_its_password() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let target = DbConfig {
            host: "127.0.0.1".into(),
            port: port.into(),
            user: "u".into(),
            password: "s3cret".into(),
            ..DbConfig::default()
        };
        let error = target_version(&target, Duration::from_secs(10))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("[code=10001:class=database:scope=downstream:level=high]"),
            "{error}"
        );
        assert!(
            error.contains(&format!("127.0.0.1:{port}")) && !error.contains("s3cret"),
            "{error}"
        );
    }
}
