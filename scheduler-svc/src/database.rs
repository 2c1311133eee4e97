//! Questions to upstream and downstream databases, made by request handlers before they propose anything.

use std::path::PathBuf;
use std::time::Duration;

use dm_errors::{Code, DmError, Scope};
use dm_task::db::Security;
use dm_task::subtask::Meta;
use dm_task::{DbConfig, SourceConfig};
use mysql_async::prelude::Queryable;
use mysql_async::{ClientIdentity, Conn, OptsBuilder, Row, SslOpts};

/// The first id that DM gives to a replica of its own; ordinary servers have smaller ones.
const FIRST_SERVER_ID: u32 = 429_496_729;
const SERVER_IDS: u64 = 100_000;
const SERVER_ID_TRIES: u64 = 5;

/// Asks a source for what its configuration leaves open: the flavor, and a server id that nobody uses. Connects
/// even if nothing is open: a source that cannot be reached is not added.
///
/// # Errors
/// 10001 when it cannot be reached, 11010 for an unknown flavor, 11015 when no server id is free.
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
    if server_id == 0 {
        server_id = free_server_id(&config.source_id, &used_server_ids(&mut conn).await)?;
    }
    config.complete(&flavor, server_id);
    disconnect(conn).await;
    Ok(())
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
    let port = u16::try_from(config.port)
        .map_err(|_| driver_error(side, &format!("{} is no port", config.port)))?;
    let options = OptsBuilder::default()
        .ip_or_hostname(config.host.clone())
        .tcp_port(port)
        .user(Some(config.user.clone()))
        .pass(Some(config.password.expose().to_owned()))
        // The socket would be that of this machine, not of the one that was named.
        .prefer_socket(false)
        .ssl_opts(config.security.as_ref().and_then(ssl));
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

/// Certificates come as bytes when the file was sent through a client, else as paths on this machine.
fn ssl(security: &Security) -> Option<SslOpts> {
    let part = |bytes: &Option<Vec<u8>>, path: &str| match bytes {
        Some(bytes) if !bytes.is_empty() => Some(bytes.clone().into()),
        _ if path.is_empty() => None,
        _ => Some(PathBuf::from(path).into()),
    };
    let ca = part(&security.ssl_ca_bytes, &security.ssl_ca);
    let cert = part(&security.ssl_cert_bytes, &security.ssl_cert);
    let key = part(&security.ssl_key_bytes, &security.ssl_key);
    if ca.is_none() && cert.is_none() {
        return None;
    }
    let identity = cert
        .zip(key)
        .map(|(cert, key)| ClientIdentity::new(cert, key));
    // DM checks the certificate against the authority, not the host's name.
    let options = SslOpts::default()
        .with_danger_skip_domain_validation(true)
        .with_client_identity(identity);
    Some(options.with_root_certs(ca.into_iter().collect()))
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
