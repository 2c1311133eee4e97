//! Which tables of a source take part in a task, and under which name they arrive.

use std::sync::Arc;

use dm_errors::{Code, DmError};
use dm_task::SubtaskConfig;
use dm_task::block_allow::{self, is_system_schema};
use dm_task::filter::{Action, EventFilter};
use dm_task::ghost::{Ghosts, Part};
use dm_task::route::Router;

use crate::condition::Filters;
use crate::names::TableName;

/// Compiled block-allow-list, routes and filters of one subtask.
#[derive(Clone, Debug)]
pub struct Rules {
    filter: block_allow::Filter,
    router: Router,
    events: EventFilter,
    ghosts: Ghosts,
    expressions: Arc<Filters>,
}

impl Rules {
    /// Compiles what the subtask says.
    pub fn new(config: &SubtaskConfig) -> Result<Self, DmError> {
        let (events, dropped) = EventFilter::new(&config.filter_rules, config.case_sensitive);
        for rule in dropped {
            tracing::warn!(%rule, "event filter left out");
        }
        Ok(Self {
            filter: config.table_filter()?,
            router: config
                .router()
                .map_err(|e| DmError::new(Code::SYNCER_UNIT_GEN_TABLE_ROUTER, &[]).cause(e))?,
            events,
            ghosts: Ghosts::new(config),
            expressions: Arc::new(Filters::new(&config.expression_filters)?),
        })
    }

    /// Whether a table takes part; an empty table name asks for the schema. A tool's own tables never do.
    pub fn allows(&self, schema: &str, table: &str) -> bool {
        !is_system_schema(schema)
            && self.filter.allows(schema, table)
            && self.ghosts.part(table) == Part::Real
    }

    /// Expressions by which rows are left out.
    pub fn filters(&self) -> &Filters {
        &self.expressions
    }

    /// What a table is in a change that a tool makes to a table that takes part; without such a one it is any table.
    pub fn part(&self, table: &TableName) -> Part {
        match self.ghosts.part(&table.table) {
            Part::Shadow(real) if !self.allows(&table.schema, &real) => Part::Real,
            part => part,
        }
    }

    /// The name downstream. Contradictory routes leave a table where it is, as they do in DM.
    pub fn target(&self, table: &TableName) -> TableName {
        match self.router.route(&table.schema, &table.table) {
            Ok((schema, table)) => TableName::new(schema, table),
            Err(error) => {
                tracing::warn!(%table, %error, "no single route: the table keeps its name");
                table.clone()
            }
        }
    }

    /// The schema's name downstream.
    pub fn target_schema(&self, schema: &str) -> String {
        match self.router.route(schema, "") {
            Ok((schema, _)) => schema,
            Err(_) => schema.to_owned(),
        }
    }

    /// Whether the event filters let an event of a table through; the error is a rule with the action `Error`.
    pub fn lets_through(
        &self,
        table: &TableName,
        event: &str,
        sql: Option<&str>,
    ) -> Result<bool, DmError> {
        match self.events.decide(&table.schema, &table.table, event, sql) {
            Action::Do => Ok(true),
            Action::Ignore => Ok(false),
            Action::Error => Err(DmError::new(
                Code::SYNCER_UNIT_BINLOG_EVENT_FILTER,
                &[&event, table],
            )),
        }
    }
}
