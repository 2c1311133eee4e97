//! Placing sources, by their number: binding all of them after a cold start, finding a new worker for one whose worker has gone,
//! starting a task over all of them, and what an event costs the scheduler.
//!
//! Workers are nothing but their records: a worker that goes is a keepalive key that goes.

mod bounds;
mod costs;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dm_keyspace::{
    BoundKey, Campaign, JoinTime, KeepAlive, KeepAliveKey, LeaderKey, Role, SourceId, SubtaskKey,
    SubtaskStageKey, TaskName, WorkerInfo, WorkerInfoKey, WorkerName,
};
use dm_proto::pb;
use dm_store::{Event, Feed, FeedItem, KeyRange, Revision};
use dm_testkit::mariadb::{self, MariaDb};

use crate::cluster::{Cluster, Wanted};
use crate::cpu::Watched;
use crate::error::within;
use crate::leader::{describe, members};
use crate::names::Run;
use crate::report::{Aim, Table, rate_cell, ratio_cell, time_cell};
use crate::takeover::Size;
use crate::times::{Times, ratio};
use crate::world::source_config;
use crate::{Error, Result, World, memory};

use bounds::Bounds;

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(300);
/// Pause between two looks at the replicas.
const PAUSE: Duration = Duration::from_millis(20);
/// With most sources an event may cost so many times as much as with fewest, to count as independent of them.
const COST_AIM: f64 = 1.5;

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Often {
    /// Workers that go.
    pub losses: usize,
    /// Leaders that are killed.
    pub kills: usize,
    /// Events whose cost is taken.
    pub events: usize,
    /// Workers that start anew, whose cost is taken.
    pub restarts: usize,
}

/// What was measured for one number of sources.
#[derive(Clone, Debug)]
pub struct Placed {
    /// How many there are.
    pub sources: usize,
    /// From the start of the schedulers' processes until every source is bound.
    pub cold: Duration,
    /// From the moment a keepalive key is gone to the new bound.
    pub lost: Times,
    /// From the call of start-task until the records of all subtasks are there.
    pub started: Duration,
    /// Events that were folded to take their cost.
    pub events: usize,
    /// Processor time of all schedulers for one of them.
    pub cost: Duration,
    /// The same for a worker that starts anew, whose bound is put again.
    pub restart: Duration,
    /// In which time all of them were folded.
    pub folded: Duration,
    /// From SIGKILL of the leader, with a worker lost at the same moment, to the new bound.
    pub takeover: Times,
    /// Of the scheduler that takes most.
    pub resident_kib: u64,
}

/// Starts the target of tasks: start-task asks it for its version.
///
/// # Errors
/// When MariaDB does not start.
pub async fn target() -> Result<MariaDb> {
    let options = mariadb::Options {
        own_group: true,
        ..mariadb::Options::new(1)
    };
    Ok(MariaDb::start_temp("target", options).await?)
}

/// Starts a cluster for one number of sources, and measures.
///
/// # Errors
/// At the first wrong answer.
pub async fn measure(
    wanted: &Wanted,
    target: &MariaDb,
    sources: usize,
    often: Often,
) -> Result<Placed> {
    let wanted = Wanted {
        roles: vec![Role::Election, Role::Scheduler],
        ..wanted.clone()
    };
    let cluster = Cluster::start(&wanted).await?;
    let world = World::new(Run::new("place"), vec![cluster.etcd()], cluster.door()).await?;
    let mut stage = Stage {
        cluster,
        world,
        sources,
        bounds: Bounds::default(),
    };
    let cold = stage.cold_start(wanted.replicas).await?;
    let mut feed = stage
        .world
        .store(0)
        .feed(KeyRange::prefix(BoundKey::PREFIX));
    stage.bounds.fold(feed.next().await)?;
    let mut lost = Times::default();
    for number in 0..often.losses {
        let loss = stage.lose_worker(&mut feed, number).await?;
        lost.record(loss.bound.saturating_duration_since(loss.gone));
    }
    let (folded, cost) = stage.cost(often.events).await?;
    let restart = stage.restarts(&mut feed, often.restarts).await?;
    let started = stage.start_task(target).await?;
    let schedulers = stage.schedulers();
    let resident = memory::measure(Size::default(), &schedulers)?.resident;
    let mut takeover = Times::default();
    for number in 0..often.kills {
        let leader = stage.leader().await?;
        let began = Instant::now();
        stage.cluster.kill(&leader)?;
        let loss = stage.lose_worker(&mut feed, number).await?;
        takeover.record(loss.bound.duration_since(began));
        stage.cluster.start_again(&leader)?;
        stage.caught_up(Revision::ZERO).await?;
    }
    Ok(Placed {
        sources,
        cold,
        lost,
        started,
        events: often.events,
        cost,
        restart,
        folded,
        takeover,
        resident_kib: resident.iter().map(|(_, kib)| *kib).max().unwrap_or(0),
    })
}

