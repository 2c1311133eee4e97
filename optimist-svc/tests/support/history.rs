//! Shards whose workers meet random statements, and do so in any order: what they do, and what must hold of it.

use std::collections::BTreeMap;

use dm_keyspace::optimism::Operation;
use dm_store::{Event, Revision};
use proptest::prelude::*;

use super::stage::{Stage, id, operation_key};

/// What a statement does to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add(&'static str, &'static str),
    Drop(&'static str),
    Rename(&'static str, &'static str),
    Modify(&'static str, &'static str),
    Index(&'static str),
    Unindex(&'static str),
}

impl Change {
    fn column(self) -> &'static str {
        match self {
            Add(name, _) | Drop(name) | Rename(name, _) | Modify(name, _) => name,
            Index(name) | Unindex(name) => name,
        }
    }
}

use Change::{Add, Drop, Index, Modify, Rename, Unindex};

/// Changes that tables may make in any order and at any time.
pub(crate) const COMPATIBLE: [Change; 8] = [
    Add("c", "INT"),
    Add("d", "VARCHAR(20)"),
    Add("f", "INT NOT NULL DEFAULT 3"),
    Drop("w"),
    Modify("b", "BIGINT"),
    Modify("v", "VARCHAR(40)"),
    Index("v"),
    Unindex("b"),
];

/// Changes that all tables have to make in the same order.
pub(crate) const CONFLICTING: [Change; 4] = [
    Rename("a", "z"),
    Add("e", "INT NOT NULL"),
    Modify("c", "VARCHAR(30)"),
    Rename("d", "y"),
];

/// The tables of a history, of three sources.
pub(crate) const TABLES: [&str; 12] = [
    "a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3", "c3", "a4", "b4", "c4",
];

/// What a table looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    columns: Vec<(&'static str, &'static str)>,
    keys: Vec<&'static str>,
}

impl Shape {
    /// What all tables look like at first.
    pub(crate) fn first() -> Self {
        Self {
            columns: vec![
                ("a", "INT"),
                ("b", "INT"),
                ("v", "VARCHAR(10)"),
                ("w", "BIGINT"),
            ],
            keys: vec!["b"],
        }
    }

    pub(crate) fn text(&self) -> String {
        let columns = self
            .columns
            .iter()
            .map(|(name, kind)| format!(", {name} {kind}"));
        let keys = self
            .keys
            .iter()
            .map(|name| format!(", KEY k_{name} ({name})"));
        let parts: String = columns.chain(keys).collect();
        format!("id INT PRIMARY KEY{parts}")
    }

    fn column(&mut self, name: &str) -> Option<&mut (&'static str, &'static str)> {
        self.columns.iter_mut().find(|(column, _)| *column == name)
    }

    /// Makes the change, and gives the end of the statement; none if it cannot be made.
    pub(crate) fn make(&mut self, change: Change) -> Option<String> {
        match change {
            Add(name, kind) => {
                self.columns.push((name, kind));
                Some(format!("ADD COLUMN {name} {kind}"))
            }
            Drop(name) => {
                self.column(name)?;
                self.columns.retain(|(column, _)| *column != name);
                Some(format!("DROP COLUMN {name}"))
            }
            Rename(from, to) => {
                let column = self.column(from)?;
                column.0 = to;
                let kind = column.1;
                Some(format!("CHANGE COLUMN {from} {to} {kind}"))
            }
            Modify(name, kind) => {
                self.column(name)?.1 = kind;
                Some(format!("MODIFY COLUMN {name} {kind}"))
            }
            Index(name) => {
                self.column(name)?;
                self.keys.push(name);
                Some(format!("ADD INDEX k_{name} ({name})"))
            }
            Unindex(name) => {
                self.keys.retain(|key| *key != name);
                Some(format!("DROP INDEX k_{name}"))
            }
        }
    }
}

/// Those of the changes that can be made one after the other.
pub(crate) fn possible(changes: Vec<Change>) -> Vec<Change> {
    let mut shape = Shape::first();
    let is_possible = |change: &Change| shape.make(*change).is_some();
    changes.into_iter().filter(is_possible).collect()
}

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// A worker does the next thing that it can do; it meets so many statements at once at most.
    Advance(usize, usize),
    /// A worker starts anew from its checkpoint.
    Crash(usize),
    /// The leader folds what is new and commits what it wants.
    Lead,
    /// The leader folds a little, then commits what it wants by that.
    LeadBehind(usize),
    LeaderChange,
    LeaderDies,
    /// A table is made that looks as all did at first.
    Create(usize),
    /// A table goes, if there is another.
    Remove(usize),
}

