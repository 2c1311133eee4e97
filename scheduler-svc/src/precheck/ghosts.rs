//! Item `online_ddl`: a table that a tool such as gh-ost is changing right now cannot be replicated from its beginning.

use dm_task::SubtaskConfig;

use super::report::{Check, Finding, State};
use super::scope::{Listing, Scope, TableName};

/// Looks for shadow tables in the schemas that take part, whose real tables take part.
pub(crate) fn online_ddl(subtask: &SubtaskConfig, listing: &Listing, scope: &Scope) -> Check {
    let mut check = Check::new(
        "online ddl checker",
        "whether a tool is changing a table of the task right now",
    );
    let filter = match subtask.table_filter() {
        Ok(filter) => filter,
        Err(error) => {
            let finding = Finding::fail(error.message_text());
            return check.found(State::Fail, finding);
        }
    };
    let schemas = scope.schemas();
    let mut shadows = Vec::new();
    for (schema, tables) in listing.iter().filter(|(s, _)| schemas.contains(s.as_str())) {
        for table in tables {
            let real = subtask.real_name(table);
            if real.is_some_and(|real| filter.allows(schema, &real)) {
                shadows.push(TableName::new(schema, table));
            }
        }
    }
    if shadows.is_empty() {
        check.extra = "online ddl".to_owned();
        return check;
    }
    for shadow in shadows {
        let mut finding = Finding::fail("your ddl is in pt/ghost online-ddl");
        finding.own = shadow.to_string();
        check = check.found(State::Fail, finding);
    }
    check.extra = "please wait the online-ddl over".to_owned();
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shadow_table_of_a_table_that_takes_part_fails_the_check() {
        let mut subtask = SubtaskConfig {
            name: "t".into(),
            source_id: "s".into(),
            online_ddl: true,
            ..SubtaskConfig::default()
        };
        subtask.adjust().unwrap();
        let check = |tables: &[&str]| {
            let tables = tables.iter().map(|t| (*t).to_owned()).collect();
            let listing = Listing::from([("shop".to_owned(), tables)]);
            let scope = Scope::of(&subtask, &listing).unwrap();
            online_ddl(&subtask, &listing, &scope)
        };
        let clean = check(&["orders", "_orders_old", "_old"]);
        assert_eq!(
            (clean.state, clean.extra.as_str()),
            (State::Success, "online ddl")
        );
        let busy = check(&["orders", "_orders_gho"]);
        assert_eq!(busy.state, State::Fail);
        assert_eq!(busy.errors[0].own, "`shop`.`_orders_gho`");
        assert_eq!(
            busy.errors[0].short_error,
            "your ddl is in pt/ghost online-ddl"
        );
        assert_eq!(busy.extra, "please wait the online-ddl over");
    }
}
