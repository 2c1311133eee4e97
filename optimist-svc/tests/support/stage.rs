//! Workers of some tables on a world: each knows what its table looks like, and follows DM's protocol.

use std::collections::BTreeMap;
use std::sync::Mutex;

use dm_keyspace::optimism::{
    Info, InfoKey, Operation, OperationKey, SourceTables, SourceTablesKey, lock_id,
};
use dm_keyspace::{OpaqueJson, SourceId, SubtaskKey};
use dm_schema::Options;
use dm_schema::create_table::{Defaults, read_create_table};
use optimist_svc::machine::{LockView, TableId, TableView, UnlockRefusal, UnlockRequest};

use super::world::World;

pub(crate) const TASK: &str = "task";

/// The table whose name is given; its source is the first letter.
pub(crate) fn id(table: &str) -> TableId {
    TableId {
        source: table[..1].to_uppercase().into(),
        schema: "db".to_owned(),
        table: table.to_owned(),
    }
}

pub(crate) fn lock() -> String {
    lock_id(&TASK.into(), "db", "tbl")
}

/// The statement whose end is given.
pub(crate) fn ddl(end: &str) -> String {
    format!("ALTER TABLE `db`.`tbl` {end}")
}

/// The JSON that a worker makes of a table with these columns and keys.
pub(crate) fn json(columns: &str) -> String {
    static KNOWN: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().expect("nobody fails with it");
    let make = || {
        let create = format!("CREATE TABLE tbl ({columns})");
        let info = read_create_table(&create, &Options::default(), &Defaults::default());
        info.unwrap_or_else(|e| panic!("{create}: {e}")).to_json()
    };
    known.entry(columns.to_owned()).or_insert_with(make).clone()
}

/// What a table was told: the stage, and the ends of the statements; none when there is a null.
pub(crate) type Told = (String, Option<Vec<String>>);

pub(crate) struct Stage {
    pub(crate) world: World,
    /// What each table looks like upstream.
    pub(crate) columns: BTreeMap<String, String>,
    /// What each table reported last.
    reported: BTreeMap<String, Info>,
}

impl Stage {
    /// Tables that all look alike, as the checkpoint knows, and somebody who leads.
    pub(crate) fn new(tables: &[&str], columns: &str) -> Self {
        let mut stage = Self {
            world: World::default(),
            columns: BTreeMap::new(),
            reported: BTreeMap::new(),
        };
        for table in tables {
            stage
                .columns
                .insert((*table).to_owned(), columns.to_owned());
            stage.flush(table);
        }
        for source in stage.sources() {
            stage.run(&source);
            stage.list(&source);
        }
        stage.world.start();
        stage.world.quiet();
        stage
    }

    /// The task has a part on a source.
    pub(crate) fn run(&mut self, source: &SourceId) {
        let key = SubtaskKey {
            source: source.clone(),
            task: TASK.into(),
        };
        let record = b"name = \"task\"".to_vec();
        self.world.etcd.write(vec![(key.encode(), record)], &[]);
    }

    fn sources(&self) -> Vec<SourceId> {
        let mut sources: Vec<SourceId> = self.columns.keys().map(|t| id(t).source).collect();
        sources.dedup();
        sources
    }

    /// A worker lists the tables of its source.
    pub(crate) fn list(&mut self, source: &SourceId) {
        let tables = self
            .columns
            .keys()
            .filter(|table| id(table).source == *source);
        let upstream = [("db".to_owned(), tables.cloned().collect())].into();
        let record = SourceTables {
            task: TASK.into(),
            source: source.clone(),
            tables: Some([("db".to_owned(), [("tbl".to_owned(), upstream)].into())].into()),
            ..SourceTables::default()
        };
        let key = SourceTablesKey {
            task: TASK.into(),
            source: source.clone(),
        };
        let put = (key.encode(), record.to_bytes());
        self.world.etcd.write(vec![put], &[]);
    }

    /// The table's schema is written down downstream.
    pub(crate) fn flush(&mut self, table: &str) {
        let json = json(&self.columns[table]);
        self.world.checkpoint.insert(id(table), json);
    }

    /// The info of a table that meets statements, each with what the table looks like after it; nothing is written.
    pub(crate) fn info(&self, table: &str, ddls: &[(&str, &str)]) -> Info {
        let schema = |columns: &str| OpaqueJson::parse(&json(columns)).expect("JSON");
        let TableId {
            source,
            schema: up_schema,
            table: up_table,
        } = id(table);
        Info {
            task: TASK.into(),
            source,
            up_schema,
            up_table,
            down_schema: "db".to_owned(),
            down_table: "tbl".to_owned(),
            ddls: Some(ddls.iter().map(|(end, _)| ddl(end)).collect()),
            table_info_before: Some(schema(&self.columns[table])),
            table_info_after: Some(ddls.iter().map(|(_, after)| schema(after)).collect()),
            ..Info::default()
        }
    }