/// Actions; tables come and go as well if that is wanted.
pub(crate) fn action(tables_change: bool) -> BoxedStrategy<Action> {
    let any = 0..TABLES.len();
    let always = prop_oneof![
        16 => (any.clone(), 1..3_usize).prop_map(|(who, many)| Action::Advance(who, many)),
        2 => any.clone().prop_map(Action::Crash),
        8 => Just(Action::Lead),
        3 => (0..4_usize).prop_map(Action::LeadBehind),
        1 => Just(Action::LeaderChange),
        1 => Just(Action::LeaderDies),
    ];
    if !tables_change {
        return always.boxed();
    }
    prop_oneof![
        8 => always,
        1 => any.clone().prop_map(Action::Create),
        1 => any.prop_map(Action::Remove),
    ]
    .boxed()
}

#[derive(Clone, Debug)]
enum At {
    Running,
    /// Has reported at this revision, with so many statements.
    Reported(Revision, usize),
    /// Was told to wait for a redirect.
    Waiting(Revision),
    Told(Box<Operation>, usize),
}

struct Worker {
    shape: Shape,
    changes: Vec<Change>,
    next: usize,
    /// How many statements came together, by the first of them.
    events: BTreeMap<usize, usize>,
    at: At,
}

impl Worker {
    fn new(changes: &[Change]) -> Self {
        Self {
            shape: Shape::first(),
            changes: changes.to_vec(),
            next: 0,
            events: BTreeMap::new(),
            at: At::Running,
        }
    }

    /// The next statements, and what the table looks like after each. One of them at most makes a table wait: an
    /// operation that redirects it does not say which. And none is about a column of another: when the others are past
    /// both, what is between them contradicts what they have (spec optimist D3 to D5).
    fn meets(&self, many: usize) -> Vec<(String, Shape)> {
        let mut shape = self.shape.clone();
        let (mut waits, mut columns) = (0, Vec::new());
        let next = self.changes[self.next..].iter().take(many);
        let next = next.take_while(|change| {
            waits += usize::from(CONFLICTING.contains(change));
            let is_new = !columns.contains(&change.column());
            columns.push(change.column());
            waits < 2 && is_new
        });
        next.map(|change| {
            let ddl = shape.make(*change).expect("it is possible");
            (ddl, shape.clone())
        })
        .collect()
    }
}

/// What the coordinator put for a table, in order.
fn puts_after(stage: &Stage, table: &str, after: Revision) -> Vec<(Operation, Revision)> {
    let key = operation_key(table);
    let events = stage.world.etcd.log.iter();
    let puts = events.filter_map(|event| match event {
        Event::Put(kv) if kv.key == key && kv.mod_revision > after => {
            Some((Operation::from_bytes(&kv.value).ok()?, kv.mod_revision))
        }
        _ => None,
    });
    puts.filter(|(operation, _)| !operation.done).collect()
}

/// Shards under way.
pub(crate) struct History {
    pub(crate) stage: Stage,
    workers: BTreeMap<&'static str, Worker>,
    /// What a table that is made meets.
    changes: Vec<Change>,
}

impl History {
    /// Each of the first `tables` tables meets the same changes.
    pub(crate) fn same(tables: usize, changes: &[Change]) -> Self {
        let each = vec![changes.to_vec(); tables];
        let mut history = Self::each(&each);
        history.changes = changes.to_vec();
        history
    }

