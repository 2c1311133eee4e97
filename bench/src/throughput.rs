//! Shard DDLs per second: every source reports, acts and waits for the end of the round as fast as the master lets it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dm_keyspace::SourceId;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::cpu::{Cpu, Watched};
use crate::report::{Table, rate_cell, time_cell};
use crate::worker::Participant;
use crate::{Error, Result, World};

/// How the sources are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One task of all sources: one lock at a time, as wide as can be.
    OneLock,
    /// Tasks of two sources each: many locks at a time.
    Pairs,
}

impl Shape {
    fn width(self, sources: usize) -> usize {
        match self {
            Self::OneLock => sources,
            Self::Pairs => 2,
        }
    }

    fn tag(self) -> &'static str {
        match self {
            Self::OneLock => "one",
            Self::Pairs => "two",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::OneLock => "one lock of all",
            Self::Pairs => "locks of two",
        }
    }
}

/// What is to be done by the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The shape.
    pub shape: Shape,
    /// Rounds of every lock before the time is taken.
    pub warm: usize,
    /// Rounds of every lock that are timed.
    pub timed: usize,
    /// Tells the tasks of several measurements of the same sources apart.
    pub series: usize,
}

/// What was measured for one number of sources.
#[derive(Clone, Copy, Debug)]
pub struct Throughput {
    /// The shape.
    pub shape: Shape,
    /// Sources at work.
    pub sources: usize,
    /// DDLs that were coordinated from the first info to the last delete.
    pub ddls: usize,
    /// In this time.
    pub elapsed: Duration,
    /// Processor time that they took of the processes under observation.
    pub cpu: Cpu,
}

impl Throughput {
    /// Times that a source was told something.
    fn operations(&self) -> usize {
        self.ddls * self.shape.width(self.sources)
    }

    /// Processor time of all services for one of them, if it was observed.
    #[must_use]
    pub fn service_cost(&self) -> Option<Duration> {
        cost(self.cpu.services, self.operations())
    }
}

/// Lets every source go through its rounds. Every round is checked.
///
/// # Errors
/// At the first wrong answer.
pub async fn measure(
    world: &World,
    sources: &[SourceId],
    load: Load,
    processes: &[Watched],
) -> Result<Throughput> {
    let width = load.shape.width(sources.len()).max(1);
    let locks: Vec<&[SourceId]> = sources.chunks_exact(width).collect();
    let parties = locks.len() * width;
    let barrier = Arc::new(Barrier::new(parties + 1));
    let mut runs = start(world, &locks, load, &barrier).await?;
    // A lock that fails before the barrier would keep everybody waiting: whichever ends first decides.
    tokio::select! {
        _ = barrier.wait() => {}
        Some(ended) = runs.join_next() => {
            flatten(ended)?;
            return Err(Error::Usage("there was nothing to measure".to_owned()));
        }
    }
    let (began, before) = (Instant::now(), Cpu::used(processes)?);
    while let Some(ended) = runs.join_next().await {
        flatten(ended)?;
    }
    let elapsed = began.elapsed();
    Ok(Throughput {
        shape: load.shape,
        sources: parties,
        ddls: load.timed * locks.len(),
        elapsed,
        cpu: Cpu::used(processes)?.since(before),
    })
}

async fn start(
    world: &World,
    locks: &[&[SourceId]],
    load: Load,
    barrier: &Arc<Barrier>,
) -> Result<JoinSet<Result<()>>> {
    let sources: usize = locks.iter().map(|lock| lock.len()).sum();
    let scenario = format!("{}{sources}s{}", load.shape.tag(), load.series);
    let mut runs = JoinSet::new();
    for (number, lock) in locks.iter().enumerate() {
        let task = world.run().task(&scenario, number);
        world.start_task(&task, lock).await?;
        let parts = lock.iter().enumerate().map(|(at, source)| {
            let store = world.store(number + at).clone();
            Participant::new(store, task.clone(), source.clone())
        });
        let rounds = Rounds {
            warm: load.warm,
            timed: load.timed,
            barrier: Arc::clone(barrier),
        };
        runs.spawn(rounds.of_lock(parts.collect()));
    }
    Ok(runs)
}

fn flatten(ended: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    ended.unwrap_or_else(|e| Err(Error::Usage(format!("a participant ended: {e}"))))
}

#[derive(Clone)]
struct Rounds {
    warm: usize,
    timed: usize,
    barrier: Arc<Barrier>,
}

impl Rounds {
    /// All sources of one lock; each goes on by itself, as workers do.
    async fn of_lock(self, parts: Vec<Participant>) -> Result<()> {
        let mut running = JoinSet::new();
        for part in parts {
            running.spawn(self.clone().of_source(part));
        }
        let mut executed = vec![0_usize; self.warm + self.timed];
        while let Some(ended) = running.join_next().await {
            let told =
                ended.unwrap_or_else(|e| Err(Error::Usage(format!("a participant ended: {e}"))))?;
            for (count, exec) in executed.iter_mut().zip(told) {
                *count += usize::from(exec);
            }
        }
        match executed.iter().position(|count| *count != 1) {
            None => Ok(()),
            Some(round) => Err(Error::Wrong(format!(
                "in round {round}, {} sources were told to execute",
                executed[round]
            ))),
        }
    }

    async fn of_source(self, mut part: Participant) -> Result<Vec<bool>> {
        let mut told = Vec::with_capacity(self.warm + self.timed);
        for number in 0..self.warm {
            told.push(part.round(number).await?);
        }
        self.barrier.wait().await;
        for number in self.warm..self.warm + self.timed {
            told.push(part.round(number).await?);
        }
        Ok(told)
    }
}

/// One line per measurement.
#[must_use]
pub fn table(measured: &[Throughput]) -> Table {
    let mut table = Table::new(
        "Throughput: shard DDLs per second, from all infos to all deletes",
        &[
            "sources",
            "shape",
            "DDLs",
            "time",
            "DDLs/s",
            "operations/s",
            "CPU of services/op",
            "CPU of etcd/op",
        ],
    );
    for one in measured {
        let operations = one.operations();
        table.row(vec![
            one.sources.to_string(),
            one.shape.name().to_owned(),
            one.ddls.to_string(),
            time_cell(one.elapsed),
            rate_cell(one.ddls, one.elapsed),
            rate_cell(operations, one.elapsed),
            cost_cell(one.service_cost()),
            cost_cell(cost(one.cpu.etcd, operations)),
        ]);
    }
    table.note("An operation is what one source is told in one DDL; it costs etcd four changes: info, operation, done, delete. The processor time is that of all replicas together.");
    table
}

/// Processor time of one of so many, if it can be told.
#[must_use]
pub fn cost(cpu: Duration, operations: usize) -> Option<Duration> {
    match u32::try_from(operations) {
        Ok(operations) if operations > 0 && !cpu.is_zero() => Some(cpu / operations),
        _ => None,
    }
}

/// A cost, or a dash.
#[must_use]
pub fn cost_cell(cost: Option<Duration>) -> String {
    cost.map_or_else(|| "-".to_owned(), time_cell)
}
