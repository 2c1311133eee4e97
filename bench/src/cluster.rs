//! etcd and the services on loopback, as processes of their own, without databases: simulated workers need none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_keyspace::Role;
use dm_testkit::etcd::{self, RealEtcd};
use dm_testkit::process::{Process, Spec};
use dm_testkit::{free_port, scratch};
use tempfile::TempDir;

use crate::cpu::Watched;
use crate::error::within;
use crate::leader::describe;
use crate::{Error, Result};

/// How long a start may take on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// What to start.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Services.
    pub roles: Vec<Role>,
    /// Processes of each.
    pub replicas: usize,
    /// Where the programs are.
    pub bin_dir: PathBuf,
    /// Where etcd keeps its data; in memory if nowhere.
    pub etcd_dir: Option<PathBuf>,
    /// Further flags of every service.
    pub flags: Vec<String>,
}

/// Running processes; all end with the value.
#[derive(Debug)]
pub struct Cluster {
    services: Vec<Service>,
    etcd: RealEtcd,
    // Last, so that the processes end before their folders go.
    _dirs: Vec<TempDir>,
}

#[derive(Debug)]
struct Service {
    role: Role,
    name: String,
    addr: String,
    spec: Spec,
    process: Process,
}

impl Cluster {
    /// Starts everything and waits until every replica says that it is ready.
    ///
    /// # Errors
    /// When a program is missing or ends.
    pub async fn start(wanted: &Wanted) -> Result<Self> {
        let dir = scratch::scratch_dir("bench")?;
        let mut dirs = Vec::new();
        let etcd_dir = match &wanted.etcd_dir {
            None => dir.path().join("etcd"),
            Some(parent) => {
                let made = tempfile::Builder::new()
                    .prefix("bench-etcd-")
                    .tempdir_in(parent);
                let made = made.map_err(Error::call(format!(
                    "make a folder in {}",
                    parent.display()
                )))?;
                let path = made.path().to_owned();
                dirs.push(made);
                path
            }
        };
        let options = etcd::Options {
            own_group: true,
            args: vec!["--quota-backend-bytes=8000000000".to_owned()],
            ..etcd::Options::default()
        };
        let etcd = RealEtcd::start_with(etcd_dir, options).await?;
        let mut services = Vec::new();
        for role in &wanted.roles {
            for number in 1..=wanted.replicas {
                services.push(Service::start(wanted, *role, number, &etcd, dir.path())?);
            }
        }
        dirs.push(dir);
        let mut cluster = Self {
            services,
            etcd,
            _dirs: dirs,
        };
        cluster.wait_ready().await?;
        Ok(cluster)
    }

    /// Where etcd listens.
    #[must_use]
    pub fn etcd(&self) -> String {
        self.etcd.endpoint()
    }

    /// The first front door, if there is one.
    #[must_use]
    pub fn door(&self) -> Option<String> {
        let door = self
            .services
            .iter()
            .find(|service| service.role == Role::Election);
        door.map(|service| service.addr.clone())
    }

    /// All processes.
    pub fn processes(&mut self) -> Vec<Watched> {
        let services = self.services.iter().map(|service| Watched {
            name: service.name.clone(),
            pid: service.process.id(),
        });
        let mut all: Vec<_> = services.collect();
        all.push(Watched {
            name: "etcd".to_owned(),
            pid: self.etcd.process().id(),
        });
        all
    }

    /// Ends a service with SIGKILL and waits until the kernel has.
    ///
    /// # Errors
    /// When it is not one of these processes.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        self.service(name)?.process.kill9()?;
        Ok(())
    }

    /// Starts a killed service again at the same address.
    ///
    /// # Errors
    /// When it is not one of these processes.
    pub fn start_again(&mut self, name: &str) -> Result<()> {
        let service = self.service(name)?;
        service.process.kill9()?;
        service.process = service.spec.spawn()?;
        Ok(())
    }

    /// The end of the log of every process that has ended by itself.
    pub fn last_words(&mut self) -> String {
        let ended = self
            .services
            .iter_mut()
            .filter_map(|service| service.process.ensure_running().err());
        ended.map(|e| e.to_string()).collect::<Vec<_>>().join("\n")
    }

    fn service(&mut self, name: &str) -> Result<&mut Service> {
        let found = self
            .services
            .iter_mut()
            .find(|service| service.name == name);
        found.ok_or_else(|| Error::Usage(format!("{name:?} is no process of this run")))
    }

    async fn wait_ready(&mut self) -> Result<()> {
        for service in &mut self.services {
            let what = format!("{} is ready", service.name);
            let log = service.process.log_tail();
            let ready = within(START_LIMIT, || format!("{what}\n{log}"), service.ready());
            ready.await?;
        }
        Ok(())
    }
}

/// There is no downstream whose checkpoints an optimist could read: it need not wait for them.
fn flags_of(role: Role) -> &'static [&'static str] {
    match role {
        Role::Optimist => &["--checkpoint-wait=100ms"],
        _ => &[],
    }
}

impl Service {
    fn start(
        wanted: &Wanted,
        role: Role,
        number: usize,
        etcd: &RealEtcd,
        dir: &Path,
    ) -> Result<Self> {
        let program = format!("{role}-svc");
        let path = wanted.bin_dir.join(&program);
        if !path.is_file() {
            return Err(Error::Usage(format!(
                "{} is not there; build it first: cargo build{} -p {program}",
                path.display(),
                if cfg!(debug_assertions) {
                    ""
                } else {
                    " --release"
                },
            )));
        }
        let name = format!("{role}-{number}");
        let addr = format!("127.0.0.1:{}", free_port()?);
        let spec = Spec::new(&name, path, dir.join(&name))
            .own_group()
            .arg(format!("--name={name}"))
            .arg(format!("--listen={addr}"))
            .arg(format!("--etcd-endpoints={}", etcd.endpoint()))
            .args(flags_of(role))
            .args(&wanted.flags);
        let process = spec.spawn()?;
        Ok(Self {
            role,
            name,
            addr,
            spec,
            process,
        })
    }

    async fn ready(&mut self) -> Result<()> {
        loop {
            self.process.ensure_running()?;
            if describe(&self.addr)
                .await
                .is_ok_and(|me| me.ready && me.position > 0)
            {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
