//! The loop itself: one task that owns the machine, and the tasks that serve it.

mod moves;
mod requests;
mod stop;
mod subjects;
mod tell;
mod trails;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use dm_keyspace::{Member, Role};
use dm_store::{Feed, FeedHealth, FeedItem, KeyRange, Revision, Store};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::{Auditor, Fingerprint};
use crate::commit::{Item, Landed, Origin, Outcome, fly};
use crate::handle::{Command, Handle, QUEUE, Refused, Waiter};
use crate::line::{Line, Term};
use crate::machine::Machine;
use crate::pack::Pack;
use crate::probe::{self, Predecessor};
use crate::session::{Pulse, Session, SessionKeeper};
use crate::status::{Observer, Stats, Status};

use moves::Moves;
use requests::Requests;
use subjects::Subjects;
use tell::Told;
use trails::Trails;

/// Feed items read ahead of the loop.
const READ_AHEAD: usize = 64;
/// Commands taken in one round, so that the feed is never starved.
const COMMANDS_PER_ROUND: usize = 64;

/// A feed item and the moment it came.
type Arrived = (Instant, FeedItem);

/// What a replica must know of itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The role it stands for.
    pub role: Role,
    /// What it says of itself to the others; its name is unique within the role.
    pub member: Member,
    /// Lease of its keys; at least 2 s.
    pub lease_ttl: Duration,
    /// Pause between two probes of the member before it in the line.
    pub probe_interval: Duration,
    /// Transactions in the air at a time.
    pub max_in_flight: usize,
    /// Pause between two comparisons of the fold with a fresh list.
    pub audit_interval: Duration,
    /// How long a stopping replica waits for what it has sent.
    pub drain: Duration,
}

impl Settings {
    /// Settings with the usual times.
    #[must_use]
    pub fn new(role: Role, member: Member) -> Self {
        Self {
            role,
            member,
            lease_ttl: Duration::from_secs(10),
            probe_interval: Duration::from_millis(200),
            max_in_flight: 16,
            audit_interval: Duration::from_secs(300),
            drain: Duration::from_secs(2),
        }
    }
}

/// A replica that has not been started; [`Replica::handle`] first, then [`Replica::run`].
pub struct Replica<M: Machine> {
    store: Store,
    settings: Settings,
    machine: M,
    commands: mpsc::Receiver<Command<M>>,
    handle: Handle<M>,
    status: watch::Sender<Status>,
    observer: Box<dyn Observer>,
}

impl<M: Machine> std::fmt::Debug for Replica<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl<M: Machine> Replica<M> {
    /// Puts a machine and a store together.
    #[must_use]
    pub fn new(settings: Settings, store: Store, machine: M) -> Self {
        let status = watch::Sender::new(Status {
            role: settings.role,
            name: settings.member.name.clone(),
            addr: settings.member.addr.clone(),
            leads: None,
            leader: None,
            line: Vec::new(),
            lease: None,
            faults: Vec::new(),
            is_evicted: false,
            applied: Revision::ZERO,
            troubles: vec!["etcd: the state has not been read yet".to_owned()],
            stats: Stats::default(),
        });
        let (sender, commands) = mpsc::channel(QUEUE);
        let handle = Handle::new(sender, status.subscribe());
        Self {
            store,
            settings,
            machine,
            commands,
            handle,
            status,
            observer: Box::new(()),
        }
    }

    /// Lets `observer` hear what the loop does.
    #[must_use]
    pub fn observed_by(mut self, observer: impl Observer) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// A way to talk to it.
    #[must_use]
    pub fn handle(&self) -> Handle<M> {
        self.handle.clone()
    }

    /// Runs until `stop`; then lets what was sent land, gives up its place and its lease, and returns.
    pub async fn run(self, stop: CancellationToken) {
        let side = CancellationToken::new();
        let tasks = TaskTracker::new();
        let feed = self.store.feed(KeyRange::dm());
        let feed_health = feed.health();
        let relist = Arc::new(Notify::new());
        let (items, feed_items) = mpsc::channel(READ_AHEAD);
        tasks.spawn(pump(feed, items, relist.clone(), side.clone()));

        let pulse = Pulse::new();
        let (session, session_seen) = watch::channel(None);
        let keeper = SessionKeeper {
            store: self.store.clone(),
            ttl: self.settings.lease_ttl,
            pulse: pulse.clone(),
            session,
            stop: side.clone(),
        };
        tasks.spawn(keeper.run());
        let (predecessor, target) = watch::channel(None);
        tasks.spawn(probe::run(
            self.store.clone(),
            self.settings.probe_interval,
            target,
            side.clone(),
        ));
        tasks.close();

        let drain = self.settings.drain;
        let mut inner = Loop {
            moves: Moves::new(&self.settings),
            line: Line::new(self.settings.role),
            subjects: Subjects::default(),
            requests: Requests::default(),
            waiters: Vec::new(),
            flights: FuturesUnordered::new(),
            trails: Trails::default(),
            queue: VecDeque::new(),
            applied: Revision::ZERO,
            fingerprint: Fingerprint::default(),
            auditor: Auditor::new(relist),
            session: session_seen,
            feed_health,
            predecessor,
            pulse,
            stats: Stats::default(),
            told: Told::nothing(),
            store: self.store,
            settings: self.settings,
            machine: self.machine,
            status: self.status,
            observer: self.observer,
        };
        let mut feed_items = feed_items;
        inner.run(&mut feed_items, self.commands, &stop).await;
        inner.wind_up(&mut feed_items, drain).await;
        side.cancel();
        tasks.wait().await;
    }
}

