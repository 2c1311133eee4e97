//! Cases of the scheduler's behaviour list that crashes and failovers bring about, by their numbers. Each is a script on
//! the simulated network: whole replicas, workers with leases of their own, and nothing but what the script does to them.
//! What each case asks for is also a test of the machine; here it is the processes that come to it.

mod requests;
mod workers;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use dm_keyspace::{BoundKey, KeepAliveKey, Role};
use dm_replica::{Handle, Plan, Status, WriteError};
use dm_testkit::memory::MemoryEtcd;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use scheduler_svc::Scheduler;
use tokio::sync::watch;

use super::{Serving, bounds, is_served_once, populate};
use crate::cluster::Cluster;

pub use requests::*;
pub use workers::*;

/// How long a script waits for what must happen: far longer than all leases and pauses taken together.
const LIMIT: Duration = Duration::from_secs(120);
/// Long enough for whatever would still happen to have happened.
const QUIET: Duration = Duration::from_secs(15);
/// How often a leader looks for requests.
const LOOK: Duration = Duration::from_millis(20);

type Request = Box<dyn FnOnce(Handle<Scheduler>) -> LocalBoxFuture<'static, ()>>;

/// Where requests lie until a leader takes them, and what replicas say of themselves.
#[derive(Clone, Default)]
struct Desk {
    requests: Rc<RefCell<VecDeque<Request>>>,
    replicas: Rc<RefCell<BTreeMap<String, watch::Receiver<Status>>>>,
}

impl Desk {
    /// Runs beside a replica, and ends with it.
    async fn serve(self, handle: Handle<Scheduler>) {
        let status = handle.status();
        let name = status.borrow().name.to_string();
        self.replicas.borrow_mut().insert(name, status.clone());
        loop {
            tokio::time::sleep(LOOK).await;
            if status.borrow().leads.is_none() {
                continue;
            }
            let next = self.requests.borrow_mut().pop_front();
            if let Some(request) = next {
                request(handle.clone()).await;
            }
        }
    }

    fn status(&self, replica: &str) -> Status {
        self.replicas.borrow()[replica].borrow().clone()
    }
}

/// A cluster that a script plays with.
struct Play {
    cluster: Cluster,
    serving: Serving,
    desk: Desk,
    /// Sources are taken from workers that live, which hear of it a little later.
    moves_living: bool,
}

impl Play {
    /// Workers and sources, as many of them bound and served as there can be.
    fn new(seed: u64, workers: usize, sources: usize) -> Self {
        let desk = Desk::default();
        let beside = desk.clone();
        let drive = move |handle| beside.clone().serve(handle);
        let (role, etcd) = (Role::Scheduler, Cluster::etcd());
        let mut cluster = Cluster::with_users(seed, role, Scheduler::default, etcd, drive);
        let serving = populate(&mut cluster, workers, sources);
        let mut play = Self {
            cluster,
            serving,
            desk,
            moves_living: false,
        };
        let served = Rc::clone(&play.serving);
        play.until("sources are served", move |etcd| {
            bounds(etcd).len() == workers.min(sources)
                && served.borrow().len() == workers.min(sources)
        });
        play
    }

    /// Lets time pass until it is so. No source is bound twice on the way, and none is served by two workers, unless it
    /// is taken from one that lives.
    fn until(&mut self, what: &str, condition: impl Fn(&MemoryEtcd) -> bool) {
        let (serving, moves_living) = (Rc::clone(&self.serving), self.moves_living);
        let looked = move |etcd: &MemoryEtcd, now: Duration| {
            bounds(etcd);
            if !moves_living {
                is_served_once(&serving, now);
            }
            condition(etcd)
        };
        self.cluster.until(LIMIT, what, looked);
    }

    /// Lets time pass until the worker is the one that is bound to s0.
    fn until_it_serves(&mut self, worker: &str) {
        self.until("it serves the source", |etcd| {
            worker_of(etcd, "s0").as_deref() == Some(worker)
        });
    }

