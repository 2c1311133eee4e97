//! What can stop a subtask, and how it is told: DM's codes, and whether trying again may help.

use dm_errors::{Code, DmError, Scope};
use dm_proto::pb;

use crate::binlog::position::Position;
use crate::binlog::reader::DecodeError;
use crate::names::TableName;

/// Why a unit of a subtask ended without being finished.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was asked to stop.
    #[error("stopped on request")]
    Cancelled,
    /// Another instance has taken over the subtask.
    #[error("another worker has taken over: epoch {mine} is no longer the newest")]
    Fenced {
        /// The epoch that lost.
        mine: String,
    },
    /// A downstream table was changed after statements were made for it; what they are made of is read again.
    #[error("the downstream table {table} was changed while a transaction was repeated")]
    Outdated {
        /// The table.
        table: TableName,
    },
    /// The worker's lease is over, so somebody else may be at work already.
    #[error("the worker's lease has ended")]
    LeaseEnded,
    /// A database answered with an error, or not at all.
    #[error("{what}")]
    Database {
        /// Which of the two.
        side: Scope,
        /// What was being done.
        what: String,
        /// The answer.
        source: mysql_async::Error,
    },
    /// An event of the binlog could not be decoded or does not fit.
    #[error("binlog event at {at}")]
    Event {
        /// Where the event begins.
        at: Position,
        /// Why.
        source: DecodeError,
    },
    /// etcd answered with an error, or not at all.
    #[error("etcd")]
    Store(#[from] dm_store::Error),
    /// An error of DM's catalogue.
    #[error(transparent)]
    Coded(#[from] DmError),
}

/// What most functions of this crate answer.
pub type Result<T> = std::result::Result<T, Error>;

/// Gives a database error its side and what was being done, for `map_err`.
pub fn upstream(what: impl Into<String>) -> impl FnOnce(mysql_async::Error) -> Error {
    database(Scope::Upstream, what)
}

/// The same for the other side.
pub fn downstream(what: impl Into<String>) -> impl FnOnce(mysql_async::Error) -> Error {
    database(Scope::Downstream, what)
}

fn database(side: Scope, what: impl Into<String>) -> impl FnOnce(mysql_async::Error) -> Error {
    let what = what.into();
    move |source| Error::Database { side, what, source }
}

/// Statements in error messages are cut: they may hold whole rows.
const SHOWN_SQL: usize = 256;

/// The beginning of a statement.
pub fn shown(sql: &str) -> String {
    match sql.char_indices().nth(SHOWN_SQL) {
        Some((at, _)) => format!("{}…", &sql[..at]),
        None => sql.to_owned(),
    }
}

impl Error {
    /// The number of the server's error, if it was one.
    pub fn server_code(&self) -> Option<u16> {
        match self {
            Error::Database {
                source: mysql_async::Error::Server(error),
                ..
            } => Some(error.code),
            _ => None,
        }
    }

    /// The error as clients see it.
    pub fn to_dm(&self) -> DmError {
        match self {
            Error::Coded(error) => error.clone(),
            Error::Database { side, what, source } => database_error(*side, what, source),
            Error::Event { at, source } => event_error(at, source),
            Error::Store(source) => {
                DmError::new(Code::HA_FAIL_TXN_OPERATION, &[&"etcd"]).cause(source)
            }
            Error::Cancelled
            | Error::Fenced { .. }
            | Error::Outdated { .. }
            | Error::LeaseEnded => DmError::uncoded(self.to_string()),
        }
    }

    /// The same as a part of a status.
    pub fn to_process_error(&self) -> pb::ProcessError {
        process_error(&self.to_dm())
    }

    /// Whether a later try, without anybody's help, may go through.
    pub fn is_resumable(&self) -> bool {
        match self {
            Error::Cancelled | Error::Fenced { .. } | Error::Event { .. } => false,
            Error::LeaseEnded | Error::Outdated { .. } | Error::Store(_) => true,
            Error::Coded(error) => !NEVER_AGAIN.contains(&error.code()),
            Error::Database { side, source, .. } => match source {
                mysql_async::Error::Server(error) => match side {
                    // A purged or misread log stays so.
                    Scope::Upstream => error.code != 1236,
                    _ => !LASTING.contains(&error.code),
                },
                _ => true,
            },
        }
    }
}

/// Errors of the downstream that come again until somebody changes something.
const LASTING: [u16; 9] = [1059, 1062, 1067, 1069, 1117, 1146, 1366, 1406, 8025];

/// Errors that only a person can do something about.
const NEVER_AGAIN: [Code; 9] = [
    Code::SYNC_UNIT_DDL_WRONG_SEQUENCE,
    Code::SYNCER_UNIT_DML_COLUMN_NOT_MATCH,
    Code::SYNC_UNIT_ADD_TABLE_IN_SHARDING,
    Code::SYNC_UNIT_DROP_SCHEMA_TABLE_IN_SHARDING,
    Code::SYNCER_UNIT_DDL_ON_MULTIPLE_TABLE,
    Code::SYNCER_UNIT_BINLOG_EVENT_FILTER,
    Code::SYNC_UNIT_DML_STATEMENT_FOUND,
    Code::SYNCER_PARSE_DDL,
    Code::CONFIG_SHARD_MODE_NOT_SUPPORT,
];

fn database_error(side: Scope, what: &str, source: &mysql_async::Error) -> DmError {
    let cause = match source {
        mysql_async::Error::Server(error) => {
            format!("Error {} ({}): {}", error.code, error.state, error.message)
        }
        other => other.to_string(),
    };
    let code = match source {
        mysql_async::Error::Server(error) if error.code == 1236 => {
            return DmError::new(Code::SYNCER_GET_EVENT, &[&cause])
                .cause(&cause)
                .scope(side);
        }
        mysql_async::Error::Server(_) => Code::DB_EXECUTE_FAILED,
        _ => Code::DB_DRIVER_ERROR,
    };
    let args: &[&dyn std::fmt::Display] = match code {
        Code::DB_DRIVER_ERROR => &[],
        _ => &[&what],
    };
    let error = DmError::new(code, args).cause(cause).scope(side);
    match code {
        Code::DB_DRIVER_ERROR => error.annotate(what),
        _ => error,
    }
}

fn event_error(at: &Position, source: &DecodeError) -> DmError {
    match source {
        DecodeError::ColumnCount { columns, values } => {
            DmError::new(Code::SYNCER_UNIT_DML_COLUMN_NOT_MATCH, &[columns, values])
                .cause(format!("binlog {at}"))
        }
        _ => DmError::new(Code::SYNCER_UNIT_INVALID_REPLICA_EVENT, &[source])
            .cause(format!("binlog {at}")),
    }
}

/// A coded error in the parts that a status has.
pub fn process_error(error: &DmError) -> pb::ProcessError {
    pb::ProcessError {
        err_code: i32::try_from(error.code().number()).unwrap_or(i32::MAX),
        err_class: error.error_class().to_string(),
        err_scope: error.error_scope().to_string(),
        err_level: error.level().to_string(),
        message: error.message_text().to_owned(),
        raw_cause: error.raw_cause().to_owned(),
        workaround: error.workaround_text().to_owned(),
    }
}
