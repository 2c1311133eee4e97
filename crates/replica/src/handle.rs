//! How the rest of a service talks to its replica: reads, writes, waits, inputs.

use std::convert::Infallible;
use std::time::Duration;

use dm_store::Revision;
use tokio::sync::{mpsc, oneshot, watch};

use crate::machine::{Machine, Proposal};
use crate::status::Status;

/// Requests that may wait for the loop at a time.
pub(crate) const QUEUE: usize = 1_024;

/// Why the replica does not serve a request now; another one, or this one later, will.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another replica leads, or none does.
    #[error("this replica does not lead")]
    NotLeader,
    /// The state has not been loaded yet.
    #[error("this replica has not loaded its state yet")]
    NotLoaded,
    /// The replica is stopping.
    #[error("this replica is stopping")]
    Stopping,
}

/// Why a write is not confirmed. In every case but [`WriteError::Unknown`] nothing of it is in etcd.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The request's own validation says no.
    #[error("the request is not acceptable")]
    Rejected(E),
    /// Not here, not now.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// etcd does not take the transaction as it is.
    #[error("etcd does not take the write: {0}")]
    Unacceptable(String),
    /// Others kept changing what the request is about.
    #[error("the state kept changing under the request")]
    Contended,
    /// It was sent, and nobody can find out any more whether it took effect.
    #[error(
        "the outcome of the write is not known: it may have taken effect, look before trying again"
    )]
    Unknown,
}

/// What a validated request does.
#[derive(Debug)]
pub enum Plan<T> {
    /// Nothing: this is the answer.
    Done(T),
    /// This write, and the answer once it is seen in the feed.
    Commit(Proposal, T),
}

pub(crate) type ReadJob<M> = Box<dyn FnOnce(Result<(&M, Revision), Refused>) + Send>;
pub(crate) type Waiter<M> = Box<dyn FnMut(&M) -> bool + Send>;

/// How a write stands after the loop has looked at it.
pub(crate) enum Verdict {
    /// The answer is settled and was taken by the job itself.
    Settled,
    /// Commit this; then tell the job.
    Commit(Proposal),
}

/// A write that the loop carries: asked for its plan, told of the end.
pub(crate) trait WriteJob<M>: Send {
    /// Validates against the state.
    fn plan(&mut self, machine: &M) -> Verdict;
    /// The proposal is in etcd and in the fold.
    fn committed(&mut self, revision: Revision);
    /// It is not, and never will be; or nobody knows, if the failure says so.
    fn failed(&mut self, failure: WriteError<Infallible>);
    /// The trace that asked for it.
    fn traceparent(&self) -> Option<String>;
}

pub(crate) enum Command<M: Machine> {
    Read { leader_only: bool, job: ReadJob<M> },
    Write(Box<dyn WriteJob<M>>),
    Wait(Waiter<M>),
    Input(M::Input),
    Resign,
}

/// A cheap, clonable way to a replica.
pub struct Handle<M: Machine> {
    commands: mpsc::Sender<Command<M>>,
    status: watch::Receiver<Status>,
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            status: self.status.clone(),
        }
    }
}

impl<M: Machine> std::fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl<M: Machine> Handle<M> {
    pub(crate) fn new(commands: mpsc::Sender<Command<M>>, status: watch::Receiver<Status>) -> Self {
        Self { commands, status }
    }

