//! One connection at a time writes for a subtask.
//!
//! A worker that hangs, or whose machine is gone, may leave a transaction open: the server keeps it, with the locks on the fence and on rows, until the
//! connection ends, which may take hours. Whoever takes over would wait for these locks, so it ends that connection first. It finds it by a lock that the server
//! gives to one connection at a time and drops with it.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::connection::text;
use crate::error::{Error, Result, downstream};

/// How long the connection before may take to end by itself, in whole seconds: a run that was paused has closed it already.
const WAIT_SECONDS: u32 = 1;
/// How often the one in the way is ended before this counts as an error.
const MAX_TRIES: u32 = 20;
/// The server knows no such thread: it has ended in the meantime.
const NO_SUCH_THREAD: u16 = 1094;

/// Makes `conn` the one that writes under `name`, for as long as it lives; the one before is ended if it does not go by itself.
pub async fn hold(conn: &mut Conn, name: &str) -> Result<()> {
    // A server limits such a name to 64 characters.
    let lock = format!("CONCAT('dm-writer-', MD5({}))", text(name));
    for _ in 0..MAX_TRIES {
        let held: Option<Option<u8>> = conn
            .query_first(format!("SELECT GET_LOCK({lock}, {WAIT_SECONDS})"))
            .await
            .map_err(what())?;
        if held.flatten() == Some(1) {
            return Ok(());
        }
        let holder: Option<Option<u64>> = conn
            .query_first(format!("SELECT IS_USED_LOCK({lock})"))
            .await
            .map_err(what())?;
        if let Some(id) = holder.flatten() {
            tracing::warn!(
                subtask = name,
                connection = id,
                "ending the connection of the writer before"
            );
            end(conn, id).await?;
        }
    }
    Err(Error::Coded(dm_errors::DmError::uncoded(format!(
        "another connection keeps the right to write for {name} and cannot be ended"
    ))))
}

async fn end(conn: &mut Conn, id: u64) -> Result<()> {
    match conn.query_drop(format!("KILL {id}")).await {
        Err(mysql_async::Error::Server(error)) if error.code == NO_SUCH_THREAD => Ok(()),
        other => other.map_err(what()),
    }
}

fn what() -> impl FnOnce(mysql_async::Error) -> Error {
    downstream("take over from the writer before")
}
