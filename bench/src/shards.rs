//! Tables of an optimistic task that go into one table, and what their workers write.

use dm_keyspace::optimism::{Info, SourceTables, SourceTablesKey};
use dm_keyspace::{OpaqueJson, SourceId, TaskName};
use dm_schema::Options;
use dm_schema::create_table::{Defaults, read_create_table};

use crate::names::Run;
use crate::{Error, Result};

/// Tables of one source: their list has to fit into one value of etcd.
const TABLES_OF_A_SOURCE: usize = 1_000;
/// Columns that can be added, one after the other.
const COLUMNS: usize = 3;
/// All tables have this name downstream, and this schema on both sides.
const SCHEMA: &str = "bench";
const TARGET: &str = "t";

/// The tables of one lock.
#[derive(Clone, Debug)]
pub struct Shards {
    run: Run,
    task: TaskName,
    tables: usize,
    /// The structure after so many columns have been added.
    structures: Vec<OpaqueJson>,
    /// The structure after the first of these columns was given another name.
    renamed: OpaqueJson,
}

impl Shards {
    /// Tables of the optimistic task with this number.
    ///
    /// # Errors
    /// When their structure cannot be written.
    pub fn new(run: &Run, number: usize, tables: usize) -> Result<Self> {
        let structures = (0..=COLUMNS).map(|added| {
            let names = (0..added).map(|column| format!("c{column}"));
            structure(names)
        });
        Ok(Self {
            run: run.clone(),
            task: run.task("shards", number),
            tables,
            structures: structures.collect::<Result<_>>()?,
            renamed: structure(["renamed".to_owned()])?,
        })
    }

    /// How many there are.
    #[must_use]
    pub fn tables(&self) -> usize {
        self.tables
    }

    /// The task.
    #[must_use]
    pub fn task(&self) -> &TaskName {
        &self.task
    }

    /// The sources that have the tables.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceId> {
        let count = self.tables.div_ceil(TABLES_OF_A_SOURCE);
        (0..count).map(|n| self.run.source(n)).collect()
    }

    /// The lists of tables that workers put when they begin.
    pub fn source_tables(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        self.sources().into_iter().enumerate().map(|(at, source)| {
            let first = at * TABLES_OF_A_SOURCE;
            let last = self.tables.min(first + TABLES_OF_A_SOURCE);
            let names = (first..last).map(table_name).collect();
            let upstream = [(SCHEMA.to_owned(), names)].into();
            let downstream = [(TARGET.to_owned(), upstream)].into();
            let key = SourceTablesKey {
                task: self.task.clone(),
                source: source.clone(),
            };
            let record = SourceTables {
                task: self.task.clone(),
                source,
                tables: Some([(SCHEMA.to_owned(), downstream)].into()),
                ..SourceTables::default()
            };
            (key.encode(), record.to_bytes())
        })
    }

    /// That a table has met the statement which adds the column with this number.
    #[must_use]
    pub fn info(&self, table: usize, column: usize) -> Info {
        let ddl = format!("ALTER TABLE `{SCHEMA}`.`{TARGET}` ADD COLUMN `c{column}` BIGINT");
        let [before, after] = [column, column + 1].map(|at| self.structures[at].clone());
        self.info_of(table, ddl, before, after)
    }

    /// That a table has met the statement which gives the first added column another name: nothing that fits beside tables that
    /// have not.
    #[must_use]
    pub fn conflict(&self, table: usize) -> Info {
        let ddl = format!("ALTER TABLE `{SCHEMA}`.`{TARGET}` RENAME COLUMN `c0` TO `renamed`");
        let (before, after) = (self.structures[1].clone(), self.renamed.clone());
        self.info_of(table, ddl, before, after)
    }

    fn info_of(&self, table: usize, ddl: String, before: OpaqueJson, after: OpaqueJson) -> Info {
        Info {
            task: self.task.clone(),
            source: self.run.source(table / TABLES_OF_A_SOURCE),
            up_schema: SCHEMA.to_owned(),
            up_table: table_name(table),
            down_schema: SCHEMA.to_owned(),
            down_table: TARGET.to_owned(),
            ddls: Some(vec![ddl]),
            table_info_before: Some(before),
            table_info_after: Some(vec![after]),
            ..Info::default()
        }
    }
}

fn table_name(number: usize) -> String {
    format!("t{number}")
}

fn structure(columns: impl IntoIterator<Item = String>) -> Result<OpaqueJson> {
    let columns = columns.into_iter().map(|name| format!(", `{name}` BIGINT"));
    let create = format!(
        "CREATE TABLE `{SCHEMA}`.`{TARGET}` (`id` BIGINT PRIMARY KEY{})",
        columns.collect::<String>()
    );
    let info = read_create_table(&create, &Options::default(), &Defaults::default());
    let info = info.map_err(Error::call("write a table's structure"))?;
    OpaqueJson::parse(&info.to_json()).map_err(Error::call("write a table's structure"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_in_the_list_of_its_source() {
        let shards = Shards::new(&Run::new("b"), 0, 1_001).unwrap();
        let lists: Vec<_> = shards.source_tables().collect();
        assert_eq!((lists.len(), shards.sources().len()), (2, 2));
        for (table, list) in [(0, 0), (999, 0), (1_000, 1)] {
            let info = shards.info(table, 1);
            let listed = SourceTables::from_bytes(&lists[list].1).unwrap();
            assert_eq!(listed.source, info.source);
            let names: Vec<_> = listed.routes().map(|route| route.3.to_owned()).collect();
            assert!(names.contains(&info.up_table));
        }
    }

    #[test]
    fn a_structure_grows_by_the_column_that_is_added() {
        let shards = Shards::new(&Run::new("b"), 0, 2).unwrap();
        let (first, second) = (shards.info(0, 0), shards.info(0, 1));
        assert_eq!(
            first.table_info_after.unwrap()[0],
            second.table_info_before.unwrap()
        );
    }
}
