//! Processor time, as the kernel counts it: what a figure has cost, also on a machine that has other things to do.

use std::fs;
use std::time::Duration;

use crate::{Error, Result};

/// Linux counts processor time for user space in hundredths of a second, on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// A process under observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// What the report calls it.
    pub name: String,
    /// Its number.
    pub pid: u32,
}

/// Processor time used so far, or in a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// By all processes but etcd.
    pub services: Duration,
    /// By etcd.
    pub etcd: Duration,
}

impl Cpu {
    /// What the processes have used since they were started.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn used(processes: &[Watched]) -> Result<Self> {
        let mut all = Self::default();
        for process in processes {
            let path = format!("/proc/{}/stat", process.pid);
            let text = fs::read_to_string(&path)
                .map_err(Error::call(format!("read {path} of {}", process.name)))?;
            let used =
                used(&text).ok_or_else(|| Error::Usage(format!("{path} has another form")))?;
            *(if process.name == "etcd" {
                &mut all.etcd
            } else {
                &mut all.services
            }) += used;
        }
        Ok(all)
    }

    /// What was used between two looks.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            services: self.services.saturating_sub(before.services),
            etcd: self.etcd.saturating_sub(before.etcd),
        }
    }
}

/// Fields 14 and 15 are user and system time; the second, the program's name, may hold anything, and ends at the last bracket.
fn used(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields
        .split(' ')
        .skip(11)
        .map(|field| field.parse::<u32>().ok());
    let (user, system) = (times.next()??, times.next()??);
    Some(TICK * user.saturating_add(system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added_up_whatever_the_program_is_called() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 1 0";
        assert_eq!(used(stat), Some(Duration::from_millis(1_750)));
        assert_eq!(used("7 (x) S 1"), None);
    }

    #[test]
    fn etcd_is_told_apart_from_the_services() {
        let pid = std::process::id();
        let named = |name: &str| Watched {
            name: name.to_owned(),
            pid,
        };
        let before = Cpu::used(&[named("etcd")]).unwrap();
        assert_eq!(before.services, Duration::ZERO);
        assert!(Cpu::used(&[named("etcd"), named("p-1")]).unwrap().services >= before.etcd);
        assert_eq!(before.since(before), Cpu::default());
    }
}
