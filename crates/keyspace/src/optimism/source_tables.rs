//! Which upstream tables of a source go into which downstream table.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    SourceId, TaskName,
    macros::{key_family, record},
};

key_family! {
    /// `/dm-master/shardddl-optimism/source-tables/<task>/<source>` -> all tables of the source in the task.
    /// Written whole by the worker at its start and whenever a table is created or dropped. One source's key
    /// may begin like another's without the closing slash; delete it as a key and never as a prefix.
    SourceTablesKey = "/dm-master/shardddl-optimism/source-tables/", "ShardDDLOptimismSourceTablesKeyAdapter", Hex {
        /// The task that is sharded.
        task: TaskName,
        /// The source that has the tables.
        source: SourceId,
    }
}

impl SourceTablesKey {
    /// What the keys of one task begin with.
    pub fn prefix_of_task(task: &TaskName) -> String {
        Self::ADAPTER.prefix(&[task.as_str()])
    }
}

/// Downstream schema, downstream table, upstream schema, upstream tables.
pub type Tables = BTreeMap<String, BTreeMap<String, BTreeMap<String, BTreeSet<String>>>>;

record! {
    /// The tables of one source in one task.
    SourceTables as "source tables" {
        /// The same task as in the key.
        task: TaskName = "task",
        /// The same source as in the key.
        source: SourceId = "source",
        /// The tables; a source that has lost its last one has an empty object.
        tables: Option<Tables> = "tables",
    }
}

impl SourceTables {
    /// Every route once: (downstream schema, downstream table, upstream schema, upstream table).
    pub fn routes(&self) -> impl Iterator<Item = (&str, &str, &str, &str)> {
        let schemas = self.tables.iter().flatten();
        let tables = schemas.flat_map(|(schema, tables)| {
            tables
                .iter()
                .map(move |(table, sources)| (schema, table, sources))
        });
        tables.flat_map(|(schema, table, sources)| {
            sources.iter().flat_map(move |(up_schema, up_tables)| {
                up_tables.iter().map(move |up_table| {
                    (
                        schema.as_str(),
                        table.as_str(),
                        up_schema.as_str(),
                        up_table.as_str(),
                    )
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_in_the_order_of_their_names() {
        let value = br#"{"tables":{"d":{"t":{"u2":{"b":{},"a":{}},"u1":{"c":{}}}},"e":null}}"#;
        let tables = SourceTables::from_bytes(value).unwrap();
        let routes: Vec<_> = tables.routes().collect();
        assert_eq!(
            routes,
            [
                ("d", "t", "u1", "c"),
                ("d", "t", "u2", "a"),
                ("d", "t", "u2", "b")
            ]
        );
    }

    #[test]
    fn missing_tables_and_no_tables_are_different_values() {
        let missing = SourceTables::from_bytes(br#"{"task":"t","source":"s"}"#).unwrap();
        assert_eq!(
            missing.to_bytes(),
            br#"{"task":"t","source":"s","tables":null}"#
        );
        let none = SourceTables {
            tables: Some(Tables::new()),
            ..missing
        };
        assert_eq!(none.to_bytes(), br#"{"task":"t","source":"s","tables":{}}"#);
    }
}
