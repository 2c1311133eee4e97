//! What a DDL costs while other locks wait: it should cost the same, however many there are.

use std::time::Duration;

use crate::ballast::Ballast;
use crate::cpu::Watched;
use crate::report::{Table, rate_cell};
use crate::throughput::{self, Load, Shape, Throughput};
use crate::worker::Fleet;
use crate::{Result, World};

/// Sources at work, in locks of two.
const SOURCES: usize = 10;
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

/// Measures with each number of waiting locks; they are ascending.
///
/// # Errors
/// At the first wrong answer.
pub async fn measure(
    world: &World,
    locks: &[usize],
    operations: usize,
    processes: &[Watched],
) -> Result<Vec<Pending>> {
    let mut fleet = Fleet::new(world);
    fleet.grow(SOURCES).await?;
    let mut ballast = Ballast::new(world, MEMBERS);
    let timed = (operations / SOURCES).clamp(3, 2_000);
    let mut measured = Vec::new();
    for (series, &locks) in locks.iter().enumerate() {
        let load = Load {
            shape: Shape::Pairs,
            warm: timed / 10 + 1,
            timed,
            series,
        };
        tracing::info!(locks, "loading locks that wait");
        ballast.pend(locks).await?;
        let throughput = throughput::measure(world, fleet.sources(), load, processes).await?;
        measured.push(Pending { locks, throughput });
    }
    fleet.leave().await?;
    Ok(measured)
}

/// One line per number of waiting locks.
#[must_use]
pub fn table(measured: &[Pending]) -> Table {
    let mut table = Table::new(
        "Pending locks: shard DDLs of ten sources in locks of two, while other locks wait",
        &[
            "waiting locks",
            "DDLs",
            "DDLs/s",
            "CPU of services/op",
            ": first",
        ],
    );
    let first = measured.first().map(|one| one.throughput.service_cost());
    for one in measured {
        let (ddls, cost) = (one.throughput.ddls, one.throughput.service_cost());
        table.row(vec![
            one.locks.to_string(),
            ddls.to_string(),
            rate_cell(ddls, one.throughput.elapsed),
            throughput::cost_cell(cost),
            ratio(first.flatten(), cost),
        ]);
    }
    table.note("Every waiting lock is that of a task of two sources, one of which has reported.");
    table
}

fn ratio(first: Option<Duration>, this: Option<Duration>) -> String {
    match (first, this) {
        (Some(first), Some(this)) => format!("{:.2}", this.as_secs_f64() / first.as_secs_f64()),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Cpu;

    #[test]
    fn costs_stand_beside_the_first() {
        let with = |locks, millis| Pending {
            locks,
            throughput: Throughput {
                shape: Shape::Pairs,
                sources: SOURCES,
                ddls: 50,
                elapsed: Duration::from_secs(1),
                cpu: Cpu {
                    services: Duration::from_millis(millis),
                    etcd: Duration::ZERO,
                },
            },
        };
        let text = table(&[with(1, 100), with(100, 110), with(10_000, 0)]).to_string();
        let ends: Vec<_> = text
            .lines()
            .skip(3)
            .filter_map(|line| line.split_whitespace().last())
            .take(3)
            .collect();
        assert_eq!(ends, ["1.00", "1.10", "-"], "{text}");
    }
}
