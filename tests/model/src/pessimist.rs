//! The pessimist's machine among its workers.
//!
//! Every source meets the same statements in the same order. Steps of workers: report, be told, execute or skip, say that
//! it is done. Steps of the coordinator: fold one revision and decide, commit one transaction. What may come between, as often
//! as a world says:
//!
//! - faults: a worker starts anew from its checkpoint, the coordinator is replaced by one that loads everything, its watch is
//!   lost, a transaction comes late, or its reply is lost and it comes a second time;
//! - moves: a source leaves the task, its worker going on until it hears of it, or joins it, with a table from before the
//!   statements that are under way or from after them;
//! - unlocks: an operator resolves a lock by hand, and time passes.
//!
//! Workers are prompt, or they go about the end of a round as DM's do; see [`Workers`].

mod coordinator;
mod ends;
mod state;
mod truth;
mod workers;

use std::collections::BTreeSet;
use std::sync::Arc;

use dm_keyspace::pessimism::{Info, InfoKey, OperationKey};
use dm_keyspace::{SourceId, TaskName};
use dm_replica::Plan;
use pessimist_svc::machine::UnlockRequest;
use stateright::{Model, Property};

use coordinator::{Sent, Wish};
pub use ends::Graph;
pub use state::State;
use state::{UNLOCKS, source, subtask, unlock_key};
use workers::At;

use crate::digest::digest;
use crate::etcd::Write;

const TASK: &str = "t";

/// How large a world is explored.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Number of sources.
    pub sources: usize,
    /// Table and statement, in the order in which each source meets them.
    pub plan: Vec<(&'static str, &'static str)>,
    /// How its workers behave.
    pub workers: Workers,
    /// How often something may go wrong.
    pub faults: u8,
    /// Sources that are no sources of the task at the beginning: the last ones.
    pub outside: usize,
    /// How often a source may join or leave the task.
    pub moves: u8,
    /// How often a lock may be unlocked by hand.
    pub unlocks: u8,
    /// How it may be unlocked.
    pub orders: Vec<Order>,
    /// What has been explored, for [`Graph::without_end`].
    pub graph: Arc<Graph>,
}

/// What workers do about the operation of the round before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workers {
    /// They report once there is no done operation on their key.
    #[default]
    Prompt,
    /// They look at their key once. Done: they wait for its deletion, then report whatever is there. Not done: they report
    /// in a second transaction, unless the value has changed meanwhile; then they wait for a deletion too.
    LikeDm,
}

/// How an operator unlocks a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Who shall execute instead of the owner.
    pub owner: Option<usize>,
    /// Whether it is removed even if nobody answers.
    pub force: bool,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A worker looks at its key, and puts its info if it may.
    Report(usize),
    /// A worker does as it was told.
    Do(usize),
    /// A worker says that it is done.
    Done(usize),
    /// A worker hears that its source has left the task.
    Stop(usize),
    /// The coordinator folds the next revision, and decides.
    Fold,
    /// The coordinator commits one of the things that it wants.
    Commit(usize),
    /// A transaction that was under way arrives.
    Arrive(usize),
    /// An unlock waits no longer.
    Tick,
    /// Move: a source joins the task. Unless it was there before, it has the table as the slowest of the others has it.
    Join(usize),
    /// Move: a source joins the task with the table as the fastest of the others has it.
    JoinAhead(usize),
    /// Move: a source leaves the task.
    Leave(usize),
    /// The lock of the statement with this number is unlocked, in the way of this number.
    Unlock(usize, usize),
    /// Fault: a worker starts anew.
    Restart(usize),
    /// Fault: a transaction stays under way.
    Delay(usize),
    /// Fault: a transaction is committed, its reply is lost, it is under way once more.
    LoseReply(usize),
    /// Fault: another coordinator takes over, and loads.
    Replace,
    /// Fault: the watch has fallen behind what etcd keeps.
    LoseWatch,
}

impl Action {
    /// Whether it comes by itself, sooner or later.
    fn is_step(self) -> bool {
        matches!(
            self,
            Self::Report(_)
                | Self::Do(_)
                | Self::Done(_)
                | Self::Stop(_)
                | Self::Fold
                | Self::Commit(_)
                | Self::Arrive(_)
                | Self::Tick
        )
    }
}

impl World {
    fn info(&self, worker: usize, number: usize) -> Info {
        let (table, ddl) = self.plan[number];
        Info::new(TASK, source(worker), "d", table, vec![ddl.to_owned()])
    }

    fn lock_id(&self, number: usize) -> String {
        self.info(0, number).lock_id()
    }

    /// What comes by itself. The passing of time is first: [`ends`] takes the last one.
    fn steps(&self, state: &State, actions: &mut Vec<Action>) {
        if state.ticks_left > 0 && state.etcd.has_any(UNLOCKS) {
            actions.push(Action::Tick);
        }
        for number in 0..self.sources {
            actions.extend(self.step_of_worker(state, number));
        }
        if !state.coordinator.feed.is_empty() {
            actions.push(Action::Fold);
        }
        actions.extend(state.coordinator.free().map(Action::Commit));
        actions.extend(state.coordinator.under_way().map(Action::Arrive));
    }

