//! Whatever happens in whatever order: a source has one worker at most, a worker is bound only while it lives,
//! and in the end every source has a worker if there is one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dm_keyspace::{Key, SourceId, TaskName, WorkerName};
use dm_replica::{Machine, Plan, Proposal, Subject};
use dm_store::{Event, Revision};
use proptest::prelude::*;

use super::world::{
    LIMIT, Store, alive_key, bound_key, config_key, ids, join, new_task, registration, source,
};
use crate::machine::record::WorkerStage;
use crate::machine::{Counts, Mark, Scheduler};

const NAMES: usize = 4;
const WORKERS: [&str; NAMES] = ["w1", "w2", "w3", "w4"];
const SOURCES: [&str; NAMES] = ["s1", "s2", "s3", "s4"];

#[derive(Clone, Debug)]
enum Step {
    Online(usize),
    Offline(usize),
    Add(usize),
    Remove(usize),
    Start(usize),
    Stop(usize),
    /// The feed brings this many more revisions.
    Feed(usize),
    /// Everything wanted goes on its way.
    Send,
    /// One of the transactions on their way reaches etcd.
    Land(usize),
    /// Another replica leads: a new one, or one that has followed all along.
    Succeed {
        hot: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let one = 0..NAMES;
    prop_oneof![
        3 => one.clone().prop_map(Step::Online),
        3 => one.clone().prop_map(Step::Offline),
        2 => one.clone().prop_map(Step::Add),
        1 => one.clone().prop_map(Step::Remove),
        1 => one.clone().prop_map(Step::Start),
        1 => one.clone().prop_map(Step::Stop),
        6 => (1..4_usize).prop_map(Step::Feed),
        5 => Just(Step::Send),
        6 => (0..8_usize).prop_map(Step::Land),
        1 => any::<bool>().prop_map(|hot| Step::Succeed { hot }),
    ]
}

/// A leader with a feed that lags and transactions that take their time; a former leader's are fenced off.
struct Cluster {
    store: Store,
    machine: Scheduler,
    fed: usize,
    wanted: BTreeMap<Subject, Vec<Proposal>>,
    /// Subjects with transactions on their way, and those whose outcome the feed has not brought yet.
    busy: BTreeMap<Subject, usize>,
    awaited: BTreeMap<Subject, Revision>,
    flying: VecDeque<(Option<Subject>, Proposal)>,
    joins: usize,
    /// The stages of workers, as somebody who looks at the changes only has them.
    shown: BTreeMap<WorkerName, WorkerStage>,
    mark: Mark,
}

impl Cluster {
    fn new() -> Self {
        let mut store = Store::default();
        for worker in WORKERS {
            let (key, value) = registration(worker);
            store.put(key, value);
        }
        Self {
            store,
            mark: Scheduler::default().mark(),
            shown: BTreeMap::new(),
            machine: Scheduler::default(),
            fed: 0,
            wanted: BTreeMap::new(),
            busy: BTreeMap::new(),
            awaited: BTreeMap::new(),
            flying: VecDeque::new(),
            joins: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Online(w) => {
                self.joins += 1;
                self.store
                    .put(alive_key(WORKERS[w]), join(WORKERS[w], self.joins));
            }
            Step::Offline(w) => self.store.delete(alive_key(WORKERS[w])),
            Step::Add(s) => {
                let plan = self.machine.add_sources(&[source(SOURCES[s], false)], None);
                self.ask(plan);
            }
            Step::Remove(s) => {
                let plan = self.machine.remove_source(&SOURCES[s].into());
                self.ask(plan);
            }
            Step::Start(s) => {
                let plan = self.machine.start_task(&new_task("t", &[SOURCES[s]]));
                self.ask(plan);
            }
            Step::Stop(s) => {
                let plan = self
                    .machine
                    .remove_subtasks(&"t".into(), &ids(&[SOURCES[s]]), LIMIT);
                self.ask(plan);
            }
            Step::Feed(n) => self.feed(n),
            Step::Send => self.send(),
            Step::Land(n) => self.land(n),
            Step::Succeed { hot } => self.succeed(hot),
        }
    }

    fn ask<T, E>(&mut self, plan: Result<Plan<T>, E>) {
        if let Ok(Plan::Commit(proposal, _)) = plan {
            self.flying.push_back((None, proposal));
        }
    }

    fn feed(&mut self, revisions: usize) {
        let end = (self.fed + revisions).min(self.store.log.len());
        for batch in &self.store.log[self.fed..end] {
            self.machine.apply(batch);
        }
        self.fed = end;
        let applied = end
            .checked_sub(1)
            .map_or(Revision::ZERO, |last| self.store.log[last].revision);
        self.awaited.retain(|_, revision| *revision > applied);
        for decision in self.machine.decide() {
            self.wanted.insert(decision.subject, decision.proposals);
        }
        self.check_counts();
    }

    /// What is counted as it changes is what a look at everything finds.
    fn check_counts(&mut self) {
        let machine = &self.machine;
        let stages = machine.worker_rows().map(|row| (row.name, row.stage));
        let stages: BTreeMap<WorkerName, WorkerStage> = stages.collect();
        let counted = Counts {
            workers: stages.len(),
            sources: machine.source_ids().count(),
            bound: machine.bound_sources().count(),
            subtasks: machine.subtasks().count(),
        };
        assert_eq!(machine.counts(), counted);
        match machine.changed_since(self.mark) {
            Some(changed) => self
                .shown
                .extend(changed.map(|(name, stage)| (name.clone(), stage))),
            None => self.shown.clone_from(&stages),
        }
        assert_eq!(self.shown, stages);
        self.mark = machine.mark();
    }

