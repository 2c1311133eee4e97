//! The scheduler's own settings, in the same file, environment and flags as those of all services.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dm_errors::DmError;
use dm_service::config::{Error, Origins, duration};
use dm_service::{Common, Section};
use dm_task::secret::SecretKey;

/// How long and how often the scheduler asks workers and databases.
#[derive(Args, Clone, Debug)]
pub struct Limits {
    /// How long one call to a worker may take
    #[arg(long, value_parser = duration, default_value = "30s")]
    pub rpc_timeout: Duration,
    /// Calls to workers that may be under way at a time
    #[arg(long, default_value_t = 64)]
    pub rpc_concurrency: u16,
    /// How often a worker is asked whether it has done what it was told, before the answer says that it has not
    #[arg(long, default_value_t = 10)]
    pub wait_rounds: u16,
    /// Pause between two such questions
    #[arg(long, value_parser = duration, default_value = "1s")]
    pub wait_interval: Duration,
    /// How long one question to a database may take, or a few that belong together
    #[arg(long, value_parser = duration, default_value = "30s")]
    pub database_timeout: Duration,
    /// How long the checks before a task may ask one database
    #[arg(long, value_parser = duration, default_value = "10m")]
    pub precheck_timeout: Duration,
    /// How long an answer to operate-source waits for the bind of a source for which there is a worker
    #[arg(long, value_parser = duration, default_value = "5s")]
    pub bind_wait: Duration,
    /// File with the key that passwords in configurations may be encrypted with: 64 hexadecimal digits
    #[arg(long)]
    pub secret_key_path: Option<PathBuf>,
}

impl Limits {
    /// The key for passwords, if a file with one is named.
    ///
    /// # Errors
    /// 20067 when the file cannot be read or holds no key.
    pub fn secret_key(&self) -> Result<Option<SecretKey>, DmError> {
        dm_database::secret_key(self.secret_key_path.as_deref())
    }
}

impl Section for Limits {
    fn check(&self, _: &Common, origins: &Origins) -> Result<(), Error> {
        let counts = [
            ("rpc-concurrency", self.rpc_concurrency),
            ("wait-rounds", self.wait_rounds),
        ];
        for (key, count) in counts {
            if count == 0 {
                return Err(Error::invalid(origins, key, "must be at least 1"));
            }
        }
        for (key, time) in [
            ("rpc-timeout", self.rpc_timeout),
            ("database-timeout", self.database_timeout),
            ("precheck-timeout", self.precheck_timeout),
        ] {
            if time.is_zero() {
                return Err(Error::invalid(origins, key, "must be longer than nothing"));
            }
        }
        Ok(())
    }
}