    /// Lets so much time pass that nothing happens any more by itself.
    fn calm_down(&mut self) {
        let end = self.cluster.elapsed() + QUIET;
        let looked = move |etcd: &MemoryEtcd, now: Duration| {
            bounds(etcd);
            now >= end
        };
        self.cluster.until(LIMIT, "time passes", looked);
    }

    /// Makes a request of whoever leads, and waits for the answer.
    fn ask<T, E>(
        &mut self,
        plan: impl FnMut(&Scheduler) -> Result<Plan<T>, E> + Send + 'static,
    ) -> Result<T, String>
    where
        T: Send + 'static,
        E: Display + Send + 'static,
    {
        let answer = self.post(plan);
        let answered = Rc::clone(&answer);
        self.until("a request is answered", move |_| {
            answered.borrow().is_some()
        });
        let answer = answer.borrow_mut().take();
        answer.unwrap_or_else(|| Err("no answer".to_owned()))
    }

    /// Makes a request of whoever leads next, or already, once it knows what there is now.
    fn post<T, E>(
        &self,
        plan: impl FnMut(&Scheduler) -> Result<Plan<T>, E> + Send + 'static,
    ) -> Rc<RefCell<Option<Result<T, String>>>>
    where
        T: Send + 'static,
        E: Display + Send + 'static,
    {
        let answer = Rc::new(RefCell::new(None));
        let told = Rc::clone(&answer);
        let now = self.cluster.etcd.revision();
        let request = move |handle: Handle<Scheduler>| {
            async move {
                let knows = |status: &Status| status.applied.0 >= now;
                if handle.status().wait_for(knows).await.is_err() {
                    return;
                }
                let outcome = handle.write(plan).await.map_err(|error| match error {
                    WriteError::Rejected(error) => error.to_string(),
                    _ => "not written".to_owned(),
                });
                *told.borrow_mut() = Some(outcome);
            }
            .boxed_local()
        };
        self.desk.requests.borrow_mut().push_back(Box::new(request));
        answer
    }

    fn crash_all_replicas(&mut self) {
        for replica in self.cluster.replicas() {
            self.cluster.crash(&replica);
        }
    }

    fn bounce_all_replicas(&mut self) {
        for replica in self.cluster.replicas() {
            self.cluster.bounce(&replica);
        }
    }

    /// The replica that leads, once there is one.
    fn leader(&mut self) -> (String, i64) {
        self.until("somebody leads", |etcd| !etcd.dump(LEADERS).is_empty());
        self.cluster.leader().unwrap_or_default()
    }

    fn worker_of(&self, source: &str) -> String {
        worker_of(&self.cluster.etcd, source).unwrap_or_default()
    }

    /// The bound of a source as it lies in etcd: when it was put, and what it says.
    fn bound_of(&self, source: &str) -> (i64, Vec<u8>) {
        let key = BoundKey {
            worker: self.worker_of(source).as_str().into(),
        };
        let bound = self.cluster.etcd.dump(&key.encode());
        let bound = bound.first();
        bound.map_or_else(Default::default, |kv| (kv.mod_revision, kv.value.clone()))
    }

    fn has(&self, key: &str) -> bool {
        !self.cluster.etcd.dump(key).is_empty()
    }
}

const LEADERS: &str = "/dm-master/leader/scheduler/";

fn worker_of(etcd: &MemoryEtcd, source: &str) -> Option<String> {
    let bounds = bounds(etcd);
    let bound = bounds.iter().find(|bound| bound.source.as_str() == source);
    bound.map(|bound| bound.worker.to_string())
}

fn alive_key(worker: &str) -> String {
    KeepAliveKey {
        worker: worker.into(),
    }
    .encode()
}

fn is_alive(etcd: &MemoryEtcd, worker: &str) -> bool {
    !etcd.dump(&alive_key(worker)).is_empty()
}

/// The only one of the workers that is not this one.
fn other(worker: &str) -> String {
    match worker {
        "worker-0" => "worker-1",
        _ => "worker-0",
    }
    .to_owned()
}
