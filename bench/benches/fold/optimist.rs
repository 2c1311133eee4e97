//! Infos of a change that fits, by the number of tables in the lock.

use bench::names::Run;
use bench::shards::Shards;
use criterion::{BenchmarkId, Criterion, Throughput};
use dm_keyspace::optimism::{ConflictStage, Operation};
use dm_replica::Machine;
use optimist_svc::Optimist;

use crate::{Etcd, puts, turn};

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("optimist");
    // An info, and its answer when that is written.
    group.throughput(Throughput::Elements(2));
    // A fold of 100,000 tables takes too long to be set up here; `bench optimist` has it.
    for tables in [10, 1_000, 10_000] {
        let mut lock = Lock::new(tables);
        lock.check();
        group.bench_function(
            BenchmarkId::new("info, tables in its lock", tables),
            |bencher| {
                bencher.iter(|| lock.report());
            },
        );
        lock.check();
    }
    group.finish();
}

struct Lock {
    shards: Shards,
    etcd: Etcd,
    machine: Optimist,
    turn: usize,
}

impl Lock {
    /// All tables have the first column; one has not said that it is done, which keeps the lock.
    fn new(tables: usize) -> Self {
        let shards = Shards::new(&Run::new("fold"), 0, tables).unwrap();
        let mut etcd = Etcd::new();
        for record in shards.source_tables() {
            etcd.put(record);
        }
        for table in 0..tables {
            let info = shards.info(table, 0);
            etcd.put((info.key().encode(), info.to_bytes()));
            let answer = Operation {
                id: info.lock_id(),
                task: info.task.clone(),
                source: info.source.clone(),
                up_schema: info.up_schema.clone(),
                up_table: info.up_table.clone(),
                ddls: info.ddls.clone(),
                conflict_stage: ConflictStage::None,
                done: table > 0,
                cols: Some(Vec::new()),
                ..Operation::default()
            };
            etcd.put((answer.key().encode(), answer.to_bytes()));
        }
        let mut machine = Optimist::default();
        machine.load(&etcd.snapshot());
        assert_eq!(puts(&machine.decide()).len(), 0, "all are answered");
        Self {
            shards,
            etcd,
            machine,
            turn: 0,
        }
    }

    /// The statement may be executed as it is.
    fn check(&mut self) {
        let told = self.report();
        let [told] = &told[..] else {
            panic!("{told:?}")
        };
        let operation = Operation::from_bytes(told).unwrap();
        assert_eq!(operation.conflict_stage, ConflictStage::None);
        assert_eq!(operation.ddls, self.shards.info(1, 1).ddls);
    }

    /// The next table adds the second column, and what it is told is written; the answers.
    fn report(&mut self) -> Vec<Vec<u8>> {
        self.turn += 1;
        let table = 1 + self.turn % (self.shards.tables() - 1);
        let info = self.shards.info(table, 1);
        let event = self.etcd.put((info.key().encode(), info.to_bytes()));
        let decided = turn(&mut self.machine, event);
        let told: Vec<_> = puts(&decided)
            .iter()
            .map(|put| (put.key.clone(), put.value.bytes(None)))
            .collect();
        for answer in &told {
            let event = self.etcd.put(answer.clone());
            turn(&mut self.machine, event);
        }
        told.into_iter().map(|(_, value)| value).collect()
    }
}