    /// A table meets statements. What it is told.
    pub(crate) fn report(&mut self, table: &str, ddls: &[(&str, &str)]) -> Told {
        let info = self.info(table, ddls);
        if let Some((_, after)) = ddls.last() {
            self.columns.insert(table.to_owned(), (*after).to_owned());
        }
        self.put(table, &info);
        self.world.quiet();
        self.told(table).unwrap_or_default()
    }

    pub(crate) fn put(&mut self, table: &str, info: &Info) {
        self.reported.insert(table.to_owned(), info.clone());
        let put = (info.key().encode(), info.to_bytes());
        self.world.etcd.write(vec![put], &[]);
    }

    /// A worker that was started anew, or was sent back, reports the same once more. What its table is told.
    pub(crate) fn resend(&mut self, table: &str) -> Told {
        let info = self.reported[table].clone();
        self.put(table, &info);
        self.world.quiet();
        self.told(table).unwrap_or_default()
    }

    pub(crate) fn operation(&self, table: &str) -> Option<Operation> {
        let kv = self.world.etcd.get(&operation_key(table))?;
        Operation::from_bytes(&kv.value).ok()
    }

    /// What the table was told last.
    pub(crate) fn told(&self, table: &str) -> Option<Told> {
        let operation = self.operation(table)?;
        let start = ddl("");
        let end = |ddl: &String| ddl.strip_prefix(&start).unwrap_or(ddl).to_owned();
        let ddls = operation.ddls.map(|ddls| ddls.iter().map(end).collect());
        Some((operation.conflict_stage.as_str().to_owned(), ddls))
    }

    /// The worker has done as told, and written down what the table looks like.
    pub(crate) fn done(&mut self, table: &str) {
        self.flush(table);
        self.late_done(table);
        self.world.quiet();
    }

    /// A done of what is in etcd, and nothing else.
    pub(crate) fn late_done(&mut self, table: &str) {
        let operation = self.operation(table).expect("it was told something");
        let put = (operation_key(table), operation.into_done().to_bytes());
        self.world.etcd.write(vec![put], &[]);
    }

    pub(crate) fn unlock(&mut self, table: &str, executes: bool) -> Result<(), UnlockRefusal> {
        let request = UnlockRequest {
            id: lock(),
            table: id(table),
            executes,
        };
        let unlocked = self.world.unlock(&TASK.into(), &request);
        self.world.quiet();
        unlocked
    }

    pub(crate) fn change_leader(&mut self) {
        self.world.stop();
        self.world.start();
        self.world.quiet();
    }

    /// The lock as it is shown, if there is one.
    pub(crate) fn shown(&self) -> Option<LockView> {
        let machine = self.world.machine().expect("somebody leads");
        machine.locks("", &[]).into_iter().next()
    }

    pub(crate) fn table(&self, table: &str) -> TableView {
        let lock = self.shown().expect("there is a lock");
        let mut tables = lock.tables.into_iter();
        tables
            .find(|view| view.table == id(table))
            .expect("it takes part")
    }

    /// Keys of records of shard DDLs, and ours.
    pub(crate) fn records(&self) -> Vec<String> {
        let of_task = ["info/", "operation/", "dropped-columns/"];
        let prefixes = of_task.map(|kind| format!("/dm-master/shardddl-optimism/{kind}"));
        let keys = self.world.etcd.keys.keys();
        let keys = keys.map(|key| String::from_utf8_lossy(key).into_owned());
        keys.filter(|key| {
            key.starts_with("/dm-master/optimist/")
                || prefixes.iter().any(|prefix| key.starts_with(prefix))
        })
        .collect()
    }
}

pub(crate) fn operation_key(table: &str) -> String {
    let TableId {
        source,
        schema,
        table,
    } = id(table);
    OperationKey {
        task: TASK.into(),
        source,
        schema,
        table,
    }
    .encode()
}

pub(crate) fn info_key(table: &str) -> String {
    let TableId {
        source,
        schema,
        table,
    } = id(table);
    InfoKey {
        task: TASK.into(),
        source,
        schema,
        table,
    }
    .encode()
}

/// A stage with statements.
pub(crate) fn told(stage: &str, ddls: &[&str]) -> Told {
    let ddls = ddls.iter().map(|ddl| (*ddl).to_owned()).collect();
    (stage.to_owned(), Some(ddls))
}
