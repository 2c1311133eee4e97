//! Which scenario runs when: small ones first, and those that fill etcd on a cluster that is still empty.

use dm_keyspace::Role;

use crate::ballast::Ballast;
use crate::cli::{Cli, External};
use crate::cluster::{Cluster, Wanted};
use crate::cpu::Watched;
use crate::names::Run;
use crate::placement::{self, Often};
use crate::report::Report;
use crate::takeover::{self, Scene, Size, Way};
use crate::throughput::{self, Load, Shape};
use crate::worker::Fleet;
use crate::{Error, Result, World, facts, latency, memory, optimism, pending};

/// Sources of each task whose keys are just there: nearly half of the keys are infos.
const BALLAST_MEMBERS: usize = 10;

/// Events of workers whose cost to the schedulers is taken.
const PLACEMENT_EVENTS: usize = 50_000;
/// Workers that start anew, whose cost to the schedulers is taken.
const PLACEMENT_RESTARTS: usize = 10_000;

/// How much of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Latency samples; none for no such scenario.
    pub samples: usize,
    /// Numbers of sources, ascending.
    pub sources: Vec<usize>,
    /// Numbers of locks that wait meanwhile, ascending.
    pub pending: Vec<usize>,
    /// Numbers of sources at work beside them, ascending.
    pub pending_sources: Vec<usize>,
    /// About so many operations per throughput measurement.
    pub operations: usize,
    /// Numbers of keys, ascending.
    pub keys: Vec<usize>,
    /// Numbers of pessimistic infos, ascending; they come after the numbers of keys.
    pub infos: Vec<usize>,
    /// What is measured of optimistic DDLs.
    pub optimism: optimism::Sizes,
    /// Numbers of sources to be placed, ascending.
    pub placements: Vec<usize>,
    /// Workers that go, at each of them.
    pub losses: usize,
    /// Resignations at each number of keys.
    pub resignations: usize,
    /// Kills at each number of keys.
    pub kills: usize,
}

impl Plan {
    /// Whether anything is measured by load.
    fn loads(&self) -> bool {
        self.samples > 0 || !self.sources.is_empty()
    }

    /// Whether anything is measured by the number of keys.
    fn fills(&self) -> bool {
        !self.keys.is_empty() || !self.infos.is_empty()
    }
}

/// Measures what the command line asks for, unless `interrupted` is done before.
///
/// # Errors
/// At the first wrong answer; there are no figures then.
pub async fn run(cli: &Cli, interrupted: impl Future<Output = ()>) -> Result<Report> {
    let plan = cli.plan();
    match (&cli.command, &cli.external) {
        (Some(command), _) => {
            let wanted = command.own().wanted()?;
            unless(interrupted, of_own(&wanted, &plan)).await
        }
        (None, Some(external)) => of_external(external, &plan, interrupted).await,
        (None, None) => Err(Error::Usage(
            "give --master-addr and --etcd, or a command such as `self`".to_owned(),
        )),
    }
}

async fn unless<T>(
    interrupted: impl Future<Output = ()>,
    measured: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        () = interrupted => Err(Error::Interrupted),
        measured = measured => measured,
    }
}

async fn of_own(wanted: &Wanted, plan: &Plan) -> Result<Report> {
    let mut report = Report::default();
    // Two clusters, one after the other: memory and keys of the first would be in the figures of the second.
    if plan.loads() {
        let mut subject = Subject::own(wanted, &mut report).await?;
        let measured = by_load(&mut subject, plan, &mut report).await;
        measured.inspect_err(|_| subject.say_last_words())?;
    }
    if !plan.pending.is_empty() {
        let mut subject = Subject::own(wanted, &mut report).await?;
        let measured = by_locks(&mut subject, plan, &mut report).await;
        measured.inspect_err(|_| subject.say_last_words())?;
    }
    if plan.fills() {
        let mut subject = Subject::own(wanted, &mut report).await?;
        let measured = by_size(&mut subject, plan, &mut report).await;
        measured.inspect_err(|_| subject.say_last_words())?;
    }
    if !plan.optimism.are_none() && wanted.roles.contains(&Role::Optimist) {
        let mut subject = Subject::own(wanted, &mut report).await?;
        let measured = by_tables(&mut subject, plan, &mut report).await;
        measured.inspect_err(|_| subject.say_last_words())?;
    }
    by_sources(wanted, plan, &mut report).await?;
    report.limits = limits(wanted.roles.len() > 1);
    Ok(report)
}

