//! What runs, and who leads.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_keyspace::Role;
use dm_testkit::etcd::RealEtcd;
use dm_testkit::mariadb::MariaDb;
use dm_testkit::proxy::TcpProxy;
use futures::future::join_all;
use tempfile::TempDir;

use crate::dmctl::{Dmctl, Output};
use crate::wait::wait_for;
use crate::{Builder, Error, Result, Unit};

/// How long a whole cluster may take to become ready on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(90);

/// A running cluster. Every process of it ends with the value, by SIGKILL; [`Playground::stop`] is the polite way.
#[derive(Debug)]
pub struct Playground(Stock);

/// Fields are dropped in this order: services before what they need, and the folder last.
#[derive(Debug)]
pub(crate) struct Stock {
    pub(crate) workers: Vec<Unit>,
    pub(crate) services: BTreeMap<Role, Vec<Unit>>,
    pub(crate) sources: Vec<MariaDb>,
    pub(crate) downstream: MariaDb,
    pub(crate) proxies: BTreeMap<Role, Vec<TcpProxy>>,
    pub(crate) etcd: RealEtcd,
    pub(crate) dmctl: Dmctl,
    pub(crate) root: PathBuf,
    pub(crate) scratch: Option<TempDir>,
}

impl Playground {
    /// Says what to start.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(stock: Stock) -> Self {
        Self(stock)
    }

    /// The folder that has everything in it, logs included.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Whether the folder goes with this value.
    pub fn is_temporary(&self) -> bool {
        self.0.scratch.is_some()
    }

    /// The addresses of the front doors, separated by commas: what `dmctl --master-addr` takes.
    pub fn doors(&self) -> &str {
        &self.0.dmctl.doors
    }

    /// The etcd under it all.
    pub fn etcd(&mut self) -> &mut RealEtcd {
        &mut self.0.etcd
    }

    /// The way of one replica to etcd, if it was built with [`Builder::etcd_through_proxies`].
    ///
    /// # Panics
    /// When it was not.
    pub fn etcd_proxy(&self, role: Role, replica: usize) -> &TcpProxy {
        &self.0.proxies[&role][replica]
    }

    /// A server to migrate from, counted from 0.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn mariadb(&self, number: usize) -> &MariaDb {
        &self.0.sources[number]
    }

    /// All servers to migrate from.
    pub fn sources(&self) -> &[MariaDb] {
        &self.0.sources
    }

    /// The server to migrate into.
    pub fn downstream(&self) -> &MariaDb {
        &self.0.downstream
    }

    /// The replicas of a role.
    pub fn replicas(&mut self, role: Role) -> &mut [Unit] {
        self.0.services.entry(role).or_default()
    }

    /// One replica of a role, counted from 0.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn service(&mut self, role: Role, replica: usize) -> &mut Unit {
        &mut self.replicas(role)[replica]
    }

    /// The workers.
    pub fn workers(&mut self) -> &mut [Unit] {
        &mut self.0.workers
    }

    /// A worker by its name, as `list-member` and `query-status` give it.
    pub fn worker(&mut self, name: &str) -> Result<&mut Unit> {
        let found = self
            .0
            .workers
            .iter_mut()
            .find(|worker| worker.name() == name);
        found.ok_or_else(|| Error::Unexpected(format!("no worker is called {name:?}")))
    }

    /// Services in the order of their roles, then workers.
    pub fn units(&mut self) -> impl Iterator<Item = &mut Unit> {
        self.0
            .services
            .values_mut()
            .flatten()
            .chain(&mut self.0.workers)
    }

    /// Crashes a replica with SIGKILL.
    pub fn kill9(&mut self, role: Role, replica: usize) -> Result<()> {
        self.service(role, replica).kill9()
    }

    /// Stops a replica in its tracks with SIGSTOP.
    pub fn pause(&mut self, role: Role, replica: usize) -> Result<()> {
        self.service(role, replica).pause()
    }

    /// Lets a paused replica go on.
    pub fn resume(&mut self, role: Role, replica: usize) -> Result<()> {
        self.service(role, replica).resume()
    }

    /// Starts a replica again at its address.
    pub async fn restart(&mut self, role: Role, replica: usize) -> Result<()> {
        self.service(role, replica).restart().await
    }

    /// Runs `dmctl` against the doors; its failure is an answer, not an error.
    pub async fn dmctl<I, A>(&self, args: I) -> Result<Output>
    where
        I: IntoIterator<Item = A>,
        A: Into<OsString>,
    {
        self.0.dmctl.run(args).await
    }

    /// The way to `dmctl`, for tasks of their own.
    pub fn dmctl_program(&self) -> &Dmctl {
        &self.0.dmctl
    }

    /// Waits until every process says that it is ready; one that has ended is a failure at once.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let late = join_all(self.units().map(ready)).await;
        let late: Vec<String> = late.into_iter().flatten().collect();
        if late.is_empty() {
            Ok(())
        } else {
            Err(Error::NotReady(late.join("\n")))
        }
    }

    /// Which replica leads a role, if one says so.
    pub async fn leader_of(&self, role: Role) -> Option<usize> {
        let replicas = self
            .0
            .services
            .get(&role)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let asked = join_all(replicas.iter().map(leads)).await;
        asked.into_iter().position(|leads| leads)
    }

    /// Waits until a replica leads a role.
    pub async fn wait_leader(&self, role: Role, limit: Duration) -> Result<usize> {
        let what = format!("a replica of {role} leads");
        wait_for(limit, &what, async || self.leader_of(role).await).await
    }

    /// Ends everything in order: workers, services, databases, etcd; SIGTERM first, SIGKILL when that does not help.
    pub async fn stop(mut self) -> Result<()> {
        join_all(self.0.workers.iter_mut().map(Unit::stop))
            .await
            .into_iter()
            .collect::<Result<()>>()?;
        let services = self.0.services.values_mut().flatten();
        join_all(services.map(Unit::stop))
            .await
            .into_iter()
            .collect::<Result<()>>()?;
        let databases = self.0.sources.iter_mut().chain([&mut self.0.downstream]);
        for stopped in join_all(databases.map(MariaDb::stop)).await {
            stopped?;
        }
        self.0.etcd.stop().await?;
        Ok(())
    }
}

async fn leads(unit: &Unit) -> bool {
    !unit.is_paused()
        && unit
            .status()
            .await
            .is_ok_and(|status| status["state"]["leads"] == true)
}

/// Waits for one process; gives what is wrong with it, if something is.
async fn ready(unit: &mut Unit) -> Option<String> {
    let mut reason = String::new();
    let waited = wait_for(READY_LIMIT, "the process is ready", async || {
        if let Err(ended) = unit.ensure_running() {
            reason = ended.to_string();
            return Some(false);
        }
        match unit.not_ready().await {
            Some(why) => {
                reason = why;
                None
            }
            None => Some(true),
        }
    });
    if waited.await.is_ok_and(|is_ready| is_ready) {
        return None;
    }
    Some(format!("{}: {reason}\n{}", unit.name(), unit.log_tail()))
}