    fn faults(&self, state: &State, actions: &mut Vec<Action>) {
        if state.faults_left == 0 {
            return;
        }
        for (number, worker) in state.workers.iter().enumerate() {
            if !matches!(worker.at, At::Running) {
                actions.push(Action::Restart(number));
            }
        }
        actions.extend(state.coordinator.free().map(Action::Delay));
        actions.extend(state.coordinator.free().map(Action::LoseReply));
        actions.extend([Action::Replace, Action::LoseWatch]);
    }

    fn moves(&self, state: &State, actions: &mut Vec<Action>) {
        if state.moves_left == 0 {
            return;
        }
        for number in 0..self.sources {
            let is_new = !state.workers[number].has_begun;
            match state.is_in_task(number) {
                true => actions.push(Action::Leave(number)),
                false => {
                    actions.push(Action::Join(number));
                    let (slowest, fastest) = state.progress();
                    if is_new && slowest < fastest {
                        actions.push(Action::JoinAhead(number));
                    }
                }
            }
        }
    }

    fn unlocks(&self, state: &State, actions: &mut Vec<Action>) {
        if state.unlocks_left == 0 {
            return;
        }
        for number in 0..self.plan.len() {
            let all = 0..self.orders.len();
            actions.extend(all.map(|order| Action::Unlock(number, order)));
        }
    }

