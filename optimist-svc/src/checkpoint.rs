//! Reads the schemas that infos wait for from the checkpoints of their tasks, and puts them into the loop.
//!
//! Each task is read by itself, one lock after the other on one connection, so that a downstream which does not answer
//! holds up nothing but its own task. What fails is tried again after a pause that grows; how long an info waits for it is
//! the machine's decision. Standbys read as well: what they know, they need not ask for when they take over.

mod downstream;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dm_keyspace::{SubtaskKey, TaskName};
use dm_replica::{Handle, Refused};
use dm_store::Store;
use dm_task::secret::SecretKey;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::machine::{Attempt, Found, Optimist, TableId, Wanted};
use downstream::{Connection, Downstream};

/// Tables that one query asks for.
const TABLES_PER_QUERY: usize = 1_000;
/// Tasks that are read at a time for the first time; others that were not read before are read beside them, so many at a
/// time, too: downstreams that never answer hold up only each other.
const TASKS_AT_A_TIME: usize = 64;
/// Pause after the first failure; doubled with each that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The pause grows no longer than this.
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// Why the schemas of a task could not be read. Never holds a password.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("etcd does not tell where the downstream is")]
    Store(#[from] dm_store::Error),
    #[error("the record of the subtask on source {0} cannot be read: {1}")]
    Subtask(String, dm_errors::DmError),
    #[error("{0}")]
    Database(#[from] mysql_async::Error),
    #[error("no answer from {0} within {1:?}")]
    Timeout(String, Duration),
    #[error("the replica stops")]
    Stopping(#[from] Refused),
}

/// What reads.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) handle: Handle<Optimist>,
    pub(crate) store: Store,
    /// Decrypts passwords that are encrypted.
    pub(crate) key: Option<SecretKey>,
    /// How long one step of a conversation with a downstream may take.
    pub(crate) timeout: Duration,
}

impl Reader {
    /// Reads what is wanted, until the replica stops.
    pub(crate) async fn run(self) {
        let mut status = self.handle.status();
        let mut plan = Plan::default();
        let mut reads = JoinSet::new();
        loop {
            status.mark_unchanged();
            match self.handle.read_stale(|m, _| m.wanting()).await {
                Ok(wanting) => {
                    for task in plan.begin(&wanting, Instant::now()) {
                        let reader = self.clone();
                        reads.spawn(async move {
                            let is_read = reader.read(&task).await;
                            (task, is_read)
                        });
                    }
                }
                Err(Refused::Stopping) => return,
                // Nothing is loaded, and so nothing is wanted.
                Err(_) => {}
            }
            let due = plan.next().map(tokio::time::sleep_until);
            tokio::select! {
                Some(ended) = reads.join_next() => {
                    // A reader that panicked is a fault that its log line names; its task is tried again.
                    if let Ok((task, is_read)) = ended {
                        plan.end(&task, is_read, Instant::now());
                    }
                }
                changed = status.changed() => if changed.is_err() { return },
                () = due_or_never(due) => {}
            }
        }
    }

    /// All that the task wants. Whether it was read.
    async fn read(&self, task: &TaskName) -> bool {
        let Err(error) = self.try_read(task).await else {
            return true;
        };
        let reason = described(&error);
        tracing::warn!(task = %task, reason, "schemas in the checkpoint are not read");
        let failed = Attempt::Failed {
            task: task.clone(),
            reason,
        };
        // A loop that takes nothing any more is ending.
        let _ = self.handle.post(failed).await;
        false
    }

    async fn try_read(&self, task: &TaskName) -> Result<(), Error> {
        let mut connection: Option<Connection> = None;
        while let Some(wanted) = self.next(task).await? {
            let schemas = match self.downstream(&wanted).await? {
                Some(downstream) => {
                    let connection = match &mut connection {
                        Some(connection) => connection,
                        none => none.insert(downstream.connect(self.timeout).await?),
                    };
                    connection.schemas(&downstream, &wanted.tables).await?
                }
                None => {
                    let error = no_downstream(task);
                    tracing::warn!(%error, lock = wanted.lock, "tables count as the first that reported");
                    wanted
                        .tables
                        .into_iter()
                        .map(|table| (table, None))
                        .collect()
                }
            };
            let found = Found {
                task: wanted.task,
                lock: wanted.lock,
                schemas,
            };
            self.handle.post(found.into()).await?;
        }
        if let Some(connection) = connection {
            connection.close().await;
        }
        Ok(())
    }

    async fn next(&self, task: &TaskName) -> Result<Option<Wanted>, Refused> {
        let task = task.clone();
        let look = move |m: &Optimist, _| m.next_wanted(&task, TABLES_PER_QUERY);
        self.handle.read_stale(look).await
    }

    /// Where the task's checkpoint is, according to any subtask of those sources.
    async fn downstream(&self, wanted: &Wanted) -> Result<Option<Downstream>, Error> {
        let sources: BTreeSet<_> = wanted.tables.iter().map(|table| &table.source).collect();
        for source in sources {
            let key = SubtaskKey {
                source: source.clone(),
                task: wanted.task.clone(),
            };
            if let Some(record) = self.store.get(key.encode()).await? {
                let text = String::from_utf8_lossy(&record.value);
                let downstream = Downstream::of(&text, &wanted.task, self.key.as_ref())
                    .map_err(|error| Error::Subtask(source.to_string(), error))?;
                return Ok(Some(downstream));
            }
        }
        Ok(None)
    }
}

async fn due_or_never(due: Option<tokio::time::Sleep>) {
    match due {
        Some(due) => due.await,
        None => std::future::pending().await,
    }
}

/// Schemas by table; none where the checkpoint has none.
type Schemas = BTreeMap<TableId, Option<String>>;

/// The error and what caused it.
fn described(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    // Errors of the driver say what their cause says.
    while let Some(next) = cause.filter(|_| !matches!(error, Error::Database(_))) {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

fn no_downstream(task: &TaskName) -> dm_errors::DmError {
    let code = dm_errors::Code::MASTER_OPTIMISTIC_DOWNSTREAM_META_NOT_FOUND;
    dm_errors::DmError::new(code, &[task])
}

/// Which tasks are read, and which have to wait for another attempt.
#[derive(Debug, Default)]
struct Plan {
    running: BTreeSet<TaskName>,
    waiting: BTreeMap<TaskName, Pause>,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    length: Duration,
}

impl Plan {
    /// The tasks to begin with now.
    fn begin(&mut self, wanting: &BTreeSet<TaskName>, now: Instant) -> Vec<TaskName> {
        self.waiting.retain(|task, _| wanting.contains(task));
        let (mut retried, mut fresh) = (0, 0);
        for task in &self.running {
            match self.waiting.contains_key(task) {
                true => retried += 1,
                false => fresh += 1,
            }
        }
        let mut due = Vec::new();
        for task in wanting {
            let pause = self.waiting.get(task);
            let is_early = pause.is_some_and(|pause| pause.until > now);
            if is_early || self.running.contains(task) {
                continue;
            }
            let running = match pause {
                Some(_) => &mut retried,
                None => &mut fresh,
            };
            if *running < TASKS_AT_A_TIME {
                *running += 1;
                self.running.insert(task.clone());
                due.push(task.clone());
            }
        }
        due
    }

    fn end(&mut self, task: &TaskName, is_read: bool, now: Instant) {
        self.running.remove(task);
        let Some(before) = (!is_read).then(|| self.waiting.get(task)) else {
            self.waiting.remove(task);
            return;
        };
        let length = before.map_or(FIRST_PAUSE, |pause| (pause.length * 2).min(LAST_PAUSE));
        let until = now + length;
        self.waiting.insert(task.clone(), Pause { until, length });
    }

    /// When the next attempt is due, if any is.
    fn next(&self) -> Option<Instant> {
        let paused = self
            .waiting
            .iter()
            .filter(|(task, _)| !self.running.contains(*task));
        paused.map(|(_, pause)| pause.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failed_tasks_are_tried_again_after_pauses_that_grow_and_others_do_not_wait() {
        let (a, b): (TaskName, TaskName) = ("a".into(), "b".into());
        let wanting = BTreeSet::from([a.clone(), b.clone()]);
        let mut plan = Plan::default();
        let start = Instant::now();
        assert_eq!(plan.begin(&wanting, start), [a.clone(), b.clone()]);
        assert!(plan.begin(&wanting, start).is_empty());
        plan.end(&a, false, start);
        plan.end(&b, true, start);
        assert_eq!(plan.begin(&wanting, start), [b]);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let due = plan.next().unwrap_or(start);
            assert_eq!(plan.begin(&wanting, due), std::slice::from_ref(&a));
            assert_eq!(plan.next(), None);
            plan.end(&a, false, due);
            pauses.push(plan.next().map(|next| (next - due).as_millis()));
        }
        assert_eq!(pauses[0..3], [Some(500), Some(1_000), Some(2_000)]);
        assert_eq!(pauses[7], Some(10_000));
        assert!(plan.begin(&BTreeSet::new(), start).is_empty());
        assert_eq!(plan.next(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn downstreams_that_never_answer_do_not_hold_up_one_that_does() {
        let names = (0..2 * TASKS_AT_A_TIME).map(|number| format!("hangs{number}").into());
        let hanging: Vec<TaskName> = names.collect();
        let mut wanting: BTreeSet<TaskName> = hanging.iter().cloned().collect();
        let mut plan = Plan::default();
        let start = Instant::now();
        // Each is tried, and hangs until its time is up.
        for _ in 0..2 {
            for task in plan.begin(&wanting, start) {
                plan.end(&task, false, start);
            }
        }
        let again = start + LAST_PAUSE;
        assert_eq!(plan.begin(&wanting, again).len(), TASKS_AT_A_TIME);
        let answers: TaskName = "answers".into();
        wanting.insert(answers.clone());
        assert_eq!(plan.begin(&wanting, again), [answers]);
    }
}
