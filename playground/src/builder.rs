//! How many of what, and the order of the start: etcd and the databases, then the services, then the workers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dm_keyspace::Role;
use dm_testkit::etcd::{self, RealEtcd};
use dm_testkit::process::Spec;
use dm_testkit::proxy::TcpProxy;
use dm_testkit::{free_port, scratch};
use futures::future::try_join_all;
use tempfile::TempDir;

use crate::cluster::{Playground, Stock};
use crate::configuration::{self, Service};
use crate::dmctl::Dmctl;
use crate::{Error, Result, Unit, binaries, databases};

/// Below this much free memory on Linux's shared-memory file system, the folders go to the disk.
const ROOMY_KIB: u64 = 4 * 1024 * 1024;

/// What to start; made by [`Playground::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    sources: usize,
    workers: usize,
    replicas: usize,
    dir: Option<PathBuf>,
    bin_dir: Option<PathBuf>,
    otlp: Option<String>,
    flags: Vec<String>,
    service_flags: Vec<String>,
    worker_flags: Vec<String>,
    role_flags: Vec<(Role, String)>,
    proxied: BTreeSet<Role>,
}

impl Default for Builder {
    /// Two sources, two workers, two replicas of each service, in a folder that goes with the playground.
    fn default() -> Self {
        Self {
            sources: 2,
            workers: 2,
            replicas: 2,
            dir: None,
            bin_dir: None,
            otlp: None,
            flags: Vec::new(),
            service_flags: Vec::new(),
            worker_flags: Vec::new(),
            role_flags: Vec::new(),
            proxied: BTreeSet::new(),
        }
    }
}

impl Builder {
    /// How many MariaDB servers to migrate from; one more is the downstream.
    #[must_use]
    pub fn sources(mut self, sources: usize) -> Self {
        self.sources = sources;
        self
    }

    /// How many workers; those beyond the sources stand by.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// How many processes of each of the four services.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// Keeps everything in this folder, also after the end. Data of an earlier run in it would be found: take an empty one.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Where the programs are, when not beside the running one.
    #[must_use]
    pub fn bin_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.bin_dir = Some(dir.into());
        self
    }

    /// The OTLP collector that every process sends its spans to.
    #[must_use]
    pub fn otlp(mut self, url: impl Into<String>) -> Self {
        self.otlp = Some(url.into());
        self
    }

    /// How long a replica that vanished without a trace keeps its place.
    #[must_use]
    pub fn lease_ttl(mut self, ttl: Duration) -> Self {
        self.service_flags
            .push(format!("--lease-ttl={}s", ttl.as_secs()));
        self
    }

    /// How long a worker that vanished keeps its source.
    #[must_use]
    pub fn keepalive_ttl(mut self, ttl: Duration) -> Self {
        self.worker_flags
            .push(format!("--keepalive-ttl={}s", ttl.as_secs()));
        self
    }

    /// A further flag of the replicas of one role.
    #[must_use]
    pub fn role_flag(mut self, role: Role, flag: impl Into<String>) -> Self {
        self.role_flags.push((role, flag.into()));
        self
    }

    /// Lets each replica of a role reach etcd through a proxy of its own, see [`Playground::etcd_proxy`].
    #[must_use]
    pub fn etcd_through_proxies(mut self, role: Role) -> Self {
        self.proxied.insert(role);
        self
    }

    /// A further flag of all services and workers.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Starts everything; a process that was started may still be on its way, see [`Playground::wait_ready`].
    pub async fn start(self) -> Result<Playground> {
        let bin_dir = binaries::find(self.bin_dir.as_deref())?;
        let (root, scratch) = self.root()?;
        let (etcd, databases) =
            tokio::try_join!(start_etcd(&root), databases::start(&root, self.sources))?;
        let (sources, downstream) = databases;
        let launch = Launch {
            root: &root,
            bin_dir: &bin_dir,
            builder: &self,
        };
        let mut services = BTreeMap::new();
        let proxies = self.proxies(&etcd).await?;
        for role in Role::ALL {
            let flags = self.role_flags.iter().filter(|(of, _)| *of == role);
            let flags: Vec<String> = flags.map(|(_, flag)| flag.clone()).collect();
            let unit = |number: usize| {
                let proxy = proxies.get(&role).and_then(|all| all.get(number - 1));
                let endpoint = proxy.map_or_else(|| etcd.endpoint(), TcpProxy::endpoint);
                let mut own = vec![format!("--etcd-endpoints={endpoint}")];
                own.extend(self.service_flags.iter().chain(&flags).cloned());
                launch.unit(configuration::of(role), number, &own)
            };
            let units: Result<Vec<Unit>> = (1..=self.replicas).map(unit).collect();
            services.insert(role, units?);
        }
        let doors: Vec<&str> = services[&Role::Election].iter().map(Unit::addr).collect();
        let doors = doors.join(",");
        let mut own = vec![format!("--join={doors}")];
        own.extend(self.worker_flags.iter().cloned());
        let workers = launch.replicas(configuration::WORKER, self.workers, &own)?;
        let dmctl = Dmctl {
            program: binaries::program(&bin_dir, "dmctl")?,
            doors,
            otlp: self.otlp.clone(),
            dir: launch.dir("dmctl")?,
        };
        Ok(Playground::new(Stock {
            services,
            workers,
            sources,
            downstream,
            proxies,
            etcd,
            dmctl,
            root,
            scratch,
        }))
    }

    async fn proxies(&self, etcd: &RealEtcd) -> Result<BTreeMap<Role, Vec<TcpProxy>>> {
        let mut proxies = BTreeMap::new();
        for role in &self.proxied {
            let target = format!("127.0.0.1:{}", etcd.port());
            let all = (0..self.replicas).map(|_| TcpProxy::start(target.clone()));
            proxies.insert(*role, try_join_all(all).await?);
        }
        Ok(proxies)
    }

    fn root(&self) -> Result<(PathBuf, Option<TempDir>)> {
        if let Some(dir) = &self.dir {
            std::fs::create_dir_all(dir).map_err(Error::io(format!("make {}", dir.display())))?;
            let dir =
                std::path::absolute(dir).map_err(Error::io(format!("find {}", dir.display())))?;
            return Ok((dir, None));
        }
        let scratch = if has_roomy_memory() {
            scratch::scratch_dir("playground")?
        } else {
            tempfile::Builder::new()
                .prefix("dm-playground-")
                .tempdir()
                .map_err(Error::io("make a temporary folder"))?
        };
        Ok((scratch.path().to_owned(), Some(scratch)))
    }
}

