//! Whether everything ends: from every state, without further faults, moves and unlocks.
//!
//! Each step that comes by itself is kept while the world is explored. From the states in which nothing comes by itself any
//! more the steps are then gone back over: who is not met has no end.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::state::{State, source};
use super::{Action, World};

/// No world here needs as many.
const STEPS_TO_THE_END: usize = 500;

/// States by their digests.
#[derive(Debug, Default)]
pub struct Graph {
    explored: Mutex<Explored>,
}

#[derive(Debug, Default)]
struct Explored {
    /// How each state was reached first.
    reached: HashMap<u64, (u64, Action)>,
    /// From where a step that comes by itself leads to a state.
    before: HashMap<u64, Vec<u64>>,
    ends: Vec<u64>,
}

impl Graph {
    fn explored(&self) -> MutexGuard<'_, Explored> {
        self.explored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, from: u64, to: u64, action: Action) {
        let mut explored = self.explored();
        explored.reached.entry(to).or_insert((from, action));
        if action.is_step() {
            explored.before.entry(to).or_default().push(from);
        }
    }

    pub(super) fn add_end(&self, state: u64) {
        self.explored().ends.push(state);
    }

    /// A way into each of the explored states that have no end.
    #[must_use]
    pub fn without_end(&self) -> Vec<Vec<Action>> {
        let explored = self.explored();
        let mut met: HashSet<u64> = explored.ends.iter().copied().collect();
        let mut queue = explored.ends.clone();
        while let Some(state) = queue.pop() {
            let before = explored.before.get(&state);
            queue.extend(
                before
                    .into_iter()
                    .flatten()
                    .filter(|from| met.insert(**from)),
            );
        }
        let lost = explored.reached.keys().filter(|state| !met.contains(state));
        lost.map(|state| explored.way_to(*state)).collect()
    }
}

impl Explored {
    fn way_to(&self, state: u64) -> Vec<Action> {
        let mut way = Vec::new();
        let mut at = state;
        while let Some((from, action)) = self.reached.get(&at) {
            // Where the exploration begins may be reached again.
            if way.len() > self.reached.len() {
                break;
            }
            way.push(*action);
            at = *from;
        }
        way.reverse();
        way
    }
}

impl World {
    /// Whether a state in which nothing comes by itself is an end. In a world with moves and unlocks an operator helps: a round
    /// that has ended without a source waits for the others in vain.
    pub(super) fn ends(&self, from: &State) -> bool {
        if self.moves == 0 && self.unlocks == 0 {
            return self.is_finished(from);
        }
        let mut state = from.clone();
        for _ in 0..STEPS_TO_THE_END {
            if self.is_finished(&state) {
                return state.broken.is_none();
            }
            if self.go_on(&mut state).is_none() {
                return false;
            }
        }
        false
    }

    /// The next step on the way to the end: what comes by itself, and then an operator's help.
    fn go_on(&self, state: &mut State) -> Option<()> {
        state.ticks_left = 1;
        let mut steps = Vec::new();
        self.steps(state, &mut steps);
        match steps.last() {
            Some(step) => self.step(state, *step),
            None => self.help(state),
        }
    }

    /// An operator has all sources in the task, and unlocks the first lock that stands still.
    fn help(&self, state: &mut State) -> Option<()> {
        if let Some(outside) = (0..self.sources).find(|who| !state.is_in_task(*who)) {
            return self.step(state, Action::Join(outside));
        }
        let lock = state
            .coordinator
            .machine
            .locks("", &[])
            .into_iter()
            .next()?;
        let owner = (0..self.sources)
            .map(source)
            .find(|name| lock.synced.iter().any(|synced| synced.as_str() == name));
        let number = (0..self.plan.len()).find(|number| self.lock_id(*number) == lock.id)?;
        self.unlock(state, number, owner, true)
    }
}
