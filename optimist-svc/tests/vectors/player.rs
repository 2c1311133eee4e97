//! Plays a case: workers that follow DM's protocol, and an operator.

use std::collections::{BTreeMap, BTreeSet};

use dm_keyspace::optimism::{
    ConflictStage, DropStage, DroppedColumnKey, Info, InfoKey, Operation, OperationKey,
    SourceTables, SourceTablesKey, Tables, lock_id,
};
use dm_keyspace::{OpaqueJson, SourceId, SubtaskKey};
use dm_schema::Options;
use dm_schema::create_table::{Defaults, read_create_table};
use optimist_svc::machine::{TableId, UnlockRequest};
use serde_json::{Map, Value, json};

use crate::TASK;
use crate::case::{Case, Step};
use crate::host::Host;

/// Upstream tables of each source with their targets.
type Routes = BTreeMap<SourceId, BTreeMap<(String, String), (String, String)>>;

struct Player<'a> {
    host: &'a mut dyn Host,
    /// What the coordinator has put in this step.
    put: Vec<Operation>,
    routes: Routes,
    /// The last schema that each table has sent.
    sent: BTreeMap<TableId, String>,
    targets: BTreeMap<TableId, (String, String)>,
}

/// The results of one step.
#[derive(Default)]
struct Answer {
    error_code: Option<u32>,
    shown: Option<Value>,
}

/// Plays a case to its end or to the first step that is not as expected. Then another leader takes over, and must find
/// all infos answered.
pub(crate) fn play(case: &Case, host: &mut dyn Host) -> Result<(), String> {
    let mut player = Player::new(case, host);
    for (number, step) in case.steps.iter().enumerate() {
        player.host.take_put();
        let answer = player.perform(step);
        player.host.quiet();
        player.put = player.host.take_put();
        player
            .compare(step, &answer)
            .map_err(|e| format!("step {number} ({}): {e}", step.op))?;
    }
    player.host.stop();
    player.host.take_put();
    player.host.start();
    player.host.quiet();
    match player.host.take_put().as_slice() {
        [] => Ok(()),
        again => Err(format!("the next leader answers again: {again:?}")),
    }
}

/// The JSON that a worker makes of a structure.
fn json_of(create: &str) -> String {
    let info = read_create_table(create, &Options::default(), &Defaults::default());
    info.unwrap_or_else(|e| panic!("{create}: {e}")).to_json()
}

fn default_target() -> (String, String) {
    ("db".to_owned(), "tbl".to_owned())
}

impl<'a> Player<'a> {
    fn new(case: &Case, host: &'a mut dyn Host) -> Self {
        let mut player = Self {
            host,
            put: Vec::new(),
            routes: Routes::new(),
            sent: BTreeMap::new(),
            targets: BTreeMap::new(),
        };
        let named = case.steps.iter().map(|step| step.source.as_str());
        let sources: BTreeSet<&str> = named
            .chain(case.tables.iter().map(|table| table.source.as_str()))
            .filter(|source| !source.is_empty())
            .collect();
        for source in sources {
            player.routes.insert(source.into(), BTreeMap::new());
            let record = player.host.subtask(source);
            player.host.write(vec![(subtask_key(source), record)], &[]);
        }
        for table in &case.tables {
            let id = TableId {
                source: table.source.as_str().into(),
                schema: table.schema.clone(),
                table: table.table.clone(),
            };
            let target = table.down.clone().unwrap_or_else(default_target);
            if table.in_checkpoint {
                player.host.flush(&id, &json_of(&table.create));
            }
            if table.in_source_tables {
                player.route(&id, target.clone());
            }
            player.targets.insert(id, target);
        }
        for source in player.routes.keys().cloned().collect::<Vec<_>>() {
            player.put_source_tables(&source);
        }
        player.host.start();
        player.host.quiet();
        player
    }

    fn route(&mut self, table: &TableId, target: (String, String)) {
        let tables = self.routes.entry(table.source.clone()).or_default();
        tables.insert((table.schema.clone(), table.table.clone()), target);
    }

    fn put_source_tables(&mut self, source: &SourceId) {
        let mut tables = Tables::new();
        for ((schema, table), (down_schema, down_table)) in
            self.routes.get(source).into_iter().flatten()
        {
            let of_schema = tables.entry(down_schema.clone()).or_default();
            let of_target = of_schema.entry(down_table.clone()).or_default();
            of_target
                .entry(schema.clone())
                .or_default()
                .insert(table.clone());
        }
        let record = SourceTables {
            task: TASK.into(),
            source: source.clone(),
            tables: Some(tables),
            ..SourceTables::default()
        };
        let key = source_tables_key(source);
        self.host.write(vec![(key, record.to_bytes())], &[]);
    }

