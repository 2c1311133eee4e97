//! How long a shard DDL waits when the leader goes: from the request to resign, or from SIGKILL, to the first operation
//! of the successor. The DDL's last info is put as soon as the old leader cannot answer it any more.

use std::time::{Duration, Instant};

use dm_keyspace::{Role, SourceId};
use dm_store::{Event, Feed, FeedItem, KeyRange, Revision};

use crate::cluster::Cluster;
use crate::error::within;
use crate::latency::Pair;
use crate::leader::{Leader, describe, members};
use crate::report::{Aim, Table, ratio_cell, time_cell};
use crate::times::{Times, ratio};
use crate::worker::Participant;
use crate::{Error, Result, World};

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(180);
/// Pause between two looks at the replicas.
const PAUSE: Duration = Duration::from_millis(10);
/// DDLs before each takeover.
const CALM_ROUNDS: usize = 5;
/// The aims.
const RESIGN_AIM: Duration = Duration::from_millis(100);
const KILL_AIM: Duration = Duration::from_secs(2);
/// Takeovers with most keys may be so many times as long as with fewest, to count as independent.
const GROWTH_AIM: f64 = 1.5;

/// How a leader goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is asked to.
    Resign,
    /// It is killed.
    Kill,
}

/// How much is in etcd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// Keys of all kinds.
    pub keys: usize,
    /// Those of them that are pessimistic infos.
    pub infos: usize,
}

/// What was measured for one size and one way.
#[derive(Clone, Debug)]
pub struct Takeover {
    /// How much is in etcd.
    pub size: Size,
    /// How the leaders went.
    pub way: Way,
    /// Info put -> operation put at the same size while nobody goes.
    pub calm: Times,
    /// Until the old leader's key was gone.
    pub gone: Times,
    /// Until the successor's first operation was there.
    pub served: Times,
    /// Until the old leader, or its process started again, was back in line with everything folded.
    pub back: Times,
}

/// A task of two sources whose DDLs show who is at work.
#[derive(Debug)]
pub struct Scene {
    world: World,
    pair: Pair,
    round: usize,
}

impl Scene {
    /// Starts the task.
    ///
    /// # Errors
    /// When etcd refuses.
    pub async fn new(world: &World, sources: &[SourceId]) -> Result<Self> {
        let [first, second] = sources else {
            return Err(Error::Usage(format!(
                "takeover takes two sources, not {}",
                sources.len()
            )));
        };
        let task = world.run().task("takeover", 0);
        world.start_task(&task, sources).await?;
        let part = |source: &SourceId| {
            Participant::new(world.store(0).clone(), task.clone(), source.clone())
        };
        Ok(Self {
            pair: Pair {
                owner: part(first),
                other: part(second),
            },
            world: world.clone(),
            round: 0,
        })
    }

    /// Checks that DDLs are coordinated at all, and gives how long a few of them took.
    ///
    /// # Errors
    /// When they are not.
    pub async fn warm_up(&mut self) -> Result<Times> {
        let mut calm = Times::default();
        for _ in 0..CALM_ROUNDS {
            self.round += 1;
            calm.record(self.pair.round(self.round).await?.from_sent);
        }
        Ok(calm)
    }

    /// Lets the leader go `times` times, with a successor that is in line and has folded `loaded` beforehand.
    ///
    /// # Errors
    /// At the first wrong answer, or when the same replica leads again.
    pub async fn measure(
        &mut self,
        mut cluster: Option<&mut Cluster>,
        way: Way,
        size: Size,
        loaded: Revision,
        times: usize,
    ) -> Result<Takeover> {
        let mut all = Takeover {
            size,
            way,
            calm: Times::default(),
            gone: Times::default(),
            served: Times::default(),
            back: Times::default(),
        };
        for _ in 0..times {
            all.calm.add(&self.warm_up().await?);
            let leader = Leader::find(self.world.store(0)).await?;
            let (gone, served) = self.once(&leader, way, cluster.as_deref_mut()).await?;
            all.gone.record(gone);
            all.served.record(served);
            let began = Instant::now();
            match (way, cluster.as_deref_mut()) {
                (Way::Kill, Some(cluster)) => cluster.start_again(&leader.name)?,
                _ => leader.rejoin().await?,
            }
            in_line(&self.world, loaded).await?;
            all.back.record(began.elapsed());
        }
        Ok(all)
    }