/// Moves feed items to the loop; a task of its own, so that the feed's steps are never cut short.
async fn pump(
    mut feed: Feed,
    items: mpsc::Sender<Arrived>,
    relist: Arc<Notify>,
    stop: CancellationToken,
) {
    loop {
        let item = tokio::select! {
            item = feed.next() => item,
            () = relist.notified() => {
                feed.restart();
                continue;
            }
            () = stop.cancelled() => return,
        };
        if items.send((Instant::now(), item)).await.is_err() {
            return;
        }
    }
}

struct Loop<M: Machine> {
    store: Store,
    settings: Settings,
    machine: M,
    line: Line,
    moves: Moves,
    subjects: Subjects,
    requests: Requests<M>,
    waiters: Vec<Waiter<M>>,
    /// Proposals that wait for a place in the air.
    queue: VecDeque<Item>,
    flights: FuturesUnordered<BoxFuture<'static, Landed>>,
    trails: Trails,
    applied: Revision,
    fingerprint: Fingerprint,
    auditor: Auditor,
    session: watch::Receiver<Option<Session>>,
    feed_health: watch::Receiver<FeedHealth>,
    predecessor: watch::Sender<Option<Predecessor>>,
    pulse: Pulse,
    stats: Stats,
    told: Told,
    status: watch::Sender<Status>,
    observer: Box<dyn Observer>,
}

impl<M: Machine> Loop<M> {
    async fn run(
        &mut self,
        feed: &mut mpsc::Receiver<Arrived>,
        mut commands: mpsc::Receiver<Command<M>>,
        stop: &CancellationToken,
    ) {
        let mut tick =
            tokio::time::interval((self.settings.lease_ttl / 16).min(Duration::from_millis(250)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut audit = tokio::time::interval_at(
            Instant::now() + self.settings.audit_interval,
            self.settings.audit_interval,
        );
        let mut taken = Vec::with_capacity(COMMANDS_PER_ROUND);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                item = feed.recv() => match item {
                    Some(arrived) => self.fold(arrived),
                    None => return,
                },
                Some(landed) = self.flights.next() => self.land(landed),
                moved = self.moves.landed() => self.moves.settle(moved),
                _ = self.session.changed() => {}
                _ = self.feed_health.changed() => {}
                taken_now = commands.recv_many(&mut taken, COMMANDS_PER_ROUND) => {
                    if taken_now == 0 {
                        return;
                    }
                    for command in taken.drain(..) {
                        self.obey(command);
                    }
                }
                () = self.told.due() => {}
                listed = self.auditor.listed() => self.auditor.judge(listed, &mut self.stats),
                _ = audit.tick() => self.auditor.start(&self.store, self.applied, &self.fingerprint),
                _ = tick.tick() => {
                    self.machine.tick(self.pulse.elapsed());
                    self.subjects.retry_failed();
                    self.moves.retry_failed();
                }
            }
            self.go_on();
            self.pulse.beat();
        }
    }

    /// Everything that follows from whatever has just changed.
    fn go_on(&mut self) {
        for decision in self.machine.decide() {
            self.subjects.decided(decision);
        }
        self.settle();
        let machine = &self.machine;
        self.waiters.retain_mut(|done| !done(machine));
        self.moves
            .next(&self.store, &self.line, self.session(), self.applied);
        if let Some(term) = self.leads() {
            self.propose();
            self.take_off(&term);
        } else {
            self.ground();
        }
        self.tell();
    }

    /// What the fold has settled: flights in doubt, then subjects and requests that waited for a revision.
    fn settle(&mut self) {
        let present = self.line.term();
        for landed in self.trails.settled(self.applied, present.as_ref()) {
            self.deliver(landed);
        }
        self.subjects.caught_up(self.applied);
        let leads = self.leads().is_some();
        self.requests.caught_up(self.applied, leads, &self.machine);
    }

    fn fold(&mut self, (arrived, item): Arrived) {
        self.applied = item.revision();
        match item {
            FeedItem::Reset(snapshot) => {
                self.stats.loads += 1;
                self.fingerprint = Fingerprint::of(&snapshot);
                self.line.load(&snapshot);
                self.machine.load(&snapshot);
                self.trails.see_snapshot(&snapshot);
            }
            FeedItem::Batch(batch) => {
                self.stats.batches += 1;
                self.stats.events += batch.events.len() as u64;
                self.fingerprint.apply(&batch);
                self.line.apply(&batch);
                self.machine.apply(&batch);
                self.trails.see(&batch);
            }
        }
        self.stats.feed_lag = arrived.elapsed();
    }

