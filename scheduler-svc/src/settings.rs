//! The scheduler's own settings, in the same file, environment and flags as those of all services.

use std::time::Duration;

use clap::Args;
use dm_service::config::{Error, Origins, duration};
use dm_service::{Common, Section};

/// How long and how often the scheduler asks workers and databases.
#[derive(Args, Clone, Copy, Debug)]
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
    /// How long all questions to one database may take together
    #[arg(long, value_parser = duration, default_value = "30s")]
    pub database_timeout: Duration,
    /// How long an answer to operate-source waits for the bind of a source for which there is a worker
    #[arg(long, value_parser = duration, default_value = "5s")]
    pub bind_wait: Duration,
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
        ] {
            if time.is_zero() {
                return Err(Error::invalid(origins, key, "must be longer than nothing"));
            }
        }
        Ok(())
    }
}