    /// None when nothing comes of it.
    fn step(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Report(worker) => self.report(state, worker),
            Action::Do(worker) => self.obey(state, worker),
            Action::Done(worker) => self.done(state, worker),
            Action::Stop(worker) => state.workers[worker].at = At::Running,
            Action::Fold => {
                let batch = state.coordinator.feed.remove(0);
                state.coordinator.fold(&batch);
            }
            Action::Commit(number) => {
                let Wish { subject, write, .. } = state.coordinator.wanted.remove(number);
                self.commit(state, &write, &state.coordinator.sources.clone());
                state.land(subject, None);
            }
            Action::Arrive(number) => {
                let Sent { subject, late, .. } = state.coordinator.sent.remove(number);
                if let Some((write, sources)) = late {
                    self.commit(state, &write, &sources);
                }
                state.land(subject, None);
            }
            Action::Tick => {
                state.ticks_left = state.ticks_left.saturating_sub(1);
                state.coordinator.tick();
            }
            Action::Join(_) | Action::JoinAhead(_) | Action::Leave(_) => {
                state.moves_left = state.moves_left.saturating_sub(1);
                self.r#move(state, action);
            }
            Action::Unlock(number, order) => {
                let Order { owner, force } = self.orders[order];
                self.unlock(state, number, owner.map(source), force)?;
                state.unlocks_left -= 1;
            }
            fault => {
                state.faults_left -= 1;
                Self::fault(self, state, fault);
            }
        }
        Some(())
    }

    fn fault(&self, state: &mut State, fault: Action) {
        match fault {
            Action::Restart(worker) => state.workers[worker].at = At::Running,
            Action::Delay(number) => {
                let Wish { subject, write, .. } = state.coordinator.wanted.remove(number);
                let sources = state.coordinator.sources.clone();
                state.land(subject, Some((write, sources)));
            }
            Action::LoseReply(number) => {
                let Wish { subject, write, .. } = state.coordinator.wanted.remove(number);
                let sources = state.coordinator.sources.clone();
                self.commit(state, &write, &sources);
                state.land(subject, Some((write, sources)));
            }
            // What the old one had under way is void: its term is over.
            Action::Replace => state.coordinator.replace(&state.etcd),
            Action::LoseWatch => state.coordinator.lose_watch(&state.etcd),
            _ => {}
        }
    }

    fn r#move(&self, state: &mut State, action: Action) {
        let (slowest, fastest) = state.progress();
        let (who, is_in, passed) = match action {
            Action::Join(who) => (who, true, slowest),
            Action::JoinAhead(who) => (who, true, fastest),
            Action::Leave(who) => (who, false, 0),
            _ => return,
        };
        let worker = &mut state.workers[who];
        if is_in && !worker.has_begun {
            (worker.has_begun, worker.passed) = (true, passed);
        }
        if !is_in {
            worker.is_void = true;
            let number = worker.passed;
            if let Some(of_statement) = state.truth.get_mut(number) {
                of_statement.executed.remove(&who);
            }
        }
        state.write(&subtask(who, is_in));
    }

    /// What the leader's machine makes of a request to unlock.
    fn unlock(
        &self,
        state: &mut State,
        number: usize,
        replace_owner: Option<String>,
        force_remove: bool,
    ) -> Option<()> {
        let request = UnlockRequest {
            id: self.lock_id(number),
            replace_owner: replace_owner.map(SourceId::from),
            force_remove,
        };
        let task: TaskName = TASK.into();
        let machine = &state.coordinator.machine;
        let view = machine.locks(TASK, &[]);
        let view = view.into_iter().find(|lock| lock.id == request.id)?;
        let Ok(Plan::Commit(proposal, _)) = machine.plan_unlock(&task, &request) else {
            return None;
        };
        let owner = request.replace_owner.unwrap_or(view.owner);
        let of_lock = (0..self.plan.len()).filter(|number| {
            let info = self.info(0, *number);
            info.lock_id() == request.id && info.ddls() == view.ddls
        });
        for number in of_lock {
            let truth = &mut state.truth[number];
            truth
                .named
                .extend((0..self.sources).filter(|who| source(*who) == owner.as_str()));
            truth.is_forced |= force_remove;
        }
        state.write(&Write::from(&proposal)).then_some(())
    }

    /// Whether the sources of the task have passed everything, and nothing is left of it.
    fn is_finished(&self, state: &State) -> bool {
        let all = |who: usize| state.workers[who].passed == self.plan.len();
        let is_running = (0..self.sources).any(|who| state.is_in_task(who));
        is_running
            && (0..self.sources).all(|who| !state.is_in_task(who) || all(who))
            && !self.has_left_over(state)
            && !state.etcd.has_any(UNLOCKS)
            && state.coordinator.machine.locks("", &[]).is_empty()
    }

    /// Whether there is an info or an operation. What a source has left behind that has left the task waits for its return.
    fn has_left_over(&self, state: &State) -> bool {
        let is_of = |who: usize| {
            state.is_in_task(who)
                && (state.info_of(who).is_some() || state.operation(who).is_some())
        };
        match self.moves {
            0 => state.etcd.has_any(InfoKey::PREFIX) || state.etcd.has_any(OperationKey::PREFIX),
            _ => (0..self.sources).any(is_of),
        }
    }

    /// Where nothing comes by itself any more: whether that is as it should be.
    fn is_right_to_rest(&self, state: &State) -> bool {
        let present: Vec<usize> = (0..self.sources)
            .filter(|who| state.is_in_task(*who))
            .collect();
        let is_at = |who: usize| &state.workers[who];
        // A stopped task stands still. A request that waits for time to pass is followed elsewhere.
        if present.is_empty() || state.etcd.has_any(UNLOCKS) {
            return true;
        }
        if self.moves == 0 && self.unlocks == 0 {
            return self.is_finished(state);
        }
        let mut waiting = Vec::new();
        for who in &present {
            match is_at(*who).at {
                At::Running if is_at(*who).passed == self.plan.len() => {}
                At::Waiting => waiting.push(is_at(*who).passed),
                _ => return false,
            }
        }
        let has_answered = |who: usize, number: usize| state.has_evidence(self, who, number);
        waiting.is_empty() && self.is_finished(state)
            || !waiting.is_empty()
                && waiting
                    .iter()
                    .all(|number| !present.iter().all(|who| has_answered(*who, *number)))
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State::new(self);
        state.digest = digest(&state);
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        self.steps(state, actions);
        self.faults(state, actions);
        self.moves(state, actions);
        self.unlocks(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let state = self.after(last, action)?;
        self.graph.add(last.digest, state.digest, action);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "invariant 3: executed once, skipped after that, after all have reported",
                |_, state: &State| state.broken.is_none(),
            ),
            Property::always(
                "invariant 4: what all have reported is resolved, and nobody is held up by what is over",
                |world: &Self, state: &State| {
                    let mut steps = Vec::new();
                    world.steps(state, &mut steps);
                    let rests = steps.is_empty();
                    if rests && world.ends(state) {
                        world.graph.add_end(state.digest);
                    }
                    !rests || world.is_right_to_rest(state)
                },
            ),
            Property::sometimes("everything ends", |world: &Self, state: &State| {
                world.is_finished(state)
            }),
        ]
    }
}

impl World {
    fn after(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.step(&mut state, action)?;
        state.digest = 0;
        state.digest = digest(&state);
        Some(state)
    }

    /// Statements of the plan that an operation or info of this lock and these statements may be about.
    fn numbers_of<'a>(
        &'a self,
        id: &'a str,
        ddls: &'a [String],
    ) -> impl Iterator<Item = usize> + 'a {
        (0..self.plan.len()).filter(move |number| {
            let info = self.info(0, *number);
            info.lock_id() == id && info.ddls() == ddls
        })
    }

    /// Statements that an operation in etcd or a request to unlock is about. An order of a source that has left the task before
    /// it obeyed is about nothing any more.
    fn under_way(&self, state: &State) -> BTreeSet<usize> {
        let mut numbers = BTreeSet::new();
        for who in 0..self.sources {
            let operation = state.operation(who);
            if let Some(operation) = operation.filter(|o| o.done || state.is_in_task(who)) {
                numbers.extend(self.numbers_of(&operation.id, operation.ddls()));
            }
        }
        numbers.extend((0..self.plan.len()).filter(|number| {
            let key = unlock_key(&self.lock_id(*number));
            state.etcd.get(&key).is_some()
        }));
        numbers
    }
}