async fn start_etcd(root: &Path) -> Result<RealEtcd> {
    let options = etcd::Options {
        own_group: true,
        ..etcd::Options::default()
    };
    Ok(RealEtcd::start_with(root.join("etcd"), options).await?)
}

/// What all processes of a start have in common.
struct Launch<'a> {
    root: &'a Path,
    bin_dir: &'a Path,
    builder: &'a Builder,
}

impl Launch<'_> {
    fn replicas(&self, service: Service, count: usize, own: &[String]) -> Result<Vec<Unit>> {
        (1..=count)
            .map(|number| self.unit(service, number, own))
            .collect()
    }

    fn unit(&self, service: Service, number: usize, own: &[String]) -> Result<Unit> {
        let name = format!("{}-{number}", service.short);
        let dir = self.root.join(&name);
        let file = configuration::write(service, &dir)?;
        let addr = format!("127.0.0.1:{}", free_port()?);
        let spec = Spec::new(
            &name,
            binaries::program(self.bin_dir, service.program)?,
            dir,
        )
        .own_group()
        .arg("--config")
        .arg(file)
        .arg(format!("--name={name}"))
        .arg(format!("--listen={addr}"))
        .arg(format!("--advertise-addr={addr}"))
        // Spans are looked at soon after they end.
        .env("OTEL_BSP_SCHEDULE_DELAY", "200")
        .args(
            self.builder
                .otlp
                .iter()
                .map(|url| format!("--otlp-endpoint={url}")),
        )
        .args(own)
        .args(&self.builder.flags);
        Unit::start(spec, addr)
    }

    fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.root.join(name);
        std::fs::create_dir_all(&dir).map_err(Error::io(format!("make {}", dir.display())))?;
        Ok(dir)
    }
}

/// Databases sync at each commit and need hundreds of megabytes: memory is better, where there is enough of it. Containers often have 64 MB.
fn has_roomy_memory() -> bool {
    let asked = Command::new("df")
        .args(["-k", "--output=avail", "/dev/shm"])
        .output();
    let text = asked
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let free = text
        .lines()
        .nth(1)
        .and_then(|line| line.trim().parse::<u64>().ok());
    free.is_some_and(|free| free >= ROOMY_KIB)
}
