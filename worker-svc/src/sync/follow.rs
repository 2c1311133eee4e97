//! Structures in both of their forms follow what the log says: as rows need them, and as DM keeps them for users and other workers.

use dm_schema::table_info::TableInfo;
use dm_schema::{Action, Change, Ddl};
use mysql_async::Conn;

use super::engine::Engine;
use crate::error::Result;
use crate::names::TableName;
use crate::unit::Context;
use crate::upstream::{Described, schema_defaults};

impl Engine {
    /// Follows one statement.
    pub(super) async fn follow(&mut self, ddl: &Ddl) -> Result<()> {
        self.structures.follow(&ddl.action)?;
        let table = match &ddl.action {
            Action::CreateTable {
                table, like: None, ..
            } => table,
            Action::Alter { table, change } if !matches!(change, Change::RenameTo(_)) => table,
            _ => return Ok(()),
        };
        let table = TableName::from(table);
        if self.structures.get(&table).is_some() {
            let defaults = self.defaults(&table.schema).await?;
            self.structures.describe(&table, ddl, &defaults);
        }
        Ok(())
    }
}

/// The structure of a table of the source as DM keeps it. Outside of optimistic shard mode nothing but what users are shown hangs on it, so that a definition
/// which is not understood is no error there.
pub async fn info_of(
    unit: &Context,
    conn: &mut Conn,
    table: &TableName,
    described: &Described,
) -> Result<Option<TableInfo>> {
    let defaults = schema_defaults(conn, &table.schema).await?;
    match described.table_info(table, &defaults) {
        Ok(info) => Ok(Some(info)),
        Err(error) if unit.is_optimistic() => Err(error),
        Err(error) => {
            tracing::warn!(%table, error = %error.to_dm(), "the definition of the table is not kept");
            Ok(None)
        }
    }
}
