//! Plays one case, step by step, and compares after each.

use std::collections::BTreeMap;

use dm_keyspace::pessimism::{Info, Operation, task_of_lock_id};
use dm_keyspace::{SourceId, SubtaskKey, TaskName};
use pessimist_svc::errors;
use pessimist_svc::machine::UnlockRequest;
use serde_json::{Value, json};

use crate::case::{Case, Ddls, Defaults, Remembered, Step, When};
use crate::compare::sorted;
use crate::host::{Call, Ended, Host};
use crate::world::{info_key, names, operation_key};

/// Stands for a failure that has a text and no code.
pub(crate) const NO_CODE: u32 = u32::MAX;

type Aliases = BTreeMap<String, Vec<String>>;

/// What an event answered, and what the coordinator did in the step.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) error: Option<u32>,
    pub(crate) putted: Option<bool>,
    pub(crate) result: Option<bool>,
    pub(crate) msg: Option<String>,
    pub(crate) show: Option<Vec<Value>>,
}

pub(crate) struct Player<'a> {
    pub(crate) host: &'a mut dyn Host,
    pub(crate) put: Vec<Operation>,
    pub(crate) aliases: &'a Aliases,
    default: &'a Defaults,
    tasks: BTreeMap<String, Vec<String>>,
    pub(crate) rejected_before: u64,
    pub(crate) errors_before: BTreeMap<String, u64>,
}

/// Plays a case.
///
/// # Errors
/// Where it comes out differently, with what was expected and what came.
pub(crate) fn play(case: &Case, aliases: &Aliases, host: &mut dyn Host) -> Result<(), String> {
    assert!(
        case.needs.iter().all(|need| need == "etcd_fault"),
        "{}: needs {:?}",
        case.name,
        case.needs
    );
    let mut player = Player {
        host,
        put: Vec::new(),
        aliases,
        default: &case.default,
        tasks: case.tasks.clone(),
        rejected_before: 0,
        errors_before: BTreeMap::new(),
    };
    for (task, sources) in &case.tasks {
        player.set_sources(task, sources, &[]);
    }
    match case.master.as_str() {
        "running" => player.host.start(),
        "stopped" => {}
        other => panic!("{}: master {other}", case.name),
    }
    for (number, step) in case.steps.iter().enumerate() {
        player.host.take_put();
        player.rejected_before = player.host.rejected();
        player.errors_before = player.host.errors();
        let answer = player.event(step);
        player.host.quiet();
        player.put = player.host.take_put();
        player
            .compare(&step.expect, &answer)
            .map_err(|difference| format!("step {} ({}): {difference}", number + 1, step.event))?;
    }
    Ok(())
}

