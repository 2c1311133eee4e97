//! Replicas, what else is on the network, and the faults that meet them.

use std::time::Duration;

use dm_keyspace::{Campaign, Member, Role};
use dm_replica::{Handle, Machine, Replica, Settings};
use dm_testkit::memory::{Clock, MemoryEtcd, Options};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;
use turmoil::Sim;

use crate::network::{self, ETCD};

/// The simulated network moves on by this.
const TICK: Duration = Duration::from_millis(10);
/// Replicas of the role.
const REPLICAS: usize = 3;
const LEASE: Duration = Duration::from_secs(4);
/// Pause between two faults, at most.
const BETWEEN_FAULTS: Duration = Duration::from_secs(4);
/// How long a fault lasts, at most.
const FAULT: Duration = Duration::from_secs(8);

/// What ends a fault.
enum Mend {
    Repair(String),
    RepairOneWay(String, String),
    Release(String),
    Bounce(String),
    Watch,
}

/// A cluster under simulation.
pub(crate) struct Cluster {
    sim: Sim<'static>,
    pub(crate) etcd: MemoryEtcd,
    role: Role,
    rng: SmallRng,
    hosts: Vec<String>,
    mends: Vec<(Duration, Mend)>,
    next_fault: Duration,
}

impl Cluster {
    /// An etcd and replicas of `role`, which run from the first step on.
    pub(crate) fn new<M: Machine>(seed: u64, role: Role, machine: fn() -> M) -> Self {
        let etcd = Self::etcd();
        Self::with_users(seed, role, machine, etcd, |_| std::future::pending())
    }

    /// An etcd under the simulation's time.
    pub(crate) fn etcd() -> MemoryEtcd {
        MemoryEtcd::new(&Options {
            clock: Clock::Tokio,
            ..Options::default()
        })
    }