    fn obey(&mut self, command: Command<M>) {
        match command {
            Command::Read { leader_only, job } => job(self.readable(leader_only)),
            Command::Write(job) => {
                let refusal = self.readable(true).err();
                self.requests.ask(job, refusal, &self.machine);
            }
            Command::Wait(mut done) => {
                if !done(&self.machine) {
                    self.waiters.push(done);
                }
            }
            Command::Input(input) => self.machine.input(input),
            Command::Resign => self.moves.resign(),
        }
    }

    fn readable(&self, leader_only: bool) -> Result<(&M, Revision), Refused> {
        if self.applied == Revision::ZERO {
            Err(Refused::NotLoaded)
        } else if leader_only && self.leads().is_none() {
            Err(Refused::NotLeader)
        } else {
            Ok((&self.machine, self.applied))
        }
    }

    fn session(&self) -> Option<Session> {
        *self.session.borrow()
    }

    fn is_evicted(&self) -> bool {
        self.line.evicted().contains(&self.settings.member.name)
    }

    /// The term to act on: our key stands first in the feed, our lease is surely alive, and we are not on our way out.
    fn leads(&self) -> Option<Term> {
        let session = self.session().filter(Session::is_valid)?;
        let leader = self.line.leader()?;
        let ours = leader.lease == session.lease && leader.campaign.id == self.settings.member.name;
        if ours && !self.moves.is_resigning() && !self.is_evicted() {
            self.line.term()
        } else {
            None
        }
    }

    /// Turns what is wanted into items, each with its span.
    fn propose(&mut self) {
        self.subjects
            .take_ready(|origin, proposal| self.queue.push_back(Item::new(origin, proposal)));
        self.requests
            .take_ready(|origin, proposal| self.queue.push_back(Item::new(origin, proposal)));
    }

    /// Sends what is queued, packed into as few transactions as fit, within the limit of flights; the rest stays untouched.
    fn take_off(&mut self, term: &Term) {
        while !self.queue.is_empty() && self.flights.len() < self.settings.max_in_flight {
            let mut pack = Pack::new(term.fence(), self.store.options().max_txn_ops);
            let mut items: Vec<Item> = Vec::new();
            while let Some(item) = self.queue.pop_front() {
                let parts = items.first().is_some_and(|first| first.alone || item.alone);
                if parts || !pack.takes(&item.txn) {
                    self.queue.push_front(item);
                    break;
                }
                pack.add(item.txn.clone());
                items.push(item);
            }
            let txn = pack.into_txn();
            let flight = fly(
                self.trails.take_off(&txn, term, self.applied),
                self.store.clone(),
                txn,
                items,
                self.session.clone(),
            );
            self.flights.push(Box::pin(flight));
        }
    }

    /// Without a term nothing may leave: subjects keep their decisions, requests are refused.
    fn ground(&mut self) {
        for item in self.queue.drain(..) {
            match item.origin {
                Origin::Subject(subject, _) => self.subjects.grounded(&subject),
                Origin::Request(id) => self.requests.grounded(id, Refused::NotLeader),
            }
        }
        self.requests.refuse_queued(&Refused::NotLeader);
    }

    fn land(&mut self, landed: Landed) {
        self.stats.lost_replies += landed.lost_replies;
        if let Some(landed) = self.trails.land(landed) {
            self.deliver(landed);
        }
    }

    /// Tells all whom it concerns how a flight has ended.
    fn deliver(&mut self, landed: Landed) {
        self.count(&landed);
        let in_company = landed.items.len() > 1;
        match landed.outcome {
            Outcome::GuardFailed(_) | Outcome::Refused(_) if in_company => {
                self.queue
                    .extend(landed.items.into_iter().map(Item::by_itself));
            }
            outcome => {
                for item in landed.items {
                    match &item.origin {
                        Origin::Subject(subject, generation) => {
                            self.subjects.landed(subject, *generation, &outcome)
                        }
                        Origin::Request(id) => self.requests.landed(*id, &outcome),
                    }
                }
            }
        }
    }

    fn count(&mut self, landed: &Landed) {
        match &landed.outcome {
            Outcome::Committed(_) => {
                self.stats.commits += 1;
                self.stats.committed_proposals += landed.items.len() as u64;
                self.observer.committed(landed.took, landed.items.len());
            }
            Outcome::GuardFailed(revision) => {
                self.stats.guard_failures += 1;
                tracing::debug!(%revision, members = landed.items.len(), "a guard refused a transaction");
            }
            Outcome::Refused(why) => {
                self.stats.refused += 1;
                tracing::error!(
                    cause = why,
                    members = landed.items.len(),
                    "etcd refuses a transaction"
                );
            }
            Outcome::Lost | Outcome::Unknown => self.stats.unknown += 1,
        }
    }
}