async fn of_external(
    external: &External,
    plan: &Plan,
    interrupted: impl Future<Output = ()>,
) -> Result<Report> {
    let master = Some(external.master_addr.clone());
    let world = World::new(Run::of_this_process(), external.etcd.clone(), master).await?;
    let mut subject = Subject {
        world,
        cluster: None,
        watched: external.pid.clone(),
    };
    let mut report = Report {
        facts: facts::collect(&subject.world).await,
        ..Report::default()
    };
    let measured = async {
        if plan.fills() {
            by_size(&mut subject, plan, &mut report).await?;
        }
        if plan.loads() {
            by_load(&mut subject, plan, &mut report).await?;
        }
        if !plan.pending.is_empty() {
            by_locks(&mut subject, plan, &mut report).await?;
        }
        if !plan.optimism.are_none() {
            by_tables(&mut subject, plan, &mut report).await?;
        }
        Ok(())
    };
    let measured = unless(interrupted, measured).await;
    subject.world.clean_up().await?;
    measured.inspect_err(|_| {
        let tag = subject.world.run().tag();
        tracing::warn!(
            "workers {tag}-worker-* may still be registered; `dmctl offline-member` removes them"
        );
    })?;
    report.limits = limits(true);
    report.limits.insert(
        0,
        "SIGKILL: only processes that bench has started are killed".to_owned(),
    );
    Ok(report)
}

fn data_place(wanted: &Wanted) -> String {
    match &wanted.etcd_dir {
        None => {
            "in memory: no disk slows the bare round trip down, which makes the aim for the median harder"
                .to_owned()
        }
        Some(dir) => format!("in {}", dir.display()),
    }
}

/// What is measured, and what of it is ours to kill.
#[derive(Debug)]
struct Subject {
    world: World,
    cluster: Option<Cluster>,
    watched: Vec<Watched>,
}

impl Subject {
    async fn own(wanted: &Wanted, report: &mut Report) -> Result<Self> {
        tracing::info!("starting etcd and the services");
        let cluster = Cluster::start(wanted).await?;
        let world =
            World::new(Run::of_this_process(), vec![cluster.etcd()], cluster.door()).await?;
        if report.facts.is_empty() {
            report.facts = facts::collect(&world).await;
            report
                .facts
                .push(("etcd's data".to_owned(), data_place(wanted)));
        }
        Ok(Self {
            world,
            cluster: Some(cluster),
            watched: Vec::new(),
        })
    }

    fn processes(&mut self) -> Vec<Watched> {
        let mut all = self.watched.clone();
        all.extend(
            self.cluster
                .as_mut()
                .map(Cluster::processes)
                .unwrap_or_default(),
        );
        all
    }

    fn say_last_words(&mut self) {
        let words = self
            .cluster
            .as_mut()
            .map(Cluster::last_words)
            .unwrap_or_default();
        if !words.is_empty() {
            tracing::error!("{words}");
        }
    }
}

/// Latency, then throughput with more and more sources.
async fn by_load(subject: &mut Subject, plan: &Plan, report: &mut Report) -> Result<()> {
    let processes = subject.processes();
    let world = &subject.world;
    let mut fleet = Fleet::new(world);
    if plan.samples > 0 {
        tracing::info!(samples = plan.samples, "measuring latency");
        fleet.grow(2).await?;
        let measured = latency::measure(
            world,
            &fleet.sources()[..2],
            plan.samples / 10 + 20,
            plan.samples,
        )
        .await?;
        report.tables.push(measured.table());
        report.aims.extend(measured.aims());
    }
    let mut all = Vec::new();
    for &count in &plan.sources {
        let bound_in = fleet.grow(count).await?;
        tracing::info!(sources = count, ?bound_in, "measuring throughput");
        for shape in [Shape::OneLock, Shape::Pairs] {
            let timed = (plan.operations / count).clamp(3, 500);
            let load = Load {
                shape,
                warm: timed / 10 + 1,
                timed,
                series: 0,
            };
            let sources = &fleet.sources()[..count];
            let measured = throughput::measure(world, sources, load, &processes).await?;
            tracing::info!(?shape, ddls = measured.ddls, elapsed = ?measured.elapsed, "measured");
            all.push(measured);
        }
    }
    if !all.is_empty() {
        report.tables.push(throughput::table(&all));
    }
    fleet.leave().await
}