    fn perform(&mut self, step: &Step) -> Answer {
        let id = TableId {
            source: step.source.as_str().into(),
            schema: step.schema.clone(),
            table: step.table.clone(),
        };
        let mut answer = Answer::default();
        match step.op.as_str() {
            "put_info" => self.put_info(step, &id),
            "op_done" => self.op_done(step, &id),
            "deliver_infos" => {}
            "add_table" => {
                let create = step.create.as_deref().expect("a new table has a structure");
                if step.flush {
                    self.host.flush(&id, &json_of(create));
                }
                self.route(&id, step.down.clone().unwrap_or_else(default_target));
                self.put_source_tables(&id.source);
            }
            "remove_table" => {
                let tables = self.routes.entry(id.source.clone()).or_default();
                tables.remove(&(id.schema.clone(), id.table.clone()));
                self.put_source_tables(&id.source);
            }
            "put_source_tables" => {
                self.routes.remove(&id.source);
                for route in &step.tables {
                    let table = TableId {
                        source: id.source.clone(),
                        schema: route.schema.clone(),
                        table: route.table.clone(),
                    };
                    self.route(&table, route.down.clone().unwrap_or_else(default_target));
                }
                self.put_source_tables(&id.source);
            }
            "delete_source_tables" => {
                let key = source_tables_key(&id.source);
                self.host.write(Vec::new(), &[key]);
            }
            "remove_sources" => {
                let keys: Vec<_> = step
                    .sources
                    .iter()
                    .map(|source| subtask_key(source))
                    .collect();
                self.host.write(Vec::new(), &keys);
            }
            "remove_task" => self.host.remove_task(),
            "leader_change" => {
                self.host.stop();
                self.host.start();
            }
            "unlock" => answer.error_code = Some(self.unlock(step, &id)),
            "show_locks" => answer.shown = Some(self.show(step)),
            other => panic!("unknown step {other}"),
        }
        answer
    }

    fn put_info(&mut self, step: &Step, table: &TableId) {
        let known = self.targets.get(table).cloned();
        let (down_schema, down_table) = step.down.clone().or(known).unwrap_or_else(default_target);
        let schema = |create: &String| OpaqueJson::parse(&json_of(create)).expect("JSON");
        let info = Info {
            task: TASK.into(),
            source: table.source.clone(),
            up_schema: table.schema.clone(),
            up_table: table.table.clone(),
            down_schema,
            down_table,
            ddls: Some(step.ddls.clone()),
            table_info_before: step.table_before.as_ref().map(schema),
            table_info_after: Some(step.table_after.iter().map(schema).collect()),
            ignore_conflict: step.ignore_conflict,
            ..Info::default()
        };
        if let Some(last) = step.table_after.last() {
            self.sent.insert(table.clone(), json_of(last));
        }
        let key = info.key().encode();
        self.host.write(vec![(key, info.to_bytes())], &[]);
    }

    fn op_done(&mut self, step: &Step, table: &TableId) {
        if !step.deliver {
            self.host.stop();
        }
        let key = operation_key(table);
        let present = self.host.value(&key).expect("the table has an operation");
        let operation = Operation::from_bytes(&present).expect("operations decode");
        let is_executed = matches!(
            operation.conflict_stage,
            ConflictStage::None | ConflictStage::Unlocked
        );
        if let Some(sent) = self.sent.get(table).filter(|_| is_executed && step.flush) {
            self.host.flush(table, sent);
        }
        self.host
            .write(vec![(key, operation.into_done().to_bytes())], &[]);
    }

    fn unlock(&mut self, step: &Step, table: &TableId) -> u32 {
        let (schema, down) = step.down.clone().unwrap_or_else(default_target);
        let request = UnlockRequest {
            id: lock_id(&TASK.into(), &schema, &down),
            table: table.clone(),
            executes: step.action.as_deref() == Some("exec"),
        };
        self.host.unlock(&request)
    }

    fn show(&self, step: &Step) -> Value {
        let sources: Vec<SourceId> = step.sources.iter().map(|s| s.as_str().into()).collect();
        let rows = self.host.rows(&step.task, &sources).into_iter().map(|row| {
            let ddls = (!row.ddls.is_empty()).then_some(row.ddls);
            json!({ "id": row.id, "owner": row.owner, "ddls": ddls, "synced": row.synced, "unsynced": row.unsynced })
        });
        rows.collect()
    }