/// A worker that has gone.
struct Loss {
    /// When etcd had said that its keepalive key is gone.
    gone: Instant,
    /// When the new bound was seen.
    bound: Instant,
}

struct Stage {
    cluster: Cluster,
    world: World,
    sources: usize,
    bounds: Bounds,
}

impl Stage {
    fn workers(&self) -> impl Iterator<Item = WorkerName> {
        let run = self.world.run().clone();
        (0..=self.sources).map(move |number| run.worker(number))
    }

    /// Sources and workers are there before the schedulers are.
    async fn cold_start(&mut self, replicas: usize) -> Result<Duration> {
        let names: Vec<_> = (1..=replicas).map(|n| format!("scheduler-{n}")).collect();
        for name in &names {
            self.cluster.kill(name)?;
        }
        let sources = (0..self.sources).map(|number| self.world.run().source(number));
        let configs: Vec<_> = sources
            .map(|source| source_config(&source))
            .collect::<Result<_>>()?;
        self.world.load(configs).await?;
        self.world.load(self.workers().map(registration)).await?;
        self.world
            .load(self.workers().map(|w| sign_of_life(&w, 0)))
            .await?;
        let mut feed = self.world.store(0).feed(KeyRange::prefix(BoundKey::PREFIX));
        let began = Instant::now();
        for name in &names {
            self.cluster.start_again(name)?;
        }
        let wanted = self.sources;
        let what = || format!("{wanted} sources are bound");
        let all_bound = async {
            while self.bounds.len() < wanted {
                self.bounds.fold(feed.next().await)?;
            }
            Ok(began.elapsed())
        };
        within(LIMIT, what, all_bound).await
    }

    /// Ends one worker, and brings it back when its source is bound again.
    async fn lose_worker(&mut self, feed: &mut Feed, number: usize) -> Result<Loss> {
        let (worker, source) = self.bounds.any(number * 7)?;
        let (key, value) = sign_of_life(&worker, 0);
        let store = self.world.store(0).clone();
        let end = async {
            let gone = store.delete(KeyRange::key(key.as_str())).await;
            gone.map_err(Error::commit("end a worker"))?;
            Ok(Instant::now())
        };
        let bounds = &mut self.bounds;
        let again = async {
            while !bounds.is_served_by_another(&source, &worker) {
                bounds.fold(feed.next().await)?;
            }
            Ok(Instant::now())
        };
        let both = async { tokio::try_join!(end, again) };
        let (gone, bound) = within(LIMIT, || format!("{source} is bound again"), both).await?;
        self.world.load([(key, value)]).await?;
        Ok(Loss { gone, bound })
    }

    /// The call itself also waits for the workers, which are not there to answer; only what it writes is looked at.
    async fn start_task(&self, target: &MariaDb) -> Result<Duration> {
        let task = self.world.run().task("all", 0);
        let sources = (0..self.sources).map(|n| self.world.run().source(n));
        let file = task_file(&task, target.port(), target.password(), sources);
        let store = self.world.own_store().await?;
        let mut subtasks = store.feed(KeyRange::prefix(SubtaskKey::PREFIX));
        let mut stages = store.feed(KeyRange::prefix(SubtaskStageKey::PREFIX));
        subtasks.next().await;
        stages.next().await;
        let mut master = self.world.master()?;
        let request = pb::StartTaskRequest {
            task: file,
            ..pb::StartTaskRequest::default()
        };
        let began = Instant::now();
        let call = async {
            let answer = master.start_task(request).await;
            answer
                .map_err(Error::call("StartTask"))
                .map(|answer| answer.into_inner())
        };
        let wanted = self.sources;
        let written = async {
            tokio::join!(
                count_to(&mut subtasks, wanted),
                count_to(&mut stages, wanted)
            );
            began.elapsed()
        };
        let either = async {
            tokio::pin!(written);
            tokio::select! {
                elapsed = &mut written => Ok(elapsed),
                answer = call => match answer {
                    Ok(answer) if !answer.result && answer.sources.is_empty() => {
                        Err(Error::Wrong(format!("start-task: {}", answer.msg)))
                    }
                    _ => Ok(written.await),
                },
            }
        };
        within(LIMIT, || "the task is started".to_owned(), either).await
    }