    async fn once(
        &mut self,
        leader: &Leader,
        way: Way,
        cluster: Option<&mut Cluster>,
    ) -> Result<(Duration, Duration)> {
        self.round += 1;
        let number = self.round;
        self.pair.owner.report(number).await?;
        let mut line = self.world.store(1).feed(leader.line());
        line.next().await;
        let began = Instant::now();
        let gone = async {
            let what = || format!("{} is out of the line", leader.name);
            within(LIMIT, what, deleted(&mut line, &leader.key)).await
        };
        let (other, owner) = (&mut self.pair.other, &mut self.pair.owner);
        let served = async {
            match (way, cluster) {
                (Way::Resign, _) => leader.resign().await?,
                (Way::Kill, Some(cluster)) => cluster.kill(&leader.name)?,
                (Way::Kill, None) => {
                    return Err(Error::Usage("only own processes are killed".to_owned()));
                }
            }
            let (_, told) = tokio::try_join!(other.report(number), owner.told())?;
            Ok(told)
        };
        let (gone, told) = tokio::try_join!(gone, served)?;
        let times = (gone.duration_since(began), told.at.duration_since(began));
        let now = Leader::find(self.world.store(0)).await?;
        if now.key == leader.key {
            return Err(Error::Wrong(format!(
                "{} leads although it went",
                leader.name
            )));
        }
        self.pair.finish(told).await?;
        Ok(times)
    }
}

async fn deleted(line: &mut Feed, key: &[u8]) -> Result<Instant> {
    loop {
        let item = line.next().await;
        let at = Instant::now();
        let is_gone = match &item {
            FeedItem::Reset(snapshot) => snapshot.entries.iter().all(|kv| kv.key != key),
            FeedItem::Batch(batch) => batch
                .events
                .iter()
                .any(|event| matches!(event, Event::Delete { key: gone, .. } if gone == key)),
        };
        if is_gone {
            return Ok(at);
        }
    }
}

/// Waits until two replicas at least stand in line for each role that anybody leads, and every replica of every role has folded
/// `loaded`. A master of DM's own does not say how far it is: then only the line is looked at.
///
/// # Errors
/// When that does not come about.
pub async fn in_line(world: &World, loaded: Revision) -> Result<()> {
    within(
        LIMIT,
        || "two replicas are in line and up to date".to_owned(),
        async {
            while !is_in_line(world, loaded).await? {
                tokio::time::sleep(PAUSE).await;
            }
            Ok(())
        },
    )
    .await
}

/// The same for all that is in etcd now.
///
/// # Errors
/// When that does not come about.
pub async fn up_to_date(world: &World) -> Result<()> {
    let nothing = KeyRange::key("/dm-");
    let present = world.store(0).snapshot(&nothing).await;
    let present = present.map_err(Error::etcd("ask for the revision"))?;
    in_line(world, present.revision).await
}