    fn compare(&self, step: &Step, answer: &Answer) -> Result<(), String> {
        for (member, expected) in &step.expect {
            if step.advisory.contains(member) {
                continue;
            }
            let (mut expected, mut got) = (expected.clone(), self.observe(member, answer));
            if member == "puts" {
                sort(&mut expected);
                sort(&mut got);
            }
            if expected != got {
                return Err(format!(
                    "{member}: expected\n  {expected}\ngot\n  {got}\nlocks {}",
                    self.locks()
                ));
            }
        }
        Ok(())
    }

    fn observe(&self, member: &str, answer: &Answer) -> Value {
        match member {
            "puts" => self.put.iter().map(put).collect(),
            "locks" => self.locks(),
            "dropped_columns" => self.dropped_columns(),
            "infos" => self.tables(InfoKey::PREFIX, |key| {
                Some(id_of(InfoKey::parse(key).ok()?))
            }),
            "ops" => self.tables(OperationKey::PREFIX, |key| {
                let OperationKey {
                    source,
                    schema,
                    table,
                    ..
                } = OperationKey::parse(key).ok()?;
                Some(TableId {
                    source,
                    schema,
                    table,
                })
            }),
            "error_code" => json!(answer.error_code),
            "shown" => answer.shown.clone().unwrap_or_default(),
            other => panic!("unknown expectation {other}"),
        }
    }

    fn locks(&self) -> Value {
        let locks = match self.host.leads() {
            true => self.host.locks(),
            false => Vec::new(),
        };
        let locks = locks.into_iter().map(|lock| {
            let tables =
                json!({ "synced": lock.synced, "unsynced": lock.unsynced, "undone": lock.undone });
            (lock.id, tables)
        });
        Value::Object(locks.collect())
    }

    fn dropped_columns(&self) -> Value {
        let mut locks: BTreeMap<String, BTreeMap<String, Map<String, Value>>> = BTreeMap::new();
        for (key, value) in self.host.entries(DroppedColumnKey::PREFIX) {
            let key = DroppedColumnKey::parse(&key).expect("a key of the family");
            let stage = DropStage::from_bytes(&value).expect("a stage");
            let DroppedColumnKey {
                lock,
                column,
                source,
                schema,
                table,
            } = key;
            let table = TableId {
                source,
                schema,
                table,
            }
            .to_string();
            let tables = locks.entry(lock).or_default().entry(column).or_default();
            tables.insert(table, json!(stage.number()));
        }
        json!(locks)
    }

    fn tables(&self, prefix: &'static str, id: impl Fn(&[u8]) -> Option<TableId>) -> Value {
        let entries = self.host.entries(prefix).into_iter();
        let keys = entries.filter_map(|(key, _)| id(&key));
        let mut names: Vec<String> = keys.map(|id| id.to_string()).collect();
        names.sort();
        json!(names)
    }
}

fn id_of(
    InfoKey {
        source,
        schema,
        table,
        ..
    }: InfoKey,
) -> TableId {
    TableId {
        source,
        schema,
        table,
    }
}

fn put(operation: &Operation) -> Value {
    let table = TableId {
        source: operation.source.clone(),
        schema: operation.up_schema.clone(),
        table: operation.up_table.clone(),
    };
    let digits = operation.conflict_message.strip_prefix("[code=");
    let code = digits.and_then(|rest| rest.split(':').next()?.parse::<u32>().ok());
    json!({ "table": table.to_string(), "stage": operation.conflict_stage.as_str(), "ddls": operation.ddls,
        "cols": operation.cols, "code": code.unwrap_or_default() })
}

fn sort(values: &mut Value) {
    if let Value::Array(values) = values {
        values.sort_by_key(ToString::to_string);
    }
}

fn subtask_key(source: &str) -> String {
    SubtaskKey {
        source: source.into(),
        task: TASK.into(),
    }
    .encode()
}

fn source_tables_key(source: &SourceId) -> String {
    SourceTablesKey {
        task: TASK.into(),
        source: source.clone(),
    }
    .encode()
}

fn operation_key(table: &TableId) -> String {
    OperationKey {
        task: TASK.into(),
        source: table.source.clone(),
        schema: table.schema.clone(),
        table: table.table.clone(),
    }
    .encode()
}
