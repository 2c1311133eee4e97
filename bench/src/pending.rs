//! What a DDL costs while other locks wait: it should cost the same, however many there are.

use std::time::Duration;

use crate::ballast::Ballast;
use crate::cpu::Watched;
use crate::report::{Aim, Table, rate_cell, ratio_cell};
use crate::throughput::{self, Load, Shape, Throughput};
use crate::times::ratio;
use crate::worker::Fleet;
use crate::{Result, World};

/// A DDL with most locks waiting may cost so many times as much as with fewest, to count as independent of them.
const COST_AIM: f64 = 1.5;
/// Sources of each task whose lock waits.
const MEMBERS: usize = 2;

/// What was measured with so many locks waiting.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// Locks that wait for a source.
    pub locks: usize,
    /// What others did meanwhile.
    pub throughput: Throughput,
}

/// Measures with each number of waiting locks, and each number of sources at work in locks of two; both are ascending.
///
/// # Errors
/// At the first wrong answer.
pub async fn measure(
    world: &World,
    locks: &[usize],
    sources: &[usize],
    operations: usize,
    processes: &[Watched],
) -> Result<Vec<Pending>> {
    let mut fleet = Fleet::new(world);
    let mut ballast = Ballast::new(world, MEMBERS);
    let mut measured = Vec::new();
    for (series, &locks) in locks.iter().enumerate() {
        tracing::info!(locks, "loading locks that wait");
        ballast.pend(locks).await?;
        for &count in sources {
            fleet.grow(count).await?;
            let timed = (operations / count.max(1)).clamp(3, 2_000);
            let load = Load {
                shape: Shape::Pairs,
                warm: timed / 10 + 1,
                timed,
                series,
            };
            tracing::info!(locks, sources = count, "measuring while locks wait");
            let at_work = &fleet.sources()[..count];
            let throughput = throughput::measure(world, at_work, load, processes).await?;
            measured.push(Pending { locks, throughput });
        }
    }
    fleet.leave().await?;
    Ok(measured)
}

/// One line per number of waiting locks and of sources.
#[must_use]
pub fn table(measured: &[Pending]) -> Table {
    let mut table = Table::new(
        "Pending locks: shard DDLs in locks of two sources, while other locks wait",
        &[
            "waiting locks",
            "sources",
            "DDLs",
            "DDLs/s",
            "CPU of services/op",
            ": fewest waiting",
        ],
    );
    for one in measured {
        let (ddls, cost) = (one.throughput.ddls, one.throughput.service_cost());
        table.row(vec![
            one.locks.to_string(),
            one.throughput.sources.to_string(),
            ddls.to_string(),
            rate_cell(ddls, one.throughput.elapsed),
            throughput::cost_cell(cost),
            ratio_cell(growth(measured, one)),
        ]);
    }
    table.note("Every waiting lock is that of a task of two sources, one of which has reported. An operation is one info and what follows from it.");
    table
}

/// The aim: an info costs the same, however many locks wait.
#[must_use]
pub fn aims(measured: &[Pending]) -> Vec<Aim> {
    let fewest = measured.iter().map(|one| one.locks).min();
    let most = measured.iter().map(|one| one.locks).max();
    let Some((fewest, most)) = fewest.zip(most).filter(|(few, many)| few < many) else {
        return Vec::new();
    };
    let last = measured.iter().filter(|one| one.locks == most);
    let worst = last
        .filter_map(|one| growth(measured, one))
        .max_by(f64::total_cmp);
    vec![Aim {
        what: format!(
            "processor time of the services for an info, {most} : {fewest} waiting locks, worst number of sources"
        ),
        limit: format!("at most {COST_AIM}"),
        measured: ratio_cell(worst),
        is_met: worst.is_some_and(|worst| worst <= COST_AIM),
    }]
}

/// The cost in those of the same sources with fewest locks waiting.
fn growth(measured: &[Pending], one: &Pending) -> Option<f64> {
    let same = measured
        .iter()
        .filter(|other| other.throughput.sources == one.throughput.sources);
    let first = same.min_by_key(|other| other.locks)?;
    let cost = |pending: &Pending| -> Option<Duration> { pending.throughput.service_cost() };
    ratio(cost(one)?, cost(first)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Cpu;

    fn with(locks: usize, sources: usize, millis: u64) -> Pending {
        Pending {
            locks,
            throughput: Throughput {
                shape: Shape::Pairs,
                sources,
                ddls: 50,
                elapsed: Duration::from_secs(1),
                cpu: Cpu {
                    services: Duration::from_millis(millis),
                    etcd: Duration::ZERO,
                },
            },
        }
    }

    #[test]
    fn costs_stand_beside_those_of_the_same_sources_with_fewest_locks() {
        let measured = [
            with(1, 10, 100),
            with(1, 100, 300),
            with(100, 10, 110),
            with(100, 100, 330),
            with(10_000, 10, 0),
        ];
        let text = table(&measured).to_string();
        let ends: Vec<_> = text
            .lines()
            .skip(3)
            .filter_map(|line| line.split_whitespace().last())
            .take(5)
            .collect();
        assert_eq!(ends, ["1.00", "1.00", "1.10", "1.10", "-"], "{text}");
    }

    #[test]
    fn the_aim_looks_at_the_number_of_sources_that_grows_most() {
        let measured = [
            with(1, 10, 100),
            with(1, 100, 100),
            with(100, 10, 110),
            with(100, 100, 180),
        ];
        let aim = &aims(&measured)[0];
        assert_eq!((aim.measured.as_str(), aim.is_met), ("1.80", false));
        assert_eq!(aims(&measured[..2]), []);
    }
}
