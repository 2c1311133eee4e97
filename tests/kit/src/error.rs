//! The one error type of the kit: sentences for the person who reads a failed test.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a fixture could not do what a test asked of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that the fixture runs is not installed.
    #[error(
        "{program} is not installed: install Debian's package `{package}` (apt-get install {package})"
    )]
    MissingProgram {
        /// The file that was looked for.
        program: PathBuf,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A child process ended although it was still needed.
    #[error("{name} ended by itself ({status}); the end of its log:\n{log}")]
    Exited {
        /// The process's name within the test.
        name: String,
        /// Its exit status in words.
        status: String,
        /// The end of its output.
        log: String,
    },
    /// A condition did not become true in time.
    #[error("waited {limit:?} in vain for this: {what}")]
    TimedOut {
        /// How long the wait was.
        limit: Duration,
        /// The condition, in words.
        what: String,
    },
    /// A process was started but did not begin to serve.
    #[error("{name} does not answer; the end of its log:\n{log}")]
    NotReady {
        /// The process's name within the test.
        name: String,
        /// The end of its output.
        log: String,
        /// What the wait said.
        #[source]
        source: Box<Error>,
    },
    /// The operating system refused something.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A database refused a statement or a connection.
    #[error("mariadb {name}: {what}")]
    Database {
        /// The server's name within the test.
        name: String,
        /// The beginning of the statement, or what else was being done.
        what: String,
        /// What the client library said.
        #[source]
        source: mysql_async::Error,
    },
}

/// Shorthand of the kit's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Makes an adapter for `map_err` that says what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
