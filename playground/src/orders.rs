//! The sharded table of the demo and of the tests: orders of a shop, spread over several servers, and the files that tell DM to merge them.
//!
//! Shards have disjoint ranges of primary keys, so their rows can live in one table.

use std::fmt;
use std::path::{Path, PathBuf};

use dm_testkit::mariadb::{MariaDb, USER};

use crate::{Error, Playground, Result};

/// The task's name.
pub const TASK: &str = "orders";
/// Where all shards are merged: database and table of the downstream.
pub const TARGET: (&str, &str) = ("shop", "orders");
/// Distance between the first ids of two shards.
pub(crate) const RANGE: u64 = 1_000_000;

/// How the DDL of the shards is coordinated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShardMode {
    /// Rows of a shard wait until all shards have met its DDL.
    #[default]
    Pessimistic,
    /// What agrees with the other shards goes on at once.
    Optimistic,
}

impl fmt::Display for ShardMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pessimistic => "pessimistic",
            Self::Optimistic => "optimistic",
        })
    }
}

/// One table of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its number among all shards, from 1.
    pub number: usize,
    /// Its server's number, from 0.
    pub server: usize,
}

impl Shard {
    /// Its database: `shop_1` on the first server.
    pub fn database(&self) -> String {
        format!("shop_{}", self.server + 1)
    }

    /// Its table: `orders_3` for the third shard.
    pub fn table(&self) -> String {
        format!("orders_{}", self.number)
    }

    /// The first id that only it uses.
    pub fn first_id(&self) -> u64 {
        RANGE * u64::try_from(self.number).unwrap_or_default()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.database(), self.table())
    }
}

/// The id of a source in DM: `mysql-01` for server 0.
pub fn source_id(server: usize) -> String {
    format!("mysql-{:02}", server + 1)
}

/// The shards of `servers` servers with `each` shards on each.
pub fn shards(servers: usize, each: usize) -> Vec<Shard> {
    let all = (0..servers).flat_map(|server| std::iter::repeat_n(server, each));
    all.zip(1..)
        .map(|(server, number)| Shard { number, server })
        .collect()
}

/// Makes the empty table of each shard.
pub async fn create(playground: &Playground, shards: &[Shard]) -> Result<()> {
    for shard in shards {
        let sql = format!(
            "CREATE DATABASE IF NOT EXISTS {}; {}",
            shard.database(),
            create_table(shard)
        );
        playground.mariadb(shard.server).exec(&sql).await?;
    }
    Ok(())
}

fn create_table(shard: &Shard) -> String {
    format!(
        "CREATE TABLE {shard} (\n  \
           id BIGINT UNSIGNED NOT NULL PRIMARY KEY,\n  \
           customer VARCHAR(64) NOT NULL,\n  \
           amount DECIMAL(10,2) NOT NULL,\n  \
           remark TEXT NULL,\n  \
           placed_at DATETIME(6) NOT NULL,\n  \
           KEY by_customer (customer)\n)"
    )
}

/// The columns of a table with their types, in the table's order; none when there is no such table.
pub async fn columns(
    server: &MariaDb,
    database: &str,
    table: &str,
) -> Result<Vec<(String, String)>> {
    let sql = format!(
        "SELECT column_name, column_type FROM information_schema.columns \
         WHERE table_schema = '{database}' AND table_name = '{table}' ORDER BY ordinal_position"
    );
    let rows = server.query(&sql).await?;
    let column = |row: Vec<Option<String>>| {
        let mut cells = row.into_iter().flatten();
        (
            cells.next().unwrap_or_default(),
            cells.next().unwrap_or_default(),
        )
    };
    Ok(rows.into_iter().map(column).collect())
}

/// Whether the merged table has a column.
pub async fn target_has(playground: &Playground, column: &str) -> Result<bool> {
    let columns = columns(playground.downstream(), TARGET.0, TARGET.1).await?;
    Ok(columns.iter().any(|(name, _)| name == column))
}

/// Writes the source file of each server, for `dmctl operate-source create`.
pub fn write_source_files(playground: &Playground) -> Result<Vec<PathBuf>> {
    let files = playground
        .sources()
        .iter()
        .enumerate()
        .map(|(number, server)| {
            let text = source_file(number, server);
            write(
                playground.root(),
                &format!("{}.yaml", source_id(number)),
                &text,
            )
        });
    files.collect()
}

/// The text of one server's source file.
pub fn source_file(number: usize, server: &MariaDb) -> String {
    format!(
        "source-id: {}\nfrom:\n  host: 127.0.0.1\n  port: {}\n  user: {USER}\n  password: \"{}\"\n",
        source_id(number),
        server.port(),
        server.password(),
    )
}

/// Writes the task file, for `dmctl start-task`.
pub fn write_task_file(playground: &Playground, mode: ShardMode) -> Result<PathBuf> {
    let text = task_file(playground.sources().len(), playground.downstream(), mode);
    write(playground.root(), &format!("{TASK}.yaml"), &text)
}

/// The text of the task file: every shard of every server into one table, DDL coordinated in one of the two modes.
pub fn task_file(servers: usize, downstream: &MariaDb, mode: ShardMode) -> String {
    let mut text = format!(
        "# Merges every shard of the orders table, wherever it is, into one table.\n\
         name: {TASK}\n\
         task-mode: all\n\
         shard-mode: {mode}\n\
         meta-schema: dm_meta\n\
         # Of MariaDB the check of versions warns; nothing else is left out.\n\
         ignore-checking-items: [version]\n\
         target-database:\n  host: 127.0.0.1\n  port: {}\n  user: {USER}\n  password: \"{}\"\n\
         mysql-instances:\n",
        downstream.port(),
        downstream.password(),
    );
    for server in 0..servers {
        let id = source_id(server);
        text += &format!(
            "  - source-id: {id}\n    route-rules: [databases, shards]\n    block-allow-list: shop\n"
        );
    }
    let (database, table) = TARGET;
    text += &format!(
        "routes:\n  \
           databases:\n    schema-pattern: \"shop_*\"\n    target-schema: {database}\n  \
           shards:\n    schema-pattern: \"shop_*\"\n    table-pattern: \"orders_*\"\n    target-schema: {database}\n    target-table: {table}\n\
         block-allow-list:\n  shop:\n    do-dbs: [\"~^shop_\"]\n"
    );
    text
}

fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    std::fs::write(&path, text).map_err(Error::io(format!("write {}", path.display())))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_numbered_across_servers_and_have_ranges_of_their_own() {
        let all = shards(2, 2);
        let names: Vec<String> = all.iter().map(Shard::to_string).collect();
        assert_eq!(
            names,
            [
                "shop_1.orders_1",
                "shop_1.orders_2",
                "shop_2.orders_3",
                "shop_2.orders_4"
            ]
        );
        assert!(
            all.windows(2)
                .all(|pair| pair[0].first_id() < pair[1].first_id())
        );
    }
}
