//! How long the last info of a lock waits for its operation, with nothing else to do for the master, beside the bare
//! round trip. A DDL and a bare trip take turns, so that whatever disturbs the machine disturbs both.

use std::time::Duration;

use dm_keyspace::SourceId;

use crate::bare::{Bare, Trip};
use crate::report::{Aim, Table, percent_cells, ratio_cell};
use crate::times::{Times, ratio};
use crate::worker::Participant;
use crate::{Error, Result, World};

/// DM's median, and what one of a hundred exceeds, must not be more than so many times the bare ones.
const MEDIAN_AIM: f64 = 1.3;
const TAIL_AIM: f64 = 2.0;

/// Both measures of one kind of trip.
#[derive(Clone, Debug, Default)]
pub struct Trips {
    /// From the moment the put was sent.
    pub from_sent: Times,
    /// From the moment etcd had acknowledged it.
    pub from_ack: Times,
}

impl Trips {
    pub(crate) fn record(&mut self, trip: Trip) {
        self.from_sent.record(trip.from_sent);
        self.from_ack.record(trip.from_ack);
    }
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// Info put -> operation put.
    pub ddl: Trips,
    /// Put -> watch -> put.
    pub bare: Trips,
}

/// Measures with a task of two sources.
///
/// # Errors
/// At the first wrong answer.
pub async fn measure(
    world: &World,
    sources: &[SourceId],
    warm: usize,
    timed: usize,
) -> Result<Latency> {
    let [first, second] = sources else {
        return Err(Error::Usage(format!(
            "latency takes two sources, not {}",
            sources.len()
        )));
    };
    let task = world.run().task("latency", 0);
    world.start_task(&task, sources).await?;
    let part = async |source: &SourceId| -> Result<Participant> {
        Ok(Participant::new(
            world.own_store().await?,
            task.clone(),
            source.clone(),
        ))
    };
    let mut pair = Pair {
        owner: part(first).await?,
        other: part(second).await?,
    };
    let mut bare = Bare::start(world).await?;
    let mut all = Latency::default();
    for number in 0..warm + timed {
        let ddl = pair.round(number).await?;
        let trip = bare.trip(number).await?;
        if number >= warm {
            all.ddl.record(ddl);
            all.bare.record(trip);
        }
    }
    Ok(all)
}

/// Two sources of a task.
#[derive(Debug)]
pub struct Pair {
    /// Reports first, and is therefore the one to execute.
    pub owner: Participant,
    /// Reports last, which completes the lock.
    pub other: Participant,
}

impl Pair {
    /// A whole round; gives the time between the last info and the owner's operation.
    ///
    /// # Errors
    /// When anybody is told anything but what DM would.
    pub async fn round(&mut self, number: usize) -> Result<Trip> {
        self.owner.report(number).await?;
        let (reported, told) = tokio::try_join!(self.other.report(number), self.owner.told())?;
        let trip = Trip {
            from_sent: told.at.saturating_duration_since(reported.sent),
            from_ack: told.at.saturating_duration_since(reported.acked),
        };
        self.finish(told).await?;
        Ok(trip)
    }

    /// What follows once the owner has been told.
    ///
    /// # Errors
    /// As [`Pair::round`].
    pub async fn finish(&mut self, told: crate::worker::Told) -> Result<()> {
        if !told.exec {
            return Err(Error::Wrong(
                "the first source to report was told to skip".to_owned(),
            ));
        }
        self.owner.done(told).await?;
        let told = self.other.told().await?;
        if told.exec {
            return Err(Error::Wrong("both sources were told to execute".to_owned()));
        }
        self.other.done(told).await?;
        tokio::try_join!(self.owner.released(), self.other.released())?;
        Ok(())
    }
}

impl Latency {
    /// As a table.
    #[must_use]
    pub fn table(&self) -> Table {
        let mut table = Table::new(
            "Latency: info put -> operation put, one DDL at a time, a task of two sources",
            &[
                "from",
                "what",
                "n",
                "p50",
                "p99",
                "max",
                "p50 : bare",
                "p99 : bare",
            ],
        );
        for (from, ddl, bare) in [
            ("put sent", &self.ddl.from_sent, &self.bare.from_sent),
            ("put acknowledged", &self.ddl.from_ack, &self.bare.from_ack),
        ] {
            let mut row = vec![from.to_owned(), "bare put -> watch -> put".to_owned()];
            row.extend(percent_cells(bare));
            table.row(row);
            let mut row = vec![String::new(), "info put -> operation put".to_owned()];
            row.extend(percent_cells(ddl));
            row.push(ratio_cell(ratio(ddl.p50(), bare.p50())));
            row.push(ratio_cell(ratio(ddl.p99(), bare.p99())));
            table.row(row);
        }
        table.note("A DDL and a bare round trip take turns. \"From the put sent\" is the whole round trip; \"from the acknowledgement\" leaves the first put out on both sides.");
        table
    }

    /// The aims.
    #[must_use]
    pub fn aims(&self) -> Vec<Aim> {
        let (ddl, bare) = (&self.ddl.from_sent, &self.bare.from_sent);
        vec![
            beside_bare(
                "p50 of info put -> operation put",
                (ddl.p50(), bare.p50()),
                MEDIAN_AIM,
            ),
            beside_bare(
                "p99 of info put -> operation put",
                (ddl.p99(), bare.p99()),
                TAIL_AIM,
            ),
        ]
    }
}

/// An aim for a time as a multiple of the bare one.
pub(crate) fn beside_bare(what: &str, (time, bare): (Duration, Duration), limit: f64) -> Aim {
    let measured = ratio(time, bare);
    Aim {
        what: format!("{what}, in bare round trips"),
        limit: format!("at most {limit}"),
        measured: ratio_cell(measured),
        is_met: measured.is_some_and(|ratio| ratio <= limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_tail_have_aims_of_their_own() {
        let trips = |millis: &[u64]| Trips {
            from_sent: millis.iter().map(|m| Duration::from_millis(*m)).collect(),
            from_ack: Times::default(),
        };
        let measured = Latency {
            ddl: trips(&[12, 12, 30]),
            bare: trips(&[10, 10, 10]),
        };
        let met: Vec<bool> = measured.aims().iter().map(|aim| aim.is_met).collect();
        assert_eq!(met, [true, false]);
    }
}