    /// Reads the folded state, on the leader only: what it shows is never older than what this leader has answered.
    ///
    /// # Errors
    /// When this replica does not lead.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&M, Revision) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        self.ask(true, read).await
    }

    /// Reads the folded state of this replica, whoever leads; it may lag.
    ///
    /// # Errors
    /// Before the first snapshot, and while stopping.
    pub async fn read_stale<T: Send + 'static>(
        &self,
        read: impl FnOnce(&M, Revision) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        self.ask(false, read).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        leader_only: bool,
        read: impl FnOnce(&M, Revision) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        let job: ReadJob<M> = Box::new(move |state| {
            // A caller that has left needs no answer.
            let _ = reply.send(state.map(|(machine, at)| read(machine, at)));
        });
        self.send(Command::Read { leader_only, job }).await?;
        answer.await.map_err(|_| Refused::Stopping)?
    }

    /// Validates a request on the state, commits what it plans, and answers when the feed has brought the commit back.
    ///
    /// `plan` is asked again when the state has changed in between. A caller that goes away does not
    /// take back what was sent to etcd.
    ///
    /// # Errors
    /// See [`WriteError`]; nothing was written then, unless it is [`WriteError::Unknown`].
    pub async fn write<T, E, F>(&self, plan: F) -> Result<T, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnMut(&M) -> Result<Plan<T>, E> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let traceparent = dm_trace::current_traceparent();
        let job = PlannedWrite {
            plan,
            reply: Some(reply),
            outcome: None,
            traceparent,
        };
        self.send(Command::Write(Box::new(job))).await?;
        answer
            .await
            .unwrap_or(Err(WriteError::Refused(Refused::Stopping)))
    }

    /// Waits until `look` finds in the state what it looks for; none when the limit passes first.
    ///
    /// # Errors
    /// While stopping.
    pub async fn wait_until<T: Send + 'static>(
        &self,
        limit: Duration,
        mut look: impl FnMut(&M) -> Option<T> + Send + 'static,
    ) -> Result<Option<T>, Refused> {
        let (reply, found) = oneshot::channel();
        let mut reply = Some(reply);
        let waiter: Waiter<M> = Box::new(move |machine| match (look(machine), &reply) {
            (Some(answer), Some(_)) => {
                if let Some(reply) = reply.take() {
                    let _ = reply.send(answer);
                }
                true
            }
            (_, Some(reply)) => reply.is_closed(),
            (_, None) => true,
        });
        self.send(Command::Wait(waiter)).await?;
        match tokio::time::timeout(limit, found).await {
            Ok(Ok(answer)) => Ok(Some(answer)),
            Ok(Err(_)) => Err(Refused::Stopping),
            Err(_) => Ok(None),
        }
    }

    /// Hands the machine the result of slow work.
    ///
    /// # Errors
    /// While stopping.
    pub async fn post(&self, input: M::Input) -> Result<(), Refused> {
        self.send(Command::Input(input)).await
    }

    /// Gives up the lead, if held, and goes to the end of the line.
    ///
    /// # Errors
    /// While stopping.
    pub async fn resign(&self) -> Result<(), Refused> {
        self.send(Command::Resign).await
    }

    /// The replica's view of itself, as it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    async fn send(&self, command: Command<M>) -> Result<(), Refused> {
        self.commands
            .send(command)
            .await
            .map_err(|_| Refused::Stopping)
    }
}

/// A [`Handle::write`] on its way.
struct PlannedWrite<T, E, F> {
    plan: F,
    reply: Option<oneshot::Sender<Result<T, WriteError<E>>>>,
    outcome: Option<T>,
    traceparent: Option<String>,
}

impl<T, E, F> PlannedWrite<T, E, F> {
    fn answer(&mut self, answer: Result<T, WriteError<E>>) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(answer);
        }
    }
}

/// A loop that ends without a word (a panic) may have sent what it took.
impl<T, E, F> Drop for PlannedWrite<T, E, F> {
    fn drop(&mut self) {
        if self.outcome.is_some() {
            self.answer(Err(WriteError::Unknown));
        }
    }
}

impl<M, T, E, F> WriteJob<M> for PlannedWrite<T, E, F>
where
    T: Send,
    E: Send,
    F: FnMut(&M) -> Result<Plan<T>, E> + Send,
{
    fn plan(&mut self, machine: &M) -> Verdict {
        if self.reply.as_ref().is_none_or(oneshot::Sender::is_closed) {
            return Verdict::Settled;
        }
        match (self.plan)(machine) {
            Ok(Plan::Commit(proposal, outcome)) if !proposal.is_empty() => {
                self.outcome = Some(outcome);
                Verdict::Commit(proposal)
            }
            Ok(Plan::Done(outcome) | Plan::Commit(_, outcome)) => {
                self.answer(Ok(outcome));
                Verdict::Settled
            }
            Err(e) => {
                self.answer(Err(WriteError::Rejected(e)));
                Verdict::Settled
            }
        }
    }

    fn committed(&mut self, _: Revision) {
        if let Some(outcome) = self.outcome.take() {
            self.answer(Ok(outcome));
        }
    }

    fn failed(&mut self, failure: WriteError<Infallible>) {
        self.answer(Err(match failure {
            WriteError::Rejected(never) => match never {},
            WriteError::Refused(refused) => WriteError::Refused(refused),
            WriteError::Unacceptable(why) => WriteError::Unacceptable(why),
            WriteError::Contended => WriteError::Contended,
            WriteError::Unknown => WriteError::Unknown,
        }));
    }

    fn traceparent(&self) -> Option<String> {
        self.traceparent.clone()
    }
}
