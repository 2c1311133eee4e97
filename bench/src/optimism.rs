//! Optimistic shard DDLs: how long an info waits for its answer beside the bare round trip, infos per second by the number of tables
//! in a lock, a statement that conflicts in all tables but the last, and what a takeover costs with many tables.

mod reporters;
mod tables;

use std::time::{Duration, Instant};

use dm_keyspace::Role;

use crate::bare::Bare;
use crate::cluster::Cluster;
use crate::cpu::{Cpu, Watched};
use crate::latency::Trips;
use crate::leader::Leader;
use crate::shards::Shards;
use crate::takeover::{Way, up_to_date};
use crate::times::Times;
use crate::{Error, Result, World, memory};

use reporters::{Expected, Reporters};

pub use tables::{aims, tables};

/// Tables of the small locks; one of each keeps its lock open and reports nothing.
const SMALL: usize = 10;

/// How much of what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Latency samples; none for no such scenario.
    pub samples: usize,
    /// Numbers of tables in one lock, ascending; memory and takeover are looked at with most.
    pub tables: Vec<usize>,
    /// Infos whose rate is taken at each of them, about.
    pub infos: usize,
    /// Tables that meet a conflict; none for no such scenario.
    pub conflict: usize,
    /// Resignations.
    pub resignations: usize,
    /// Kills, where the processes are ours.
    pub kills: usize,
}

impl Sizes {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.samples == 0 && self.tables.is_empty() && self.conflict == 0
    }
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct Optimism {
    /// Info put -> operation put, and put -> watch -> put.
    pub latency: Option<[Trips; 2]>,
    /// By number of tables in a lock.
    pub rates: Vec<Rate>,
    /// A statement that conflicts.
    pub conflict: Option<Conflict>,
    /// With most tables.
    pub takeovers: Vec<Takeover>,
    /// Name and resident kibibytes of each process, with most tables.
    pub resident: Vec<(String, u64)>,
}

/// Infos of one number of tables.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Tables in each lock.
    pub tables: usize,
    /// Infos that were answered.
    pub infos: usize,
    /// In this time.
    pub elapsed: Duration,
    /// Processor time of all services for it.
    pub cpu: Cpu,
}

/// All tables rename a column.
#[derive(Clone, Copy, Debug)]
pub struct Conflict {
    /// How many there are.
    pub tables: usize,
    /// Until all but the last were told to wait.
    pub waiting: Duration,
    /// From the last one's info until all others were told to go back.
    pub resolved: Duration,
}

/// Leaders of the optimistic locks that go.
#[derive(Clone, Debug)]
pub struct Takeover {
    /// Tables in the lock.
    pub tables: usize,
    /// How they went.
    pub way: Way,
    /// From the request, or the signal, to the answer to an info that was put then.
    pub served: Times,
}

/// Measures all of it, each number of tables with locks of its own.
///
/// # Errors
/// At the first wrong answer.
pub async fn measure(
    world: &World,
    mut cluster: Option<&mut Cluster>,
    processes: &[Watched],
    sizes: &Sizes,
) -> Result<Optimism> {
    let mut run = Scene {
        world: world.clone(),
        reporters: Reporters::new(world).await?,
        tasks: 0,
    };
    let mut all = Optimism::default();
    if sizes.samples > 0 {
        all.latency = Some(run.latency(sizes.samples).await?);
    }
    for (at, &tables) in sizes.tables.iter().enumerate() {
        let (rate, lock) = run.rate(tables, sizes.infos, processes).await?;
        all.rates.push(rate);
        if at + 1 < sizes.tables.len() || processes.is_empty() && sizes.resignations == 0 {
            continue;
        }
        up_to_date(world).await?;
        all.resident = memory::measure(crate::takeover::Size::default(), processes)?.resident;
        for (way, times) in [(Way::Resign, sizes.resignations), (Way::Kill, sizes.kills)] {
            if times == 0 || (way == Way::Kill && cluster.is_none()) {
                continue;
            }
            let done = all.takeovers.iter().map(|one| one.served.count()).sum();
            let taken = run
                .takeover(cluster.as_deref_mut(), &lock, way, times, done)
                .await?;
            all.takeovers.push(taken);
        }
    }
    if sizes.conflict > 1 {
        all.conflict = Some(run.conflict(sizes.conflict).await?);
    }
    Ok(all)
}

struct Scene {
    world: World,
    reporters: Reporters,
    tasks: usize,
}

