//! The configuration files that the services are started from: those of `deploy/`, taken into this program when it is built, so that a
//! file which does not start its service is found by every test. What differs from replica to replica is given by flags.

use std::path::{Path, PathBuf};

use dm_keyspace::Role;

use crate::{Error, Result};

/// A program with its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// The program's name.
    pub program: &'static str,
    /// What its replicas are called, before the number.
    pub short: &'static str,
    /// The text of its file.
    pub file: &'static str,
}

/// The worker.
pub const WORKER: Service = Service {
    program: "worker-svc",
    short: "worker",
    file: include_str!("../../deploy/worker-svc.toml"),
};

/// The service of a role.
#[must_use]
pub fn of(role: Role) -> Service {
    let (program, file) = match role {
        Role::Election => (
            "election-svc",
            include_str!("../../deploy/election-svc.toml"),
        ),
        Role::Scheduler => (
            "scheduler-svc",
            include_str!("../../deploy/scheduler-svc.toml"),
        ),
        Role::Pessimist => (
            "pessimist-svc",
            include_str!("../../deploy/pessimist-svc.toml"),
        ),
        Role::Optimist => (
            "optimist-svc",
            include_str!("../../deploy/optimist-svc.toml"),
        ),
    };
    Service {
        program,
        short: role.as_str(),
        file,
    }
}

/// Puts the file of a service into a folder, and says where it is.
pub fn write(service: Service, dir: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(dir).map_err(Error::io(format!("make {}", dir.display())))?;
    let path = dir.join(format!("{}.toml", service.program));
    std::fs::write(&path, service.file).map_err(Error::io(format!("write {}", path.display())))?;
    Ok(path)
}