/// Throughput with more and more locks that wait.
async fn by_locks(subject: &mut Subject, plan: &Plan, report: &mut Report) -> Result<()> {
    let processes = subject.processes();
    let world = &subject.world;
    let (locks, sources) = (&plan.pending, &plan.pending_sources);
    let measured = pending::measure(world, locks, sources, plan.operations, &processes).await?;
    report.tables.push(pending::table(&measured));
    report.aims.extend(pending::aims(&measured));
    Ok(())
}

/// Until when etcd is filled up.
#[derive(Clone, Copy, Debug)]
enum Fill {
    Keys(usize),
    Infos(usize),
}

/// Memory and takeovers with more and more keys.
async fn by_size(subject: &mut Subject, plan: &Plan, report: &mut Report) -> Result<()> {
    let mut fleet = Fleet::new(&subject.world);
    fleet.grow(2).await?;
    let mut scene = Scene::new(&subject.world, fleet.sources()).await?;
    scene.warm_up().await?;
    let mut ballast = Ballast::new(&subject.world, BALLAST_MEMBERS);
    let (mut takeovers, mut memories) = (Vec::new(), Vec::new());
    let keys = plan.keys.iter().map(|&keys| Fill::Keys(keys));
    for fill in keys.chain(plan.infos.iter().map(|&infos| Fill::Infos(infos))) {
        tracing::info!(?fill, "loading keys");
        let loaded = match fill {
            Fill::Keys(keys) => ballast.fill_to(keys).await?,
            Fill::Infos(infos) => ballast.fill_to_infos(infos).await?,
        };
        let size = Size {
            keys: ballast.keys_in_etcd().await?,
            infos: ballast.infos(),
        };
        takeover::in_line(&subject.world, loaded).await?;
        scene.warm_up().await?;
        memories.push(memory::measure(size, &subject.processes())?);
        for (way, times) in [(Way::Resign, plan.resignations), (Way::Kill, plan.kills)] {
            if way == Way::Kill && subject.cluster.is_none() {
                continue;
            }
            tracing::info!(?size, ?way, times, "measuring takeovers");
            takeovers.push(
                scene
                    .measure(subject.cluster.as_mut(), way, size, loaded, times)
                    .await?,
            );
        }
    }
    report.tables.push(takeover::table(&takeovers));
    report.aims.extend(takeover::aims(&takeovers));
    if memories.iter().any(|one| !one.resident.is_empty()) {
        report.tables.push(memory::table(&memories));
    }
    fleet.leave().await
}

/// Optimistic DDLs with more and more tables.
async fn by_tables(subject: &mut Subject, plan: &Plan, report: &mut Report) -> Result<()> {
    let processes = subject.processes();
    let (world, cluster) = (&subject.world, subject.cluster.as_mut());
    let measured = optimism::measure(world, cluster, &processes, &plan.optimism).await?;
    report.tables.extend(optimism::tables(&measured));
    report.aims.extend(optimism::aims(&measured));
    Ok(())
}

/// Placement of more and more sources, each number on a cluster of its own.
async fn by_sources(wanted: &Wanted, plan: &Plan, report: &mut Report) -> Result<()> {
    let often = Often {
        losses: plan.losses,
        kills: plan.kills,
        events: PLACEMENT_EVENTS,
        restarts: PLACEMENT_RESTARTS,
    };
    let mut placed = Vec::new();
    if plan.placements.is_empty() {
        return Ok(());
    }
    let target = placement::target().await?;
    for &sources in &plan.placements {
        tracing::info!(sources, "measuring placement");
        placed.push(placement::measure(wanted, &target, sources, often).await?);
    }
    report.tables.push(placement::table(&placed));
    report.aims.extend(placement::aims(&placed));
    Ok(())
}

fn limits(has_master: bool) -> Vec<String> {
    let mut limits = vec![
        "databases: a simulated worker executes a statement in no time, and has no checkpoint to store",
        "start-task: subtasks are put into etcd as the records that it writes. A master that reads them only when it begins to lead (DM's own) does not see them",
        "a network: everything is on one machine, so the services, etcd and the simulated workers share its cores",
        "a worker's connection: simulated workers share eight, and each watches its key all the time instead of anew for each DDL",
    ];
    if !has_master {
        limits.push("registration and bounds: there is no scheduler in this run");
    }
    limits.into_iter().map(str::to_owned).collect()
}