    /// Waits until each scheduler is in line and has folded `revision`.
    async fn caught_up(&self, revision: Revision) -> Result<()> {
        let caught_up = async {
            loop {
                let mut are_all = true;
                for member in members(self.world.store(0), Role::Scheduler).await? {
                    let me = describe(&member.addr).await;
                    are_all &=
                        me.is_ok_and(|me| me.applied_revision >= revision.0 && me.position > 0);
                }
                if are_all {
                    return Ok(());
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        within(
            LIMIT,
            || "the schedulers are up to date".to_owned(),
            caught_up,
        )
        .await
    }

    async fn leader(&self) -> Result<String> {
        let line = KeyRange::prefix(LeaderKey::prefix_of_role(Role::Scheduler));
        let line = self.world.store(0).snapshot(&line).await;
        let line = line.map_err(Error::etcd("look for the leader"))?.entries;
        let first = line.iter().min_by_key(|kv| kv.create_revision);
        let first = first.ok_or_else(|| Error::Wrong("no scheduler leads".to_owned()))?;
        Campaign::from_bytes(&first.value)
            .map(|campaign| campaign.id.as_str().to_owned())
            .map_err(|e| Error::Wrong(format!("the leader's record: {e}")))
    }

    fn schedulers(&mut self) -> Vec<Watched> {
        let mut all = self.cluster.processes();
        all.retain(|process| process.name.starts_with("scheduler"));
        all
    }
}

fn registration(worker: WorkerName) -> (String, Vec<u8>) {
    let info = WorkerInfo::new(worker.clone(), "127.0.0.1:9");
    (WorkerInfoKey { worker }.encode(), info.to_bytes())
}

fn sign_of_life(worker: &WorkerName, since: u64) -> (String, Vec<u8>) {
    let since = JoinTime::since_epoch(Duration::from_secs(since));
    let alive = KeepAlive::new(worker.clone(), since);
    let worker = worker.clone();
    (KeepAliveKey { worker }.encode(), alive.to_bytes())
}

async fn count_to(feed: &mut Feed, wanted: usize) {
    let mut keys = BTreeSet::new();
    while keys.len() < wanted {
        if let FeedItem::Batch(batch) = feed.next().await {
            let puts = batch.events.iter().filter(|e| matches!(e, Event::Put(_)));
            keys.extend(puts.map(|event| event.key().to_vec()));
        }
    }
}

fn task_file(
    task: &TaskName,
    port: u16,
    password: &str,
    sources: impl Iterator<Item = SourceId>,
) -> String {
    let head = format!(
        "name: {task}\ntask-mode: incremental\nignore-checking-items: [\"all\"]\ntimezone: UTC\n\
         target-database: {{host: 127.0.0.1, port: {port}, user: {}, password: \"{password}\"}}\nmysql-instances:\n",
        mariadb::USER
    );
    let instance = |source: SourceId| {
        format!(
            "- {{source-id: {source}, meta: {{binlog-name: mysql-bin.000001, binlog-pos: 4}}}}\n"
        )
    };
    sources.map(instance).fold(head, |file, one| file + &one)
}

/// One line per number of sources.
#[must_use]
pub fn table(measured: &[Placed]) -> Table {
    let mut table = Table::new(
        "Placement: sources on workers, by number of sources",
        &[
            "sources",
            "cold start to all bound",
            "worker gone to new bound p50",
            "p99",
            "start-task, all written",
            "events/s",
            "CPU of schedulers/event",
            "CPU of schedulers/restart",
            "SIGKILL and worker gone p50",
            "MiB",
        ],
    );
    for one in measured {
        table.row(vec![
            one.sources.to_string(),
            time_cell(one.cold),
            time_cell(one.lost.p50()),
            time_cell(one.lost.p99()),
            time_cell(one.started),
            rate_cell(one.events, one.folded),
            time_cell(one.cost),
            time_cell(one.restart),
            time_cell(one.takeover.p50()),
            (one.resident_kib / 1024).to_string(),
        ]);
    }
    table.note("A cold start begins with the schedulers' processes. A worker is gone when etcd has said that its keepalive key is deleted. Events are signs of life that say nothing new, put as fast as etcd takes them by a hundred workers from all over the list; at a restart a worker starts anew and gets its bound again, a hundred of them at a time. Their processor time is that of all schedulers together. start-task sends two records for each source.");
    table
}

/// The aims: an event costs the same however many sources there are, and so does a worker that starts anew.
#[must_use]
pub fn aims(measured: &[Placed]) -> Vec<Aim> {
    let fewest = measured.iter().min_by_key(|one| one.sources);
    let most = measured.iter().max_by_key(|one| one.sources);
    let pair = fewest
        .zip(most)
        .filter(|(few, many)| few.sources < many.sources);
    let aim = |what: &str, few: &Placed, many: &Placed, cost: fn(&Placed) -> Duration| {
        let growth = ratio(cost(many), cost(few));
        Aim {
            what: format!(
                "processor time of the schedulers for {what}, {} sources : {} sources",
                many.sources, few.sources
            ),
            limit: format!("at most {COST_AIM}"),
            measured: ratio_cell(growth),
            is_met: growth.is_some_and(|growth| growth <= COST_AIM),
        }
    };
    let aims = pair.map(|(few, many)| {
        [
            aim("an event", few, many, |one| one.cost),
            aim("a restart", few, many, |one| one.restart),
        ]
    });
    aims.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_file_is_one_that_dm_reads() {
        let run = Run::new("b");
        let file = task_file(
            &run.task("all", 0),
            3306,
            "x",
            (0..3).map(|n| run.source(n)),
        );
        let task = dm_task::TaskConfig::from_yaml("task.yaml", &file).unwrap();
        assert_eq!(task.mysql_instances.len(), 3);
    }
}
