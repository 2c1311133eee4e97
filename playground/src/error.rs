//! The one error type of the playground: sentences for the person at the terminal.

use std::path::PathBuf;

/// Why the playground could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// etcd, a database or a process did not do its part.
    #[error(transparent)]
    Kit(#[from] dm_testkit::Error),
    /// A program of this project has not been built.
    #[error("{} is not there: run `cargo build --workspace --bins`, or name the folder of the programs in PLAYGROUND_BIN_DIR", path.display())]
    NotBuilt {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A database refused something.
    #[error("{what}: {source}")]
    Sql {
        /// The server and the beginning of the statement.
        what: String,
        /// What the client library said.
        source: mysql_async::Error,
    },
    /// An HTTP page did not come, or not in the form it must have.
    #[error("GET http://{addr}{path}: {reason}")]
    Page {
        /// Whom it was asked of.
        addr: String,
        /// Which page.
        path: String,
        /// What went wrong.
        reason: String,
    },
    /// `dmctl` did not succeed.
    #[error("dmctl {args} failed:\n{output}")]
    Dmctl {
        /// What it was called with.
        args: String,
        /// Everything it printed.
        output: String,
    },
    /// Some processes did not become ready; their reasons and the ends of their logs.
    #[error("not ready in time:\n{0}")]
    NotReady(String),
    /// Something else that must not be.
    #[error("{0}")]
    Unexpected(String),
}

/// Shorthand of the playground's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Makes an adapter for `map_err` that says what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Makes an adapter for `map_err` that names the server and the statement.
    pub(crate) fn sql(what: impl Into<String>) -> impl FnOnce(mysql_async::Error) -> Self {
        let what = what.into();
        move |source| Self::Sql { what, source }
    }
}
