//! Configuration in layers: defaults, then a TOML file (`--config FILE`), then environment variables (`DM_<KEY>`), then flags.
//!
//! A setting is declared once, as a field of a `clap::Args` struct: its long flag `--lease-ttl` is also the key `lease-ttl` of
//! the file and the variable `DM_LEASE_TTL`. The file and the environment are brought in as *defaults of the flags*, so the same value parser
//! judges a value wherever it comes from, and every complaint can name where that was ([`Origin`]).
//!
//! What must stay true: nothing is taken from the environment that is no key; an unknown key, a wrong type or a contradiction stops the start.

mod common;
mod file;
mod layers;
mod values;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::{Args, FromArgMatches};

pub use common::{Common, LogFormat};
pub use layers::{Origin, Origins};
pub use values::{duration, host_port};

/// A service's own settings beside [`Common`], in the same file, environment and flags.
pub trait Section: Args + Clone + fmt::Debug + Send + Sync + 'static {
    /// Keys of [`Common`] that have no effect in this service: not offered, and refused in a file and as a flag. The environment may
    /// be shared with other services, so they are passed over there.
    const WITHOUT_EFFECT: &'static [&'static str] = &[];

    /// Refuses values that parse but contradict each other. `origins` says where each came from.
    fn check(&self, common: &Common, origins: &Origins) -> Result<(), Error> {
        let _ = (common, origins);
        Ok(())
    }
}

/// The section of a service that has no settings of its own.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Nothing {}

impl Section for Nothing {}

/// Everything a service was told: what all services share, and its own section.
#[derive(Clone, Debug)]
pub struct Settings<S> {
    /// Addresses, etcd, TLS, telemetry and limits.
    pub common: Common,
    /// What the service declared for itself.
    pub own: S,
}

/// Why there is no configuration. All of these end the process with exit code 2, except help and version texts that were asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A flag is unknown, lacks its value, or a required setting is given nowhere; or help was asked for.
    #[error(transparent)]
    Usage(clap::Error),
    /// The file of `--config` cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// As given to `--config`.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{}:{line}: {reason}", path.display())]
    Syntax {
        /// As given to `--config`.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The TOML parser's own words.
        reason: String,
    },
    /// A key of the file is none of ours.
    #[error("{}:{line}: unknown key {key:?}; allowed keys: {}", path.display(), allowed.join(", "))]
    UnknownKey {
        /// As given to `--config`.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// As the file spells it.
        key: String,
        /// Every key that this service knows, sorted.
        allowed: Vec<String>,
    },
    /// A value is of the wrong type, out of range, or contradicts another.
    #[error("{origin}: {key}: {reason}")]
    Invalid {
        /// Which layer the value is from.
        origin: Origin,
        /// The key, as files spell it.
        key: String,
        /// What is wrong and what is allowed.
        reason: String,
    },
}

impl Error {
    /// A complaint about the value of `key`, wherever it came from.
    pub fn invalid(origins: &Origins, key: &str, reason: impl Into<String>) -> Self {
        Self::Invalid {
            origin: origins.of(key),
            key: key.to_owned(),
            reason: reason.into(),
        }
    }

    /// Help and version texts come as errors from the flag parser; they go to standard output and are no failure.
    pub fn is_help(&self) -> bool {
        matches!(self, Self::Usage(e) if !e.use_stderr())
    }
}

/// Reads all layers. `args` includes the program's name; `environment` gives the value of a variable.
pub fn load<S: Section>(
    service: &'static str,
    default_port: u16,
    args: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Settings<S>, Error> {
    let command = Common::augment_args(S::augment_args(clap::Command::new(service)))
        .version(env!("CARGO_PKG_VERSION"))
        .mut_arg("listen", |a| {
            a.default_value(format!("127.0.0.1:{default_port}"))
        })
        .mut_args(|a| {
            let has_no_effect = a
                .get_long()
                .is_some_and(|key| S::WITHOUT_EFFECT.contains(&key));
            if has_no_effect { a.hide(true) } else { a }
        });
    let args: Vec<OsString> = args.into_iter().collect();
    let layered = layers::apply(command, &args, environment)?;
    let settings = Settings {
        common: Common::from_arg_matches(&layered.matches).map_err(Error::Usage)?,
        own: S::from_arg_matches(&layered.matches).map_err(Error::Usage)?,
    };
    for key in S::WITHOUT_EFFECT {
        let given = layered.origins.of(key);
        if matches!(given, Origin::File { .. } | Origin::Flag(_)) {
            let reason = format!("has no effect in {service}; leave it out");
            return Err(Error::invalid(&layered.origins, key, reason));
        }
    }
    settings.common.check(&layered.origins)?;
    settings.own.check(&settings.common, &layered.origins)?;
    Ok(settings)
}

#[cfg(test)]
mod tests;
