//! Infos, by the number of locks that wait meanwhile.

use bench::World;
use bench::names::Run;
use criterion::{BenchmarkId, Criterion, Throughput};
use dm_keyspace::TaskName;
use dm_keyspace::pessimism::{Info, Operation, OperationKey};
use dm_replica::Machine;
use pessimist_svc::machine::{Limits, Pessimist};

use crate::{Etcd, puts, turn};

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pessimist");
    // Two infos come and go.
    group.throughput(Throughput::Elements(4));
    for locks in [1, 100, 10_000] {
        let mut waiting = Waiting::new(locks);
        waiting.check();
        group.bench_function(BenchmarkId::new("info, locks waiting", locks), |bencher| {
            bencher.iter(|| waiting.round());
        });
        waiting.check();
    }
    group.finish();
}

struct Waiting {
    run: Run,
    etcd: Etcd,
    machine: Pessimist,
}

impl Waiting {
    /// Tasks of two sources, of which one has reported; and one task of which none has.
    fn new(locks: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let endpoints = vec!["127.0.0.1:1".to_owned()];
        // Nothing is sent: only the form of its records is needed.
        let world = runtime
            .block_on(World::new(Run::new("fold"), endpoints, None))
            .unwrap();
        let run = world.run().clone();
        let mut etcd = Etcd::new();
        for number in 0..=locks {
            let task = run.task("lock", number);
            for source in 0..2 {
                etcd.put(world.subtask(&run.source(source), &task));
            }
            if number > 0 {
                etcd.put(info(&run, &task, 0));
            }
        }
        let mut machine = Pessimist::new(Limits::default());
        machine.load(&etcd.snapshot());
        assert_eq!(puts(&machine.decide()).len(), 0, "all locks wait");
        Self { run, etcd, machine }
    }

    /// The first to report is told to execute.
    fn check(&mut self) {
        let owner = OperationKey {
            task: self.run.task("lock", 0),
            source: self.run.source(0),
        };
        // Beside the operation there is the record of the round.
        let mut told = self.round();
        told.retain(|(key, _)| key.starts_with(OperationKey::PREFIX));
        let [(key, value)] = &told[..] else {
            panic!("{told:?}")
        };
        let operation = Operation::from_bytes(value).unwrap();
        assert_eq!((key, operation.exec), (&owner.encode(), true));
    }

    /// What is to be put when both have reported; then all is as it was.
    fn round(&mut self) -> Vec<(String, Vec<u8>)> {
        let task = self.run.task("lock", 0);
        let infos = [0, 1].map(|source| info(&self.run, &task, source));
        let keys = infos.clone().map(|(key, _)| key);
        let mut told = Vec::new();
        for record in infos {
            let event = self.etcd.put(record);
            let decided = turn(&mut self.machine, event);
            let put = puts(&decided);
            told.extend(
                put.iter()
                    .map(|put| (put.key.clone(), put.value.bytes(None))),
            );
        }
        for key in keys {
            let event = self.etcd.delete(&key);
            turn(&mut self.machine, event);
        }
        told
    }
}

fn info(run: &Run, task: &TaskName, source: usize) -> (String, Vec<u8>) {
    let ddls = vec!["ALTER TABLE `bench`.`t` ADD COLUMN `c` BIGINT".to_owned()];
    let info = Info::new(task.clone(), run.source(source), "bench", "t", ddls);
    (info.key().encode(), info.to_bytes())
}