    /// The same, and beside each replica, in its process, somebody who makes requests of it.
    pub(crate) fn with_users<M: Machine, F: Future<Output = ()> + 'static>(
        seed: u64,
        role: Role,
        machine: fn() -> M,
        etcd: MemoryEtcd,
        drive: impl Fn(Handle<M>) -> F + Clone + 'static,
    ) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .enable_random_order()
            .enable_tokio_io()
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(rng.random_range(2..100)))
            .simulation_duration(Duration::from_secs(24 * 3600))
            .tcp_capacity(4096)
            .build();
        let served = etcd.clone();
        sim.host(ETCD, move || network::serve(served.clone()));
        let mut cluster = Self {
            sim,
            etcd,
            role,
            rng,
            hosts: Vec::new(),
            mends: Vec::new(),
            next_fault: Duration::ZERO,
        };
        for number in 1..=REPLICAS {
            let name = replica_name(role, number);
            let member = Member::new(name.as_str(), "", "sim");
            let drive = drive.clone();
            cluster.host(name, move || {
                replica(role, member.clone(), machine(), drive.clone())
            });
        }
        cluster
    }

    /// One more process on the network.
    pub(crate) fn host<F>(&mut self, name: String, start: impl Fn() -> F + 'static)
    where
        F: Future<Output = turmoil::Result> + 'static,
    {
        self.sim.host(name.as_str(), start);
        self.hosts.push(name);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    /// Lets time pass with faults, looking after each step.
    pub(crate) fn suffer(&mut self, time: Duration, look: impl Fn(Duration)) {
        let end = self.elapsed() + time;
        while self.elapsed() < end {
            if self.elapsed() >= self.next_fault {
                self.fault();
                self.next_fault = self.elapsed() + self.rng.random_range(TICK..BETWEEN_FAULTS);
            }
            self.mend(|due, now| due <= now);
            self.step();
            look(self.elapsed());
        }
    }

    /// Mends everything, and waits until `condition` holds. False when it does not within `limit`.
    pub(crate) fn settle(
        &mut self,
        limit: Duration,
        look: impl Fn(Duration),
        condition: impl Fn(&MemoryEtcd) -> bool,
    ) -> bool {
        self.mend(|_, _| true);
        let end = self.elapsed() + limit;
        while self.elapsed() < end {
            self.step();
            look(self.elapsed());
            if condition(&self.etcd) {
                return true;
            }
        }
        false
    }

    /// Lets time pass without faults until `condition` holds, which is looked at after each step.
    ///
    /// # Panics
    /// When it does not hold within `limit`.
    pub(crate) fn until(
        &mut self,
        limit: Duration,
        what: &str,
        condition: impl Fn(&MemoryEtcd, Duration) -> bool,
    ) {
        let end = self.elapsed() + limit;
        while !condition(&self.etcd, self.elapsed()) {
            assert!(self.elapsed() < end, "{what}: not within {limit:?}");
            self.step();
        }
    }

    /// Ends a process without a word.
    pub(crate) fn crash(&mut self, host: &str) {
        self.sim.crash(host);
    }

    /// Starts a process again, whether it has ended or not.
    pub(crate) fn bounce(&mut self, host: &str) {
        self.sim.bounce(host);
    }

    /// Keeps all messages between a process and etcd, those on their way included, until they are released.
    pub(crate) fn hold(&mut self, host: &str) {
        self.sim.hold(host, ETCD);
    }

    pub(crate) fn release(&mut self, host: &str) {
        self.sim.release(host, ETCD);
    }

    pub(crate) fn partition(&mut self, host: &str) {
        self.sim.partition(host, ETCD);
    }

    pub(crate) fn repair(&mut self, host: &str) {
        self.sim.repair(host, ETCD);
    }

    /// The names of all replicas.
    pub(crate) fn replicas(&self) -> Vec<String> {
        (1..=REPLICAS)
            .map(|number| replica_name(self.role, number))
            .collect()
    }

    /// Who leads as etcd has it, and by which lease.
    pub(crate) fn leader(&self) -> Option<(String, i64)> {
        let line = self.etcd.dump(&format!("/dm-master/leader/{}/", self.role));
        let first = line.iter().min_by_key(|kv| kv.create_revision)?;
        let place = Campaign::from_bytes(&first.value).ok()?;
        Some((place.id.to_string(), first.lease))
    }

    fn step(&mut self) {
        if let Err(error) = self.sim.step() {
            panic!("a process has failed: {error}");
        }
    }

    fn mend(&mut self, is_due: impl Fn(Duration, Duration) -> bool) {
        let now = self.elapsed();
        let (due, later) = std::mem::take(&mut self.mends)
            .into_iter()
            .partition(|(at, _)| is_due(*at, now));
        self.mends = later;
        let due: Vec<(Duration, Mend)> = due;
        for (_, mend) in due {
            match mend {
                Mend::Repair(host) => self.sim.repair(host, ETCD),
                Mend::RepairOneWay(from, to) => self.sim.repair_oneway(from, to),
                Mend::Release(host) => self.sim.release(host, ETCD),
                Mend::Bounce(host) => self.sim.bounce(host),
                Mend::Watch => self.etcd.release_watch(),
            }
        }
    }

    /// Whatever the seed draws next.
    fn fault(&mut self) {
        let host = self.hosts[self.rng.random_range(0..self.hosts.len())].clone();
        let until = self.elapsed() + self.rng.random_range(TICK..FAULT);
        match self.rng.random_range(0..11) {
            0 | 1 => self.sim.bounce(host),
            2 => {
                self.sim.crash(host.as_str());
                self.mends.push((until, Mend::Bounce(host)));
            }
            3 => {
                self.sim.partition(host.as_str(), ETCD);
                self.mends.push((until, Mend::Repair(host)));
            }
            4 | 5 => {
                self.sim.hold(host.as_str(), ETCD);
                self.mends.push((until, Mend::Release(host)));
            }
            10 => {
                let ends = match self.rng.random_range(0..2) {
                    0 => (host, ETCD.to_owned()),
                    _ => (ETCD.to_owned(), host),
                };
                self.sim.partition_oneway(ends.0.as_str(), ends.1.as_str());
                self.mends.push((until, Mend::RepairOneWay(ends.0, ends.1)));
            }
            6 => self.etcd.drop_reply_of_next_txn(),
            7 => {
                self.etcd.hold_watch();
                self.mends.push((until, Mend::Watch));
            }
            8 => {
                let _ = self.etcd.compact(self.etcd.revision());
            }
            _ => self.end_lead(),
        }
    }

    /// The lease of whoever leads ends, whatever it is at.
    pub(crate) fn end_lead(&self) {
        if let Some((_, lease)) = self.leader() {
            // It may have run out at the same moment.
            let _ = self.etcd.revoke(lease);
        }
    }
}

fn replica_name(role: Role, number: usize) -> String {
    format!("{role}-{number}")
}

async fn replica<M: Machine, F: Future<Output = ()>>(
    role: Role,
    member: Member,
    machine: M,
    drive: impl Fn(Handle<M>) -> F,
) -> turmoil::Result {
    let settings = Settings {
        lease_ttl: LEASE,
        // Addresses of the simulated network mean nothing to a probe.
        probe_interval: Duration::from_secs(24 * 3600),
        audit_interval: Duration::from_secs(20),
        ..Settings::new(role, member)
    };
    let store = network::store().await?;
    let replica = Replica::new(settings, store, machine);
    let drive = drive(replica.handle());
    tokio::select! {
        () = replica.run(CancellationToken::new()) => {}
        () = drive => {}
    }
    Ok(())
}
