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
    /// How long the call that unlocks waits for the outcome; the unlock goes on without it
    #[arg(long, value_parser = duration, default_value = "30s")]
    pub unlock_call_wait: Duration,
}

impl Section for Limits {
    fn check(&self, _: &Common, origins: &Origins) -> Result<(), Error> {
        let waits = [
            ("unlock-wait", self.unlock_wait),
            ("unlock-call-wait", self.unlock_call_wait),
        ];
        match waits.into_iter().find(|(_, wait)| wait.is_zero()) {
            Some((name, _)) => Err(Error::invalid(origins, name, "must be longer than nothing")),
            None => Ok(()),
        }
    }
}

impl Limits {
    /// What the machine needs of them, of the shared settings, and of the time `now` since the beginning of 1970.
    #[must_use]
    pub fn of_machine(&self, common: &Common, now: Duration) -> machine::Limits {
        machine::Limits {
            unlock_wait: self.unlock_wait,
            max_operations: usize::try_from(common.max_txn_ops).unwrap_or(usize::MAX),
            started: now,
        }
    }
}
