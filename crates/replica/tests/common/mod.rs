#![expect(unreachable_pub, reason = "shared by the test binaries of this folder")]
//! A machine small enough to see through, and replicas of it on one etcd.

use std::collections::BTreeMap;
use std::time::Duration;

use dm_keyspace::{Member, Role};
use dm_replica::{Decision, Handle, Machine, Proposal, Replica, Settings, Status};
use dm_store::{Batch, Event, Guard, KeyValue, Options, Revision, Snapshot, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Keys that ask.
pub const ASK: &str = "/dm-test/ask/";
/// Keys that answer.
pub const ANSWER: &str = "/dm-test/answer/";
/// How long a test waits for what must happen.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Answers every `ask/x` with an `answer/x` of the same value, once per asking.
#[derive(Debug, Default)]
pub struct Echo {
    pub asked: BTreeMap<String, (Revision, Vec<u8>)>,
    pub answered: BTreeMap<String, (Revision, Vec<u8>)>,
    dirty: std::collections::BTreeSet<String>,
    /// Holds every fold for as long as a test has it locked.
    pub stuck: std::sync::Arc<std::sync::Mutex<()>>,
}

impl Echo {
    fn put(&mut self, kv: &KeyValue) {
        let key = String::from_utf8_lossy(&kv.key).into_owned();
        let record = (kv.mod_revision, kv.value.to_vec());
        if let Some(name) = key.strip_prefix(ASK) {
            self.asked.insert(name.to_owned(), record);
            self.dirty.insert(name.to_owned());
        } else if let Some(name) = key.strip_prefix(ANSWER) {
            self.answered.insert(name.to_owned(), record);
            self.dirty.insert(name.to_owned());
        }
    }

    fn answer_to(&self, name: &str) -> Option<Proposal> {
        let (asked_at, value) = self.asked.get(name)?;
        let answered_at = self.answered.get(name).map(|(at, _)| *at);
        if answered_at.is_some_and(|at| at > *asked_at) {
            return None;
        }
        let key = format!("{ANSWER}{name}");
        let proposal = Proposal::new("answer")
            .guard(Guard::unchanged(key.clone(), answered_at))
            .guard(Guard::ModRevision(format!("{ASK}{name}").into(), *asked_at));
        Some(proposal.put(key, value.clone()))
    }
}

impl Machine for Echo {
    type Input = ();

    fn load(&mut self, snapshot: &Snapshot) {
        *self = Self {
            stuck: self.stuck.clone(),
            ..Self::default()
        };
        snapshot.entries.iter().for_each(|kv| self.put(kv));
    }

    fn apply(&mut self, batch: &Batch) {
        drop(self.stuck.lock());
        for event in &batch.events {
            match event {
                Event::Put(kv) => self.put(kv),
                Event::Delete { key, .. } => {
                    let key = String::from_utf8_lossy(key).into_owned();
                    self.asked.remove(key.strip_prefix(ASK).unwrap_or_default());
                    self.answered
                        .remove(key.strip_prefix(ANSWER).unwrap_or_default());
                }
            }
        }
    }

    fn input(&mut self, (): ()) {}

    fn decide(&mut self) -> Vec<Decision> {
        let dirty = std::mem::take(&mut self.dirty);
        let decision = |name: String| Decision {
            proposals: self.answer_to(&name).into_iter().collect(),
            subject: name.into(),
        };
        dirty.into_iter().map(decision).collect()
    }
}

/// A replica that runs in a task of its own.
pub struct Running {
    pub handle: Handle<Echo>,
    pub status: watch::Receiver<Status>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// `endpoint` may be several, separated by commas.
    pub async fn start(endpoint: &str, name: &str, addr: &str) -> Self {
        Self::start_auditing(endpoint, name, addr, Duration::from_secs(300)).await
    }

    pub async fn start_auditing(
        endpoint: &str,
        name: &str,
        addr: &str,
        audit_interval: Duration,
    ) -> Self {
        let with = |settings| Settings {
            audit_interval,
            ..settings
        };
        Self::start_with(endpoint, name, addr, with).await
    }

    pub async fn start_with(
        endpoint: &str,
        name: &str,
        addr: &str,
        with: impl FnOnce(Settings) -> Settings,
    ) -> Self {
        Self::start_machine(endpoint, name, addr, with, Echo::default()).await
    }

    pub async fn start_machine(
        endpoint: &str,
        name: &str,
        addr: &str,
        with: impl FnOnce(Settings) -> Settings,
        machine: Echo,
    ) -> Self {
        let endpoints = endpoint.split(',').map(str::to_owned).collect();
        let options = Options {
            endpoints,
            call_timeout: Duration::from_secs(2),
            ..Options::default()
        };
        let store = Store::connect(&options).await.unwrap();
        let member = Member::new(name, addr, "test");
        let settings = with(Settings {
            lease_ttl: Duration::from_secs(5),
            ..Settings::new(Role::Pessimist, member)
        });
        let replica = Replica::new(settings, store, machine);
        let handle = replica.handle();
        let stop = CancellationToken::new();
        let task = tokio::spawn(replica.run(stop.clone()));
        Self {
            status: handle.status(),
            handle,
            stop,
            task,
        }
    }

    pub async fn until(&mut self, what: &str, condition: impl FnMut(&Status) -> bool) -> Status {
        let found = tokio::time::timeout(LIMIT, self.status.wait_for(condition)).await;
        found
            .unwrap_or_else(|_| panic!("waited in vain until {what}"))
            .expect("the replica has ended")
            .clone()
    }

    pub async fn leads(&mut self) -> Status {
        self.until("it leads", |s| s.leads.is_some()).await
    }

    pub async fn follows(&mut self, leader: &str) -> Status {
        self.until("it follows", |s| {
            s.leads.is_none() && s.leader.as_ref().is_some_and(|l| l.id.as_str() == leader)
        })
        .await
    }

    /// Stops as on SIGTERM, which may come twice.
    pub async fn stop(self) {
        self.stop.cancel();
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Ends as on SIGKILL: nothing is revoked, nothing renewed.
    pub fn kill(self) {
        self.task.abort();
    }
}

/// A handle's way to wait for an answer in the fold.
pub async fn answered(handle: &Handle<Echo>, name: &str) -> Vec<u8> {
    let name = name.to_owned();
    let look = move |m: &Echo| {
        let asked = m.asked.get(&name)?;
        m.answered
            .get(&name)
            .filter(|answer| answer.0 > asked.0)
            .map(|(_, v)| v.clone())
    };
    handle
        .wait_until(LIMIT, look)
        .await
        .unwrap()
        .expect("no answer in time")
}
