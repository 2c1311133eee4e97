//! The optimist's own settings, in the same file, environment and flags as those of all services.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dm_errors::DmError;
use dm_service::config::{Error, Origins, duration};
use dm_service::{Common, Section};
use dm_task::secret::SecretKey;

/// How the optimist reads the schemas that a task's checkpoint holds.
#[derive(Args, Clone, Debug)]
pub struct Limits {
    /// How long the downstream may take to let in, and then to answer, before it is asked again later
    #[arg(long, value_parser = duration, default_value = "10s")]
    pub checkpoint_timeout: Duration,
    /// How long a statement waits for the schemas of tables that have not reported; then they count as the first that reported
    #[arg(long, value_parser = duration, default_value = "1m")]
    pub checkpoint_wait: Duration,
    /// File with the key that passwords in subtasks may be encrypted with: 64 hexadecimal digits
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
        if self.checkpoint_timeout.is_zero() {
            return Err(Error::invalid(
                origins,
                "checkpoint-timeout",
                "must be longer than nothing",
            ));
        }
        Ok(())
    }
}
