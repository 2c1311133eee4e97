//! The figures of optimistic DDLs, as tables and aims.

use super::{Optimism, Rate};
use crate::latency::{Trips, beside_bare};
use crate::report::{Aim, Table, percent_cells, rate_cell, ratio_cell, time_cell};
use crate::takeover::Way;
use crate::throughput::{cost, cost_cell};
use crate::times::ratio;

/// DM's median, and what one of a hundred exceeds, must not be more than so many times the bare ones.
const MEDIAN_AIM: f64 = 1.3;
const TAIL_AIM: f64 = 2.0;
/// An info in the largest lock may cost so many times as much as in the smallest, to count as independent of the tables.
const COST_AIM: f64 = 1.5;

/// Whatever was measured.
#[must_use]
pub fn tables(measured: &Optimism) -> Vec<Table> {
    let latency = measured.latency.as_ref().map(latency);
    let rates = (!measured.rates.is_empty()).then(|| rates(&measured.rates));
    let conflict = measured.conflict.map(|one| {
        let mut table = Table::new(
            "Optimistic conflict: every table of one lock renames a column",
            &[
                "tables",
                "all but one wait",
                "infos/s",
                "last info to all redirected",
            ],
        );
        table.row(vec![
            one.tables.to_string(),
            time_cell(one.waiting),
            rate_cell(one.tables - 1, one.waiting),
            time_cell(one.resolved),
        ]);
        table
    });
    let takeover = (!measured.takeovers.is_empty()).then(|| takeovers(measured));
    let memory = measured
        .rates
        .last()
        .filter(|_| !measured.resident.is_empty());
    let memory = memory.map(|rate| {
        let title = format!("Resident memory (VmRSS) with {} optimistic tables", rate.tables);
        let mut table = Table::new(&title, &["process", "MiB"]);
        for (name, kib) in &measured.resident {
            table.row(vec![name.clone(), (kib / 1024).to_string()]);
        }
        table.note("Every table has an info with its structure before and after; locks of fewer tables are there, too.");
        table
    });
    let all = [latency, rates, conflict, takeover, memory];
    all.into_iter().flatten().collect()
}

fn latency([ddl, bare]: &[Trips; 2]) -> Table {
    let mut table = Table::new(
        "Optimistic latency: info put -> operation put, one at a time, locks of ten tables",
        &["what", "n", "p50", "p99", "max", "p50 : bare", "p99 : bare"],
    );
    let mut row = vec!["bare put -> watch -> put".to_owned()];
    row.extend(percent_cells(&bare.from_sent));
    table.row(row);
    let mut row = vec!["info put -> operation put".to_owned()];
    row.extend(percent_cells(&ddl.from_sent));
    for quantile in [0.5, 0.99] {
        let times = [ddl, bare].map(|trips| trips.from_sent.quantile(quantile));
        row.push(ratio_cell(ratio(times[0], times[1])));
    }
    table.row(row);
    table.note("From the moment the put is sent. An info and a bare round trip take turns.");
    table
}

fn rates(rates: &[Rate]) -> Table {
    let mut table = Table::new(
        "Optimistic throughput: infos of a change that fits, by tables in a lock",
        &[
            "tables",
            "infos",
            "infos/s",
            "CPU of services/info",
            ": fewest tables",
        ],
    );
    for one in rates {
        table.row(vec![
            one.tables.to_string(),
            one.infos.to_string(),
            rate_cell(one.infos, one.elapsed),
            cost_cell(cost(one.cpu.services, one.infos)),
            ratio_cell(growth(rates, one)),
        ]);
    }
    table.note("Answers and what tables say when they are done included; 64 infos at most wait for an answer at a time, in the large locks all of them in one lock. The processor time is that of all services and all replicas.");
    table
}

fn takeovers(measured: &Optimism) -> Table {
    let mut table = Table::new(
        "Takeover of the optimistic locks",
        &["tables", "leader", "n", "served p50", "served max"],
    );
    for one in &measured.takeovers {
        let way = match one.way {
            Way::Resign => "resigns",
            Way::Kill => "is killed (SIGKILL)",
        };
        table.row(vec![
            one.tables.to_string(),
            way.to_owned(),
            one.served.count().to_string(),
            time_cell(one.served.p50()),
            time_cell(one.served.max()),
        ]);
    }
    table.note("From the request, or the signal, to the answer to an info that is put as soon as it has been obeyed.");
    table
}

/// The cost in those of the smallest lock.
fn growth(rates: &[Rate], one: &Rate) -> Option<f64> {
    let first = rates.iter().min_by_key(|rate| rate.tables)?;
    let of = |rate: &Rate| cost(rate.cpu.services, rate.infos);
    ratio(of(one)?, of(first)?)
}

/// What the figures should be.
#[must_use]
pub fn aims(measured: &Optimism) -> Vec<Aim> {
    let mut aims = Vec::new();
    if let Some([ddl, bare]) = &measured.latency {
        let (ddl, bare) = (&ddl.from_sent, &bare.from_sent);
        let what = "p50 of optimistic info put -> operation put";
        aims.push(beside_bare(what, (ddl.p50(), bare.p50()), MEDIAN_AIM));
        let what = "p99 of optimistic info put -> operation put";
        aims.push(beside_bare(what, (ddl.p99(), bare.p99()), TAIL_AIM));
    }
    let most = measured.rates.iter().max_by_key(|rate| rate.tables);
    let fewest = measured.rates.iter().min_by_key(|rate| rate.tables);
    if let Some((fewest, most)) = fewest.zip(most).filter(|(f, m)| f.tables < m.tables) {
        let growth = growth(&measured.rates, most);
        aims.push(Aim {
            what: format!(
                "processor time of the services for an optimistic info, {} : {} tables in a lock",
                most.tables, fewest.tables
            ),
            limit: format!("at most {COST_AIM}"),
            measured: ratio_cell(growth),
            is_met: growth.is_some_and(|growth| growth <= COST_AIM),
        });
    }
    aims
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cpu::Cpu;

    fn rate(tables: usize, millis: u64) -> Rate {
        Rate {
            tables,
            infos: 100,
            elapsed: Duration::from_secs(1),
            cpu: Cpu {
                services: Duration::from_millis(millis),
                etcd: Duration::ZERO,
            },
        }
    }

    #[test]
    fn costs_stand_beside_those_of_the_smallest_lock() {
        let measured = Optimism {
            rates: vec![rate(10, 100), rate(1_000, 160)],
            ..Optimism::default()
        };
        let text = tables(&measured)[0].to_string();
        assert!(text.contains("1.60"), "{text}");
        let aims = aims(&measured);
        assert_eq!((aims.len(), aims[0].is_met), (1, false));
    }

    #[test]
    fn what_was_not_measured_has_no_table() {
        assert_eq!(tables(&Optimism::default()), []);
        assert_eq!(aims(&Optimism::default()), []);
    }
}