impl Scene {
    /// Locks in which all tables have the first column.
    async fn locks(&mut self, count: usize, tables: usize) -> Result<Vec<Shards>> {
        let numbers = self.tasks..self.tasks + count;
        self.tasks += count;
        let locks = numbers.map(|number| Shards::new(self.world.run(), number, tables));
        let locks = locks.collect::<Result<Vec<_>>>()?;
        self.reporters.begin(&locks).await?;
        Ok(locks)
    }

    /// One info at a time, in turn with bare round trips.
    async fn latency(&mut self, samples: usize) -> Result<[Trips; 2]> {
        tracing::info!(samples, "measuring the latency of optimistic DDLs");
        let mut bare = Bare::start(&self.world).await?;
        let mut all = [Trips::default(), Trips::default()];
        let warm = samples / 10 + 1;
        let count = (samples + warm).div_ceil(SMALL - 1);
        for (round, shards) in self.locks(count, SMALL).await?.iter().enumerate() {
            for table in 1..SMALL {
                let ddl = self.reporters.trip(shards.info(table, 1)).await?;
                let number = round * SMALL + table;
                let trip = bare.trip(number).await?;
                if number >= warm {
                    all[0].record(ddl);
                    all[1].record(trip);
                }
            }
        }
        Ok(all)
    }

    /// About so many infos, in as many locks as that takes; gives the last of these.
    async fn rate(
        &mut self,
        tables: usize,
        infos: usize,
        processes: &[Watched],
    ) -> Result<(Rate, Shards)> {
        if tables < 2 {
            let why = "an optimistic lock takes two tables or more";
            return Err(Error::Usage(why.to_owned()));
        }
        let of_each = (tables - 1).min(infos.max(1));
        tracing::info!(tables, "loading optimistic locks");
        let locks = self.locks((infos / of_each).max(1), tables).await?;
        let reports: Vec<_> = locks
            .iter()
            .flat_map(|shards| reports(shards, of_each))
            .collect();
        let infos = reports.len();
        tracing::info!(tables, infos, "measuring infos per second");
        let before = Cpu::used(processes)?;
        let elapsed = self.reporters.report(reports, &Expected::done()).await?;
        let rate = Rate {
            tables,
            infos,
            elapsed,
            cpu: Cpu::used(processes)?.since(before),
        };
        let last = locks.into_iter().next_back();
        let last = last.ok_or_else(|| Error::Usage("there is no lock".to_owned()))?;
        Ok((rate, last))
    }

    async fn conflict(&mut self, tables: usize) -> Result<Conflict> {
        tracing::info!(tables, "measuring a conflict");
        let locks = self.locks(1, tables).await?;
        let [shards] = &locks[..] else {
            return Err(Error::Usage("there is no lock".to_owned()));
        };
        let first = (0..tables - 1).map(|table| shards.conflict(table));
        let waiting = self
            .reporters
            .report(first.collect(), &Expected::waits())
            .await?;
        let last = shards.conflict(tables - 1);
        Ok(Conflict {
            tables,
            waiting,
            resolved: self.reporters.resolve(last, tables - 1).await?,
        })
    }

    /// Lets the leader go `times` times, each time with a table that adds its third column. `done` tables have that already.
    async fn takeover(
        &mut self,
        mut cluster: Option<&mut Cluster>,
        lock: &Shards,
        way: Way,
        times: usize,
        done: u64,
    ) -> Result<Takeover> {
        tracing::info!(?way, times, "measuring takeovers of optimistic locks");
        let mut served = Times::default();
        let done = usize::try_from(done).unwrap_or_default();
        for table in (1..lock.tables()).skip(done).take(times) {
            let leader = Leader::find_of(self.world.store(0), Role::Optimist).await?;
            let began = Instant::now();
            match (way, cluster.as_deref_mut()) {
                (Way::Resign, _) => leader.resign().await?,
                (Way::Kill, Some(cluster)) => cluster.kill(&leader.name)?,
                (Way::Kill, None) => return Ok(none(lock, way)),
            }
            let infos = vec![lock.info(table, 2)];
            self.reporters.report(infos, &Expected::executed()).await?;
            served.record(began.elapsed());
            if let (Way::Kill, Some(cluster)) = (way, cluster.as_deref_mut()) {
                cluster.start_again(&leader.name)?;
            }
            up_to_date(&self.world).await?;
        }
        Ok(Takeover {
            served,
            ..none(lock, way)
        })
    }
}

fn none(lock: &Shards, way: Way) -> Takeover {
    Takeover {
        tables: lock.tables(),
        way,
        served: Times::default(),
    }
}

/// The first tables but one add the second column.
fn reports(shards: &Shards, count: usize) -> Vec<dm_keyspace::optimism::Info> {
    (1..=count).map(|table| shards.info(table, 1)).collect()
}