impl Player<'_> {
    fn set_sources(&mut self, task: &str, added: &[String], removed: &[String]) {
        let key = |source: &String| {
            let (source, task) = (source.as_str().into(), task.into());
            SubtaskKey { source, task }.encode()
        };
        let puts = added
            .iter()
            .map(|source| (key(source), b"name = \"t\"".to_vec()));
        self.host
            .write(puts.collect(), &removed.iter().map(key).collect::<Vec<_>>());
    }

    fn event(&mut self, step: &Step) -> Answer {
        let mut answer = Answer::default();
        let task = step
            .task
            .clone()
            .unwrap_or_else(|| self.default.task.clone());
        let source = step.source.clone().unwrap_or_default();
        match step.event.as_str() {
            "put_info" => self.host.report(&self.info(step)),
            "try_put_info" => answer.putted = Some(self.host.try_report(&self.info(step))),
            "op_done" => answer.error = Some(self.done(step, &task, &source)),
            "raw_put_op" => {
                let new = Operation::new(
                    step.id.clone().unwrap_or_default(),
                    task.as_str(),
                    source.as_str(),
                    self.ddls(step.ddls.as_ref()),
                    step.exec,
                );
                self.host.write(
                    vec![(
                        operation_key(&task, &source),
                        Operation {
                            done: step.done,
                            ..new
                        }
                        .to_bytes(),
                    )],
                    &[],
                );
            }
            "raw_delete_op" => self
                .host
                .write(Vec::new(), &[operation_key(&task, &source)]),
            "raw_delete_info" => self.host.write(Vec::new(), &[info_key(&task, &source)]),
            "add_source" => {
                self.tasks
                    .entry(task.clone())
                    .or_default()
                    .push(source.clone());
                self.set_sources(&task, &[source], &[]);
            }
            "remove_source" => {
                self.tasks
                    .entry(task.clone())
                    .or_default()
                    .retain(|known| *known != source);
                self.set_sources(&task, &[], &[source]);
            }
            "remove_task" => {
                let all = self.tasks.remove(&task).unwrap_or_default();
                self.set_sources(&task, &[], &all);
            }
            _ => self.coordinator_event(step, task, &mut answer),
        }
        answer
    }

    /// Events that the coordinator meets itself, rather than through etcd.
    fn coordinator_event(&mut self, step: &Step, task: String, answer: &mut Answer) {
        match step.event.as_str() {
            "stop_master" => self.host.stop(),
            "start_master" => self.start(),
            "leader_change" => {
                self.host.stop();
                self.start();
            }
            "watch_lost" => self.host.lose_watch(),
            "etcd_fault" => self.host.fail_deletes(step.on),
            "unlock" => answer.error = Some(self.unlock(step).code),
            "rpc_unlock" => self.rpc_unlock(step, answer),
            "remove_meta" if !self.host.leads() => {
                answer.error = Some(self.host.call_without_lead(&Call::RemoveMeta(task.into())));
            }
            "remove_meta" => {
                self.host.remove_meta(&task.into());
                answer.error = Some(0);
            }
            "show_locks" => answer.show = Some(self.show(step)),
            other => panic!("unknown event {other}"),
        }
    }

    /// A new process reports anew what it finds.
    fn start(&mut self) {
        self.host.start();
        self.rejected_before = 0;
        self.errors_before.clear();
    }

    fn ddls(&self, ddls: Option<&Ddls>) -> Vec<String> {
        match ddls.or(self.default.ddls.as_ref()) {
            Some(Ddls::Alias(alias)) => self
                .aliases
                .get(alias)
                .unwrap_or_else(|| panic!("unknown alias {alias}"))
                .clone(),
            Some(Ddls::Statements(statements)) => statements.clone(),
            None => panic!("neither the step nor the case has statements"),
        }
    }

    fn info(&self, step: &Step) -> Info {
        let or =
            |given: &Option<String>, default: &String| given.as_ref().unwrap_or(default).clone();
        let source = step.source.clone().unwrap_or_default();
        Info::new(
            or(&step.task, &self.default.task),
            source,
            or(&step.schema, &self.default.schema),
            or(&step.table, &self.default.table),
            self.ddls(step.ddls.as_ref()),
        )
    }

    fn done(&mut self, step: &Step, task: &str, source: &str) -> u32 {
        let remembered = step.op.as_ref().map(|Remembered { id, exec, ddls }| {
            Operation::new(id.clone(), task, source, self.ddls(Some(ddls)), *exec)
        });
        self.host.done(task, source, remembered)
    }

    fn unlock(&mut self, step: &Step) -> Ended {
        let request = unlock_request(step);
        if !self.host.leads() {
            let (code, msg) = (
                self.host.call_without_lead(&Call::Unlock(request)),
                String::new(),
            );
            return Ended { code, msg };
        }
        let id = request.id.clone();
        let task: TaskName = task_of_lock_id(&id).into();
        let since = match self.host.begin_unlock(&task, &request) {
            Ok(since) => since,
            Err(refused) => {
                self.host.pass_time();
                return refused;
            }
        };
        let mut during = step.during.iter().peekable();
        for _ in 0..100 {
            self.host.quiet();
            if let Some(ended) = self.host.unlock_ended(&task, &id, since) {
                assert!(during.peek().is_none(), "the unlock ends before its steps");
                return ended;
            }
            let is_due = |next: &&Step| {
                next.when
                    .as_ref()
                    .is_none_or(|when| self.holds(&task, when))
            };
            match during.next_if(is_due) {
                Some(next) => {
                    self.event(next);
                }
                None => self.host.pass_time(),
            }
        }
        panic!("the unlock never ends");
    }

    fn holds(&self, task: &TaskName, when: &When) -> bool {
        let found = self.host.operation(task.as_str(), &when.source);
        found.is_some_and(|operation| operation.exec == when.exec && operation.done == when.done)
    }

    fn rpc_unlock(&mut self, step: &Step, answer: &mut Answer) {
        let called = self.host.call_unlock(&unlock_request(step));
        let ended = called.unwrap_or_else(|| self.unlock_as_api(step));
        answer.error = Some(ended.code);
        answer.result = Some(ended.code == 0);
        answer.msg = Some(ended.msg);
    }

    /// What the API makes of a request, for a host without one.
    fn unlock_as_api(&mut self, step: &Step) -> Ended {
        let UnlockRequest {
            id, replace_owner, ..
        } = unlock_request(step);
        let task: TaskName = task_of_lock_id(&id).into();
        if task.is_empty() {
            let (code, msg) = (NO_CODE, errors::NO_TASK_IN_LOCK_ID.to_owned());
            return Ended { code, msg };
        }
        let is_forced = step.force_remove || !self.host.is_running(&task);
        let forced = json!({ "event": "unlock", "id": id, "replace_owner": replace_owner.map(|o| o.to_string()), "force_remove": is_forced });
        self.unlock(&serde_json::from_value(forced).expect("a step"))
    }

    fn show(&self, step: &Step) -> Vec<Value> {
        let sources: Vec<SourceId> = step
            .sources
            .iter()
            .map(|source| source.as_str().into())
            .collect();
        let locks = self
            .host
            .locks(step.task.as_deref().unwrap_or_default(), &sources);
        let shown = locks.iter().map(|lock| {
            json!({ "ID": lock.id, "task": lock.task.as_str(), "mode": "pessimistic", "owner": lock.owner.as_str(), "DDLs": lock.ddls,
                "synced": names(&lock.synced), "unsynced": names(&lock.unsynced) })
        });
        sorted(shown.collect())
    }
}

fn unlock_request(step: &Step) -> UnlockRequest {
    UnlockRequest {
        id: step.id.clone().unwrap_or_default(),
        replace_owner: step.replace_owner.as_deref().map(SourceId::from),
        force_remove: step.force_remove,
    }
}
