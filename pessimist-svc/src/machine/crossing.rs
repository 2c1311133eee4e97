//! Crossed waits: a source reports one DDL at a time, so two that wait for different tables may wait for each other.
//!
//! Lock A waits for a source that it misses; if that source waits in lock B, A waits for B. Locks that wait for each other in
//! a circle stay as they are until an operator unlocks one of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dm_keyspace::{SourceId, TaskName};

use super::evidence::Task;
use super::round::{Phase, Round};
use super::{LockKey, Pessimist};

/// Locks of a task that are looked at; what cannot be seen among so many is not told.
const LOOKED_AT: usize = 64;

/// Locks that wait for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// Their task.
    pub task: TaskName,
    /// Each with a source that it misses and that waits in the next one; the last one's waits in the first.
    pub waits: Vec<(String, SourceId)>,
    /// The one to unlock: most sources wait in it.
    pub unlock: String,
}

impl Crossing {
    /// In a sentence.
    pub(super) fn sentence(&self) -> String {
        let ids = self.waits.iter().map(|(id, _)| id);
        let next = ids.clone().cycle().skip(1);
        let waits: Vec<String> = self
            .waits
            .iter()
            .zip(next)
            .map(|((id, source), next)| format!("lock {id} misses {source}, which waits in {next}"))
            .collect();
        format!(
            "Crossed waits: {}. None of them goes on by itself. Unlock {} by hand: the sources that wait in it go on to the others; \
             unlock it once more when those that it misses now have come to it.",
            waits.join("; "),
            self.unlock
        )
    }
}

impl Pessimist {
    /// The circles of locks that wait for each other, of all tasks.
    #[must_use]
    pub fn crossings(&self) -> Vec<Crossing> {
        self.tasks
            .iter()
            .flat_map(|(name, task)| crossings(name, task))
            .collect()
    }

    /// The circle of each lock of a task that is in one.
    pub(super) fn crossed_locks(&self, name: &TaskName) -> BTreeMap<LockKey, Crossing> {
        let task = self.tasks.get(name);
        let circles = task.map(|task| crossings(name, task)).unwrap_or_default();
        let of_lock = circles.iter().flat_map(|crossing| {
            let key = |id: &String| LockKey {
                task: name.clone(),
                id: id.clone(),
            };
            let ids = crossing.waits.iter();
            ids.map(move |(id, _)| (key(id), crossing.clone()))
        });
        of_lock.collect()
    }
}

/// A lock that waits for reports, and who waits in it.
struct Waiting<'a> {
    id: &'a String,
    round: &'a Round,
    present: &'a BTreeSet<SourceId>,
}

impl Waiting<'_> {
    /// A source that is missed here and waits there.
    fn waits_for(&self, other: &Self) -> Option<SourceId> {
        let is_missed = |source: &&SourceId| {
            self.round.members.contains(*source) && !self.round.reported.contains(*source)
        };
        other.present.iter().find(is_missed).cloned()
    }
}

fn crossings(name: &TaskName, task: &Task) -> Vec<Crossing> {
    let locks: Vec<Waiting<'_>> = task
        .locks
        .iter()
        .filter(|(_, lock)| lock.unlock.is_none() && !lock.infos.is_empty())
        .filter_map(|(id, lock)| {
            let round = lock.round.as_ref()?;
            (round.phase == Phase::Collecting).then_some(Waiting {
                id,
                round,
                present: &lock.infos,
            })
        })
        .take(LOOKED_AT)
        .collect();
    let mut told = BTreeSet::new();
    let mut found = Vec::new();
    for start in 0..locks.len() {
        if told.contains(&start) {
            continue;
        }
        let Some(circle) = circle_through(&locks, start) else {
            continue;
        };
        told.extend(circle.iter().map(|(lock, _)| *lock));
        let most = circle
            .iter()
            .map(|(lock, _)| *lock)
            .max_by_key(|lock| (locks[*lock].round.reported.len(), std::cmp::Reverse(*lock)));
        let waits = circle.into_iter();
        found.push(Crossing {
            task: name.clone(),
            waits: waits
                .map(|(lock, source)| (locks[lock].id.clone(), source))
                .collect(),
            unlock: locks[most.unwrap_or(start)].id.clone(),
        });
    }
    found
}

/// A shortest circle through a lock: each of its locks with the source that is missed there and waits in the next.
fn circle_through(locks: &[Waiting<'_>], start: usize) -> Option<Vec<(usize, SourceId)>> {
    // From where each lock was reached, and by which source.
    let mut reached: BTreeMap<usize, (usize, SourceId)> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        if let Some(source) = locks[at].waits_for(&locks[start]).filter(|_| at != start) {
            let mut circle = vec![(at, source)];
            let mut at = at;
            while let Some((before, source)) = reached.get(&at) {
                circle.push((*before, source.clone()));
                at = *before;
            }
            circle.reverse();
            return Some(circle);
        }
        for next in 0..locks.len() {
            if next == start || reached.contains_key(&next) {
                continue;
            }
            if let Some(source) = locks[at].waits_for(&locks[next]) {
                reached.insert(next, (at, source));
                queue.push_back(next);
            }
        }
    }
    None
}