    fn send(&mut self) {
        for (subject, proposals) in &self.wanted {
            if self.busy.contains_key(subject) || self.awaited.contains_key(subject) {
                continue;
            }
            for proposal in proposals {
                *self.busy.entry(subject.clone()).or_default() += 1;
                self.flying
                    .push_back((Some(subject.clone()), proposal.clone()));
            }
        }
    }

    fn land(&mut self, n: usize) {
        let Some((subject, proposal)) = self.flying.remove(n % self.flying.len().max(1)) else {
            return;
        };
        let bounds = self.store.bounds();
        if self.store.commit(&proposal) {
            self.check_commit(&bounds);
        }
        let Some(subject) = subject else { return };
        self.awaited.insert(subject.clone(), self.store.revision);
        if let Some(left) = self.busy.get_mut(&subject) {
            *left -= 1;
            if *left == 0 {
                self.busy.remove(&subject);
            }
        }
    }

    fn succeed(&mut self, hot: bool) {
        self.flying.clear();
        self.busy.clear();
        self.awaited.clear();
        if hot {
            // Its own place in the line came after everything that its predecessor committed.
            self.feed(usize::MAX - self.fed);
        } else {
            self.machine = Scheduler::default();
            self.mark = self.machine.mark();
            self.wanted.clear();
            self.machine.load(&self.store.snapshot());
            self.fed = self.store.log.len();
            self.feed(0);
        }
    }

    /// What must be true of every transaction that a leader commits.
    fn check_commit(&self, before: &[(String, String)]) {
        let Some(batch) = self.store.log.last() else {
            return;
        };
        for event in &batch.events {
            let (Event::Put(kv), Ok(Key::Bound(key))) = (event, Key::parse(event.key())) else {
                continue;
            };
            let worker = key.worker.as_str();
            assert!(
                self.store.keys.contains_key(alive_key(worker).as_bytes()),
                "{worker} is bound while it is offline"
            );
            let bound = dm_keyspace::Bound::from_bytes(&kv.value).unwrap();
            let old = before.iter().find(|(name, _)| name == worker);
            assert!(
                old.is_none_or(|(_, source)| source == bound.source.as_str()),
                "{worker} is bound to {} over {old:?}",
                bound.source
            );
            assert!(
                self.store
                    .keys
                    .contains_key(config_key(bound.source.as_str()).as_bytes())
            );
        }
    }

    fn check_state(&self) {
        let bounds = self.store.bounds();
        let sources: BTreeSet<&String> = bounds.iter().map(|(_, source)| source).collect();
        assert_eq!(
            sources.len(),
            bounds.len(),
            "a source has two workers: {bounds:?}"
        );
        for (id, task) in stored_subtasks(&self.store) {
            let config = config_key(id.as_str());
            assert!(
                self.store.keys.contains_key(config.as_bytes()),
                "{task} has lost its source {id}"
            );
        }
    }

    /// Lets everything arrive, and looks at the end.
    fn check_end(&mut self) {
        for _ in 0..200 {
            self.feed(usize::MAX - self.fed);
            self.send();
            while !self.flying.is_empty() {
                self.land(0);
            }
            if self.fed == self.store.log.len() && self.wanted.values().all(Vec::is_empty) {
                break;
            }
        }
        assert!(
            self.wanted.values().all(Vec::is_empty),
            "it does not come to rest: {:?}",
            self.wanted
        );
        let online = WORKERS
            .iter()
            .filter(|w| self.store.keys.contains_key(alive_key(w).as_bytes()))
            .count();
        let sources = SOURCES
            .iter()
            .filter(|s| self.store.keys.contains_key(config_key(s).as_bytes()))
            .count();
        let bounds = self.store.bounds();
        assert_eq!(bounds.len(), online.min(sources), "{bounds:?}");
        for (worker, _) in &bounds {
            let bound = &self.store.keys[bound_key(worker).as_bytes()];
            let alive = self.store.keys.get(alive_key(worker).as_bytes());
            assert!(
                alive.is_some_and(|a| a.mod_revision < bound.mod_revision),
                "{worker} has been offline since"
            );
        }
    }
}

fn stored_subtasks(store: &Store) -> Vec<(SourceId, TaskName)> {
    let keys = store.keys.keys().filter_map(|key| Key::parse(key).ok());
    keys.filter_map(|key| match key {
        Key::Subtask(key) => Some((key.source, key.task)),
        _ => None,
    })
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn case_118_invariants_hold_at_every_step_and_every_source_ends_with_a_worker(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut cluster = Cluster::new();
        for step in &steps {
            cluster.take(step);
            cluster.check_state();
        }
        cluster.check_end();
    }

    #[test]
    fn a_replica_from_a_snapshot_ends_where_one_that_followed_ends(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut cluster = Cluster::new();
        for step in &steps {
            cluster.take(step);
        }
        cluster.check_end();
        let before = cluster.store.revision;
        cluster.succeed(false);
        cluster.check_end();
        prop_assert_eq!(cluster.store.revision, before);
    }
}