async fn is_in_line(world: &World, loaded: Revision) -> Result<bool> {
    let store = world.store(0);
    for role in Role::ALL {
        let Ok(leader) = Leader::find_of(store, role).await else {
            // Without the others there may be shard DDLs all the same.
            if role == Role::Pessimist {
                return Ok(false);
            }
            continue;
        };
        let line = store.snapshot(&leader.line()).await;
        if line.map_err(Error::etcd("look at the line"))?.entries.len() < 2 {
            return Ok(false);
        }
    }
    for role in Role::ALL {
        for member in members(store, role).await? {
            // A replica that was killed is still registered until its lease is gone; its own word counts.
            let Ok(replica) = describe(&member.addr).await else {
                return Ok(false);
            };
            if replica.applied_revision < loaded.0 || replica.position == 0 {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// One line per measurement.
#[must_use]
pub fn table(measured: &[Takeover]) -> Table {
    let mut table = Table::new(
        "Takeover of the shard DDLs, by keys in etcd",
        &[
            "keys",
            "infos",
            "leader",
            "n",
            "no takeover p50",
            "out of line p50",
            "served p50",
            "served max",
            "back in line p50",
        ],
    );
    for one in measured {
        let way = match one.way {
            Way::Resign => "resigns",
            Way::Kill => "is killed (SIGKILL)",
        };
        table.row(vec![
            one.size.keys.to_string(),
            one.size.infos.to_string(),
            way.to_owned(),
            one.served.count().to_string(),
            time_cell(one.calm.p50()),
            time_cell(one.gone.p50()),
            time_cell(one.served.p50()),
            time_cell(one.served.max()),
            time_cell(one.back.p50()),
        ]);
    }
    table.note("No takeover: info put -> operation put at the same size while the leader stays, what no takeover can be shorter than. The others are times from the request, or the signal, until the old leader's key is deleted; until the successor's first operation has reached the worker; and from then until the old one is a standby again with everything folded (after SIGKILL: started anew).");
    table
}

/// The aims: short, and after a resignation the same whatever the number of keys.
#[must_use]
pub fn aims(measured: &[Takeover]) -> Vec<Aim> {
    let of = |way: Way| measured.iter().filter(move |one| one.way == way);
    let worst = |way: Way| of(way).map(|one| one.served.max()).max();
    let short = |way: Way, what: &str, limit: Duration| {
        worst(way).map(|worst| Aim {
            what: format!("longest takeover after {what}"),
            limit: format!("under {}", time_cell(limit)),
            measured: time_cell(worst),
            is_met: worst < limit,
        })
    };
    let fewest = of(Way::Resign).min_by_key(|one| one.size);
    let most = of(Way::Resign).max_by_key(|one| one.size);
    let growth = fewest
        .zip(most)
        .filter(|(few, many)| few.size < many.size)
        .map(|(few, many)| {
            let growth = ratio(many.served.p50(), few.served.p50());
            Aim {
                what: format!(
                    "median takeover after a resignation, {} keys : {} keys",
                    many.size.keys, few.size.keys
                ),
                limit: format!("at most {GROWTH_AIM}"),
                measured: ratio_cell(growth),
                is_met: growth.is_some_and(|growth| growth <= GROWTH_AIM),
            }
        });
    let aims = [
        short(Way::Resign, "a resignation", RESIGN_AIM),
        growth,
        short(Way::Kill, "SIGKILL", KILL_AIM),
    ];
    aims.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takeover(keys: usize, way: Way, served: &[u64]) -> Takeover {
        Takeover {
            size: Size { keys, infos: 0 },
            way,
            calm: Times::default(),
            gone: Times::default(),
            served: served
                .iter()
                .map(|millis| Duration::from_millis(*millis))
                .collect(),
            back: Times::default(),
        }
    }

    #[test]
    fn one_slow_takeover_misses_the_aim_even_if_the_median_is_good() {
        let aims = aims(&[
            takeover(100, Way::Resign, &[5, 5, 120]),
            takeover(100, Way::Kill, &[900]),
        ]);
        let met: Vec<bool> = aims.iter().map(|aim| aim.is_met).collect();
        assert_eq!(met, [false, true]);
    }

    #[test]
    fn growth_compares_the_medians_of_fewest_and_most_keys() {
        let measured = [
            takeover(10_000, Way::Resign, &[9]),
            takeover(100, Way::Resign, &[5]),
            takeover(1_000, Way::Resign, &[50]),
        ];
        let growth = &aims(&measured)[1];
        assert_eq!((growth.measured.as_str(), growth.is_met), ("1.80", false));
    }
}