    /// Each table meets changes of its own.
    pub(crate) fn each(changes: &[Vec<Change>]) -> Self {
        let tables = &TABLES[..changes.len()];
        let workers = tables.iter().zip(changes);
        let mut stage = Stage::new(tables, &Shape::first().text());
        for source in ["A", "B", "C"] {
            stage.run(&source.into());
        }
        Self {
            stage,
            workers: workers.map(|(table, c)| (*table, Worker::new(c))).collect(),
            changes: Vec::new(),
        }
    }

    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Advance(who, many) => {
                self.advance(TABLES[who], many);
            }
            Action::Crash(who) => {
                if let Some(worker) = self.workers.get_mut(TABLES[who]) {
                    worker.at = At::Running;
                }
            }
            Action::Lead => {
                self.stage.world.step();
            }
            Action::LeadBehind(events) => {
                self.stage.world.step_behind(events);
            }
            Action::LeaderChange => {
                self.stage.world.stop();
                self.stage.world.start();
            }
            Action::LeaderDies => self.stage.world.stop(),
            Action::Create(who) => self.create(TABLES[who]),
            Action::Remove(who) => self.remove(TABLES[who]),
        }
    }

    fn create(&mut self, table: &'static str) {
        if self.workers.contains_key(table) {
            return;
        }
        self.workers.insert(table, Worker::new(&self.changes));
        self.stage
            .columns
            .insert(table.to_owned(), Shape::first().text());
        self.stage.flush(table);
        self.stage.list(&id(table).source);
    }

    fn remove(&mut self, table: &'static str) {
        if self.workers.len() > 1 && self.workers.remove(table).is_some() {
            self.stage.columns.remove(table);
            self.stage.list(&id(table).source);
        }
    }

    /// One step of a worker. Whether it could do any.
    fn advance(&mut self, table: &'static str, many: usize) -> bool {
        let Some(worker) = self.workers.get_mut(table) else {
            return false;
        };
        match worker.at.clone() {
            At::Running => {
                // What one event has brought comes together again.
                let many = worker.events.get(&worker.next).copied().unwrap_or(many);
                let meets = worker.meets(many);
                if meets.is_empty() {
                    return false;
                }
                worker.events.insert(worker.next, meets.len());
                let texts: Vec<(&str, String)> = meets
                    .iter()
                    .map(|(ddl, after)| (ddl.as_str(), after.text()))
                    .collect();
                let ddls: Vec<(&str, &str)> = texts
                    .iter()
                    .map(|(ddl, after)| (*ddl, after.as_str()))
                    .collect();
                let info = self.stage.info(table, &ddls);
                self.stage.put(table, &info);
                worker.at = At::Reported(self.stage.world.etcd.revision, meets.len());
                true
            }
            At::Reported(since, many) => {
                let puts = puts_after(&self.stage, table, since);
                let Some((answer, at)) = puts.into_iter().next() else {
                    return false;
                };
                worker.at = match answer.conflict_stage.as_str() {
                    "none" => At::Told(Box::new(answer), many),
                    "skip and wait for redirect" => At::Waiting(at),
                    // Strict or not, the task is resumed by hand sooner or later.
                    "detected" | "error" => At::Running,
                    other => panic!("{table} is answered {other}"),
                };
                true
            }
            At::Waiting(since) => {
                let puts = puts_after(&self.stage, table, since);
                let is_back = puts
                    .iter()
                    .any(|(o, _)| o.conflict_stage.as_str() == "resolved");
                if is_back {
                    worker.at = At::Running;
                }
                is_back
            }
            At::Told(answer, many) => {
                let (_, after) = worker.meets(many).pop().expect("it has met some");
                worker.shape = after;
                worker.next += many;
                worker.at = At::Running;
                self.stage
                    .columns
                    .insert(table.to_owned(), worker.shape.text());
                self.stage.flush(table);
                let put = (operation_key(table), answer.into_done().to_bytes());
                self.stage.world.etcd.write(vec![put], &[]);
                true
            }
        }
    }

    /// Whatever has happened: from here on nothing fails, and everything ends.
    pub(crate) fn finish(&mut self) {
        if self.stage.world.machine().is_none() {
            self.stage.world.start();
        }
        let tables: Vec<&'static str> = self.workers.keys().copied().collect();
        for _ in 0..200 {
            self.stage.world.quiet();
            let moved: Vec<bool> = tables.iter().map(|table| self.advance(table, 1)).collect();
            if !moved.contains(&true) {
                break;
            }
        }
        self.stage.world.quiet();
    }

    /// Tables that have not done all that they were to do, and where they are.
    pub(crate) fn stuck(&self) -> Vec<String> {
        let stuck = self.workers.iter();
        let stuck = stuck.filter(|(_, worker)| worker.next < worker.changes.len());
        stuck
            .map(|(table, w)| format!("{table} at {:?}: {:?}", w.changes[w.next], w.at))
            .collect()
    }

    /// Infos that were answered more than once, or not with one answer and a redirect after a wait.
    pub(crate) fn answered_twice(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for table in TABLES {
            let (info, operation) = (super::stage::info_key(table), operation_key(table));
            let mut since: Vec<String> = Vec::new();
            let mut has_reported = false;
            for event in &self.stage.world.etcd.log {
                let Event::Put(kv) = event else { continue };
                if kv.key == info {
                    since.clear();
                    has_reported = true;
                } else if kv.key == operation
                    && let Ok(put) = Operation::from_bytes(&kv.value)
                    && !put.done
                {
                    since.push(put.conflict_stage.as_str().to_owned());
                    let is_right = match since.as_slice() {
                        [first] => first != "resolved" && has_reported,
                        [first, second] => {
                            first == "skip and wait for redirect" && second == "resolved"
                        }
                        _ => false,
                    };
                    if !is_right {
                        wrong.push(format!("{table} at {}: {since:?}", kv.mod_revision.0));
                    }
                }
            }
        }
        wrong
    }
}
