//! Connections to both databases. Their sessions are set so that the same text means the same on both sides.

use dm_task::DbConfig;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::statement;
use crate::names::quoted;

/// Largest packet that is sent or taken.
const MAX_PACKET: usize = 64 << 20;

/// A connection without anything set.
async fn connect(config: &DbConfig) -> Result<Conn, mysql_async::Error> {
    let options = dm_database::options(config).await?;
    let options = options
        .tcp_keepalive(Some(std::time::Duration::from_secs(30)))
        .max_allowed_packet(Some(MAX_PACKET));
    Conn::new(options).await
}

/// A connection may have nothing to do for as long as a shard DDL waits for the other sources, or another statement takes: days, in seconds.
const PATIENCE: u32 = 2_147_483;

/// Plain SQL texts; zero dates as they came; no invented key values.
const SQL_MODE: &str = "IGNORE_SPACE,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES";

/// A connection that writes rows. Timestamps are UTC on both sides; settings of the user's win.
pub async fn writer(config: &DbConfig) -> Result<Conn, mysql_async::Error> {
    let mut conn = connect(config).await?;
    conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        .await?;
    conn.query_drop(format!(
        "SET SESSION time_zone = '+00:00', foreign_key_checks = 0, wait_timeout = {PATIENCE}, sql_mode = '{SQL_MODE}'"
    ))
    .await?;
    // The zone of the task has no part in it: rows come as UTC, whatever the zone.
    user_session(&mut conn, config, &["time_zone", "sql_mode"]).await?;
    Ok(conn)
}

/// A connection that executes DDL. The statements are in our own normal form, whatever mode they were written under.
pub async fn ddl(config: &DbConfig) -> Result<Conn, mysql_async::Error> {
    let mut conn = connect(config).await?;
    conn.query_drop(format!(
        "SET SESSION foreign_key_checks = 0, sql_mode = '{SQL_MODE}'"
    ))
    .await?;
    user_session(&mut conn, config, &["sql_mode"]).await?;
    Ok(conn)
}

/// A connection that reads the source: texts as the bytes that are stored, structures in the plain form.
pub async fn reader(config: &DbConfig) -> Result<Conn, mysql_async::Error> {
    let mut conn = connect(config).await?;
    conn.query_drop("SET SESSION time_zone = '+00:00', sql_mode = '', sql_quote_show_create = 1")
        .await?;
    Ok(conn)
}

async fn user_session(
    conn: &mut Conn,
    config: &DbConfig,
    ours: &[&str],
) -> Result<(), mysql_async::Error> {
    for (name, value) in config.session.iter().flatten() {
        if ours.iter().any(|o| name.eq_ignore_ascii_case(o)) {
            continue;
        }
        let value = match value.parse::<f64>() {
            Ok(_) => value.clone(),
            Err(_) => text(value),
        };
        conn.query_drop(format!("SET SESSION {} = {value}", quoted(name)))
            .await?;
    }
    Ok(())
}

/// A text as a literal for the sessions of this module.
pub fn text(value: &str) -> String {
    let mut out = String::new();
    statement::quoted_text(value, &mut out);
    out
}
