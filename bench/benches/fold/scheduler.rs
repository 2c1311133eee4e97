//! Events of workers, and the start of a replica, by the number of sources, all of which are bound.

use std::time::Duration;

use bench::names::Run;
use bench::world::source_config;
use criterion::{BenchmarkId, Criterion, Throughput};
use dm_keyspace::{
    Bound, BoundKey, JoinTime, KeepAlive, KeepAliveKey, SourceId, Stage, StageRecord, SubtaskKey,
    SubtaskStageKey, TaskName, WorkerInfo, WorkerInfoKey, WorkerName,
};
use dm_replica::Decision;
use dm_store::Snapshot;
use dm_task::SubtaskConfig;
use scheduler_svc::Scheduler;

use crate::{Etcd, puts, turn};

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scheduler");
    for sources in [100, 1_000, 10_000] {
        let mut placed = Placed::new(sources);
        placed.check();
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("sign of life", sources), |bencher| {
            bencher.iter(|| placed.sign_of_life());
        });
        // A worker goes and comes back.
        group.throughput(Throughput::Elements(2));
        group.bench_function(BenchmarkId::new("worker lost", sources), |bencher| {
            bencher.iter(|| placed.lose_worker());
        });
        placed.check();
        // In the other one workers have come back since.
        let snapshot = Placed::new(sources).with_subtasks();
        check_start(&snapshot, sources);
        // Every configuration is decoded.
        group.throughput(Throughput::Elements(sources as u64));
        group.sample_size(10);
        group.bench_function(BenchmarkId::new("cold start", sources), |bencher| {
            bencher.iter_with_large_drop(|| start(&snapshot));
        });
        group.sample_size(50);
    }
    group.finish();
}

/// A new replica, and what it decides on first.
fn start(snapshot: &Snapshot) -> (Scheduler, Vec<Decision>) {
    let mut machine = Scheduler::default();
    dm_replica::Machine::load(&mut machine, snapshot);
    let decisions = dm_replica::Machine::decide(&mut machine);
    (machine, decisions)
}

/// All records are read and refer to each other, and nothing is to be done.
fn check_start(snapshot: &Snapshot, sources: usize) {
    let (machine, decisions) = start(snapshot);
    assert_eq!(machine.subtasks().count(), sources);
    assert_eq!(
        (machine.faults().count(), machine.orphans().count()),
        (0, 0)
    );
    assert_eq!(puts(&decisions).len(), 0);
}

struct Placed {
    run: Run,
    etcd: Etcd,
    machine: Scheduler,
    sources: usize,
    turn: usize,
}

impl Placed {
    /// One worker more than there are sources.
    fn new(sources: usize) -> Self {
        let run = Run::new("fold");
        let mut etcd = Etcd::new();
        for number in 0..=sources {
            let worker = run.worker(number);
            let info = WorkerInfo::new(worker.clone(), "127.0.0.1:9");
            let key = WorkerInfoKey {
                worker: worker.clone(),
            };
            etcd.put((key.encode(), info.to_bytes()));
            etcd.put(sign_of_life(&worker, 0));
        }
        for number in 0..sources {
            let (source, worker) = (run.source(number), run.worker(number));
            etcd.put(source_config(&source).unwrap());
            let bound = Bound::new(source, worker.clone());
            etcd.put((BoundKey { worker }.encode(), bound.to_bytes()));
        }
        let mut machine = Scheduler::default();
        dm_replica::Machine::load(&mut machine, &etcd.snapshot());
        let decisions = dm_replica::Machine::decide(&mut machine);
        assert_eq!(puts(&decisions).len(), 0, "everything is bound already");
        Self {
            run,
            etcd,
            machine,
            sources,
            turn: 0,
        }
    }

    /// The source of a worker that goes is given to the one that is free, and to no other.
    fn check(&mut self) {
        let free = self.run.worker(self.sources);
        let expected = BoundKey { worker: free }.encode();
        let put = self.lose_worker();
        assert!(put.contains(&expected), "{put:?}");
    }

    /// All that is there, and a task of which every source has a part.
    fn with_subtasks(mut self) -> Snapshot {
        let task = self.run.task("t", 0);
        for number in 0..self.sources {
            let source = self.run.source(number);
            self.etcd.put(subtask(&source, &task));
            let stage = StageRecord::subtask(Stage::Running, source.clone(), task.clone());
            let task = task.clone();
            let key = SubtaskStageKey { source, task };
            self.etcd.put((key.encode(), stage.to_bytes()));
        }
        self.etcd.snapshot()
    }

    fn next_worker(&mut self) -> WorkerName {
        self.turn += 1;
        self.run.worker(self.turn * 7 % self.sources)
    }

    fn sign_of_life(&mut self) -> usize {
        let worker = self.next_worker();
        let event = self.etcd.put(sign_of_life(&worker, self.turn as u64));
        puts(&turn(&mut self.machine, event)).len()
    }

    /// The keys that are to be put while the worker is away.
    fn lose_worker(&mut self) -> Vec<String> {
        let worker = self.next_worker();
        let (key, value) = sign_of_life(&worker, self.turn as u64);
        let gone = self.etcd.delete(&key);
        let decided = turn(&mut self.machine, gone);
        let back = self.etcd.put((key, value));
        turn(&mut self.machine, back);
        puts(&decided).iter().map(|put| put.key.clone()).collect()
    }
}

fn sign_of_life(worker: &WorkerName, since: u64) -> (String, Vec<u8>) {
    let since = JoinTime::since_epoch(Duration::from_secs(since));
    let alive = KeepAlive::new(worker.clone(), since);
    let worker = worker.clone();
    (KeepAliveKey { worker }.encode(), alive.to_bytes())
}

/// A subtask with every key that DM writes.
fn subtask(source: &SourceId, task: &TaskName) -> (String, Vec<u8>) {
    let least = format!(
        "name = \"{task}\"\nsource-id = \"{source}\"\nmode = \"all\"\n\
         [to]\nhost = \"127.0.0.1\"\nport = 9\nuser = \"bench\"\npassword = \"\"\n"
    );
    let text = SubtaskConfig::from_toml(&least).unwrap().to_toml().unwrap();
    let (source, task) = (source.clone(), task.clone());
    (SubtaskKey { source, task }.encode(), text.into_bytes())
}
