//! A world with shorter words: each action answers what the coordinator has put because of it.

use dm_keyspace::pessimism::{Info, Operation, lock_id};
use dm_keyspace::{SourceId, TaskName};
use pessimist_svc::machine::{LockView, UnlockOutcome, UnlockRefusal, UnlockRequest};

use crate::world::{INFO_NOT_FOUND, UNLOCK_WAIT, World, info_key, operation_key};

pub(crate) const D1: &str = "ALTER TABLE `foo`.`bar` ADD COLUMN `c1` INT";
pub(crate) const D2: &str = "ALTER TABLE `foo`.`bar` ADD COLUMN `c2` INT";
pub(crate) const E1: &str = "ALTER TABLE `foo`.`baz` ADD COLUMN `e1` INT";

pub(crate) struct Stage {
    pub(crate) world: World,
}

/// A task `t1` with these sources, and a leader.
pub(crate) fn stage(sources: &[&str]) -> Stage {
    Stage {
        world: World::running(&[("t1", sources)]),
    }
}

pub(crate) fn id(table: &str) -> String {
    lock_id(&"t1".into(), "foo", table)
}

impl Stage {
    /// What was put in `act`, in order of the sources: `s1 executes, s2 skips`.
    pub(crate) fn after(&mut self, act: impl FnOnce(&mut World)) -> String {
        self.world.put.clear();
        act(&mut self.world);
        self.world.quiet();
        let mut put: Vec<String> = self.world.put.iter().map(order).collect();
        put.sort();
        put.dedup();
        put.join(", ")
    }

    pub(crate) fn report(&mut self, source: &str, ddl: &str) -> String {
        self.report_all(source, "bar", &[ddl])
    }

    pub(crate) fn report_all(&mut self, source: &str, table: &str, ddls: &[&str]) -> String {
        let info = Info::new(
            "t1",
            source,
            "foo",
            table,
            ddls.iter().map(ToString::to_string).collect(),
        );
        self.after(|world| world.report(&info))
    }

    pub(crate) fn may_report(&mut self, source: &str, ddl: &str) -> bool {
        let info = Info::new("t1", source, "foo", "bar", vec![ddl.to_owned()]);
        let mut may = false;
        self.after(|world| may = world.try_report(&info));
        may
    }

    /// The worker of the source says that it has done what it was told.
    pub(crate) fn done(&mut self, source: &str) -> String {
        self.after(|world| assert_eq!(world.done("t1", source, None), 0, "{source} is refused"))
    }

    /// As `done`, by a worker that remembers an order which etcd no longer has.
    pub(crate) fn late_done_fails(&mut self, source: &str) -> bool {
        let remembered = Operation::new(id("bar"), "t1", source, vec![D1.to_owned()], true);
        self.world.done("t1", source, Some(remembered)) == INFO_NOT_FOUND
    }

    pub(crate) fn join(&mut self, source: &str) -> String {
        self.after(|world| world.set_sources("t1", &[source], &[]))
    }

    pub(crate) fn leave(&mut self, sources: &[&str]) -> String {
        self.after(|world| world.set_sources("t1", &[], sources))
    }

    pub(crate) fn change_leader(&mut self) -> String {
        self.after(|world| {
            world.stop();
            world.start();
        })
    }

    pub(crate) fn put_operation(
        &mut self,
        source: &str,
        lock: &str,
        exec: bool,
        done: bool,
    ) -> String {
        let operation = Operation {
            done,
            ..Operation::new(lock, "t1", source, vec![D1.to_owned()], exec)
        };
        self.after(|world| {
            world.etcd.write(
                vec![(operation_key("t1", source), operation.to_bytes())],
                &[],
            )
        })
    }

    pub(crate) fn put_raw_info(&mut self, source: &str, value: &[u8]) -> String {
        self.after(|world| {
            world
                .etcd
                .write(vec![(info_key("t1", source), value.to_vec())], &[])
        })
    }

    pub(crate) fn view(&self, table: &str) -> Option<LockView> {
        self.world
            .machine()
            .locks("t1", &[])
            .into_iter()
            .find(|lock| lock.id == id(table))
    }

    /// `s1 owns; ready s1 s2; missing s3; done -`, or `none`.
    pub(crate) fn lock(&self) -> String {
        self.lock_of("bar")
    }

    pub(crate) fn lock_of(&self, table: &str) -> String {
        let list = |sources: &[SourceId]| match sources {
            [] => "-".to_owned(),
            some => some
                .iter()
                .map(SourceId::as_str)
                .collect::<Vec<_>>()
                .join(" "),
        };
        self.view(table).map_or_else(
            || "none".to_owned(),
            |lock| {
                format!(
                    "{} owns; ready {}; missing {}; done {}",
                    lock.owner,
                    list(&lock.synced),
                    list(&lock.unsynced),
                    list(&lock.done)
                )
            },
        )
    }

    /// Sources with an operation in etcd; a star stands for done.
    pub(crate) fn operations(&self) -> String {
        let text = |o: &Operation| format!("{}{}", o.source, if o.done { "*" } else { "" });
        self.world
            .etcd
            .operations()
            .iter()
            .map(text)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Sources with an info in etcd.
    pub(crate) fn infos(&self) -> String {
        self.world
            .etcd
            .infos()
            .iter()
            .map(|info| info.source.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    }

    pub(crate) fn refuses_unlock(&self, replace_owner: Option<&str>) -> Option<UnlockRefusal> {
        let request = request(replace_owner, false);
        self.world
            .machine()
            .plan_unlock(&"t1".into(), &request)
            .err()
    }

    /// Unlocks; the named workers answer as soon as they can, in this order, nobody else does.
    pub(crate) fn unlock(
        &mut self,
        replace_owner: Option<&str>,
        force: bool,
        answers: &[&str],
    ) -> UnlockOutcome {
        let task: TaskName = "t1".into();
        self.world.put.clear();
        let since = self
            .world
            .begin_unlock(&task, &request(replace_owner, force))
            .expect("the unlock begins");
        let mut answers = answers.iter().peekable();
        for _ in 0..100 {
            self.world.quiet();
            if let Some(outcome) = self.world.unlock_outcome(&task, &id("bar"), since) {
                return outcome;
            }
            let is_told = |source: &&&str| {
                self.world
                    .etcd
                    .operation("t1", source)
                    .is_some_and(|(o, at)| !o.done && at > since)
            };
            match answers.next_if(is_told) {
                Some(source) => {
                    assert_eq!(self.world.done("t1", source, None), 0);
                }
                None => self.world.tick(UNLOCK_WAIT / 10),
            }
        }
        panic!("the unlock never ends");
    }
}

fn request(replace_owner: Option<&str>, force_remove: bool) -> UnlockRequest {
    UnlockRequest {
        id: id("bar"),
        replace_owner: replace_owner.map(SourceId::from),
        force_remove,
    }
}

fn order(o: &Operation) -> String {
    assert!(!o.done, "the coordinator says that {} is done", o.source);
    format!("{} {}", o.source, if o.exec { "executes" } else { "skips" })
}
