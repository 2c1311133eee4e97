//! The pessimist's own settings, in the same file, environment and flags as those of all services.

use std::time::Duration;

use clap::Args;
use dm_service::config::{Error, Origins, duration};
use dm_service::{Common, Section};

use crate::machine;

/// How long the pessimist waits for workers.
#[derive(Args, Clone, Copy, Debug)]
pub struct Limits {
    /// How long an unlock waits for the owner to execute, and then for the others to skip
    #[arg(long, value_parser = duration, default_value = "10s")]
    pub unlock_wait: Duration,
}

impl Section for Limits {
    fn check(&self, _: &Common, origins: &Origins) -> Result<(), Error> {
        if self.unlock_wait.is_zero() {
            return Err(Error::invalid(
                origins,
                "unlock-wait",
                "must be longer than nothing",
            ));
        }
        Ok(())
    }
}

impl From<Limits> for machine::Limits {
    fn from(limits: Limits) -> Self {
        Self {
            unlock_wait: limits.unlock_wait,
        }
    }
}
