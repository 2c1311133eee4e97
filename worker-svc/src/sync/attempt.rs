//! A statement of structure is executed once, also when the process dies before it can write that down.
//!
//! Before each statement goes the record of what its table looks like. A run that finds such a record compares: a table that looks otherwise, and as it should
//! after the statement, has had it. What cannot be told from the table (a statement without effect on it, or a hand that has changed it meanwhile) is executed,
//! and what is already so counts as executed.

use dm_schema::{Action, Change, Ddl, Key, Options, Statement, Table};
use mysql_async::Conn;
use serde::{Deserialize, Serialize};

use super::ddl::{self, Execution};
use super::engine::Engine;
use crate::downstream::meta::Kind;
use crate::error::{Result, downstream};
use crate::names::TableName;
use crate::unit::steps::Step;
use crate::upstream;

/// The statement that may be under way when a run ends.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Attempt {
    /// All statements that are executed together.
    pub sqls: Vec<String>,
    /// Which of them; those before it are executed.
    pub nth: usize,
    /// Its table before it, as the downstream would create it; none when there is no such table, or it is about none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

impl Engine {
    /// Executes what is not executed yet. What is already so counts as executed.
    pub(super) async fn attempt(&mut self, conn: &mut Conn, execution: &Execution) -> Result<()> {
        ddl::set_session(conn, &execution.session).await?;
        let from = self.executed(conn, &execution.sqls).await?;
        for (nth, sql) in execution.sqls.iter().enumerate().skip(from) {
            let before = look(conn, only(sql).as_ref()).await?;
            let sqls = execution.sqls.clone();
            self.progress.attempt = Some(Attempt { sqls, nth, before });
            self.write_attempt().await?;
            self.unit.steps.reach(Step::Attempted).await;
            ddl::run(conn, sql).await?;
            self.unit.steps.reach(Step::Executed).await;
        }
        self.progress.attempt = None;
        Ok(())
    }

    /// How many of the statements a run before this one has executed.
    pub(super) async fn executed(&self, conn: &mut Conn, sqls: &[String]) -> Result<usize> {
        let attempt = self.progress.attempt.as_ref();
        let Some(attempt) = attempt.filter(|a| a.sqls == sqls) else {
            return Ok(0);
        };
        let Some(sql) = sqls.get(attempt.nth) else {
            return Ok(0);
        };
        let ddl = only(sql);
        let now = look(conn, ddl.as_ref()).await?;
        let happened =
            ddl.is_some_and(|ddl| has_happened(attempt.before.as_deref(), now.as_deref(), &ddl));
        if happened {
            tracing::info!(sql, "DDL was executed before the run ended");
        }
        Ok(attempt.nth + usize::from(happened))
    }

    /// Without the structures, which may have followed the statement while the position has not.
    async fn write_attempt(&mut self) -> Result<()> {
        let record = self
            .writer
            .records()
            .put(Kind::Progress, "", &self.progress);
        self.writer.commit(vec![record]).await
    }
}

/// The statement in a text of our own making.
fn only(sql: &str) -> Option<Ddl> {
    match dm_schema::read(sql, &Options::default()) {
        Ok(Statement::Ddl(mut ddls)) if ddls.len() == 1 => ddls.pop(),
        _ => None,
    }
}

async fn look(conn: &mut Conn, ddl: Option<&Ddl>) -> Result<Option<String>> {
    let Some(table) = ddl.and_then(Ddl::table).map(TableName::from) else {
        return Ok(None);
    };
    let text = upstream::show_create(conn, "TABLE", &table.to_string())
        .await
        .map_err(downstream(format!("SHOW CREATE TABLE {table}")))?;
    Ok(text.map(|text| without_counter(&text)))
}

/// Rows that are written meanwhile move the next value of an automatic key.
fn without_counter(text: &str) -> String {
    const COUNTER: &str = " AUTO_INCREMENT=";
    // Options stand behind the last parenthesis of the definitions, and a comment behind the counter.
    let options = text.rfind("\n)").unwrap_or_default();
    let Some(at) = text[options..].find(COUNTER).map(|at| options + at) else {
        return text.to_owned();
    };
    let rest = text[at + COUNTER.len()..].trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{}{rest}", &text[..at])
}

/// Whether the way from one structure to the other was this statement.
fn has_happened(before: Option<&str>, now: Option<&str>, ddl: &Ddl) -> bool {
    let (Some(before), Some(now)) = (before, now) else {
        // A table has come, or it has gone: by a CREATE, DROP or RENAME, since nothing else does that.
        return before.is_some() != now.is_some()
            && match &ddl.action {
                Action::CreateTable { .. } => now.is_some(),
                Action::DropTable(_) | Action::RenameTable { .. } => now.is_none(),
                Action::Alter { change, .. } => {
                    matches!(change, Change::RenameTo(_)) && now.is_none()
                }
                _ => false,
            };
    };
    let Action::Alter { table, change } = &ddl.action else {
        return false;
    };
    let name = TableName::from(table);
    let read = |text: &str| upstream::described(&name, text).map(|d| d.structure);
    let (Ok(was), Ok(is)) = (read(before), read(now)) else {
        return false;
    };
    before != now && leads_to(&was, change, &is)
}

/// Compares what a change decides: the columns in their order, and the key that it is about.
fn leads_to(was: &Table, change: &Change, is: &Table) -> bool {
    let mut expected = was.clone();
    if expected.apply(change).is_err() {
        return false;
    }
    let names = |table: &Table| -> Vec<String> {
        let names = table.columns.iter().map(|c| c.name.to_lowercase());
        names.collect()
    };
    let count = |table: &Table, key: &Key| table.keys.iter().filter(|k| same(k, key)).count();
    let has = |name: &str| is.keys.iter().any(|k| k.name.eq_ignore_ascii_case(name));
    let keys = match change {
        Change::AddKey(key) if key.name.is_empty() => count(is, key) > count(was, key),
        Change::AddKey(key) => is
            .keys
            .iter()
            .any(|k| k.name.eq_ignore_ascii_case(&key.name) && same(k, key)),
        Change::DropKey { name } => !has(name),
        Change::RenameKey { old, new } => has(new) && !has(old),
        _ => true,
    };
    keys && names(&expected) == names(is)
}

/// The same columns and the same strictness, whatever the name.
fn same(a: &Key, b: &Key) -> bool {
    let columns = |key: &Key| -> Vec<String> {
        let names = key.columns.iter().map(|c| c.to_lowercase());
        names.collect()
    };
    a.unique == b.unique && columns(a) == columns(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "CREATE TABLE `t` (\n  `id` int(11) NOT NULL,\n  `v` int(11) DEFAULT NULL,\n  PRIMARY KEY (`id`),\n  KEY `k` (`v`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

    /// The statement, and what is replaced in the text of the table by it or by somebody else.
    fn happened(ddl: &str, replace: &[(&str, &str)]) -> bool {
        let now = replace.iter().fold(BEFORE.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        has_happened(Some(BEFORE), Some(&now), &only(ddl).unwrap())
    }

    #[test]
    fn a_table_that_looks_as_before_has_not_had_the_statement() {
        for ddl in [
            "ALTER TABLE m.t ADD INDEX (v)",
            "ALTER TABLE m.t MODIFY v INT",
            "ALTER TABLE m.t ADD CHECK (v > 0)",
        ] {
            assert!(!happened(ddl, &[]), "{ddl}");
        }
    }

    #[test]
    fn a_table_that_looks_as_it_should_has_had_it() {
        let key = ("KEY `k` (`v`)", "KEY `k` (`v`),\n  KEY `v` (`v`)");
        assert!(happened("ALTER TABLE m.t ADD INDEX (v)", &[key]));
        let unique = ("KEY `k` (`v`)", "UNIQUE KEY `v` (`v`),\n  KEY `k` (`v`)");
        assert!(happened("ALTER TABLE m.t ADD UNIQUE (v)", &[unique]));
        assert!(happened(
            "ALTER TABLE m.t DROP INDEX k",
            &[(",\n  KEY `k` (`v`)", "")]
        ));
        let check = (
            "KEY `k` (`v`)",
            "KEY `k` (`v`),\n  CONSTRAINT `CONSTRAINT_1` CHECK (`v` > 0)",
        );
        assert!(happened("ALTER TABLE m.t ADD CHECK (v > 0)", &[check]));
        let foreign = (
            "KEY `k` (`v`)",
            "KEY `k` (`v`),\n  CONSTRAINT `t_ibfk_1` FOREIGN KEY (`v`) REFERENCES `p` (`id`)",
        );
        assert!(happened(
            "ALTER TABLE m.t ADD FOREIGN KEY (v) REFERENCES p (id)",
            &[foreign]
        ));
        assert!(happened(
            "ALTER TABLE m.t MODIFY v BIGINT",
            &[("`v` int(11)", "`v` bigint(20)")]
        ));
        assert!(happened(
            "ALTER TABLE m.t ADD COLUMN c INT FIRST",
            &[("  `id`", "  `c` int(11) DEFAULT NULL,\n  `id`")]
        ));
        assert!(happened(
            "ALTER TABLE m.t CHANGE v w BIGINT",
            &[
                ("`v` int(11)", "`w` bigint(20)"),
                ("KEY `k` (`v`)", "KEY `k` (`w`)")
            ]
        ));
    }

    #[test]
    fn what_somebody_else_has_done_meanwhile_is_not_taken_for_it() {
        let column = ("  `id`", "  `x` int(11) DEFAULT NULL,\n  `id`");
        for ddl in [
            "ALTER TABLE m.t ADD COLUMN c INT",
            "ALTER TABLE m.t ADD INDEX (v)",
            "ALTER TABLE m.t DROP COLUMN v",
            "ALTER TABLE m.t MODIFY v BIGINT",
        ] {
            assert!(!happened(ddl, &[column]), "{ddl}");
        }
    }

    #[test]
    fn a_table_comes_by_create_and_goes_by_drop_and_rename() {
        let create = only("CREATE TABLE m.t (id INT)").unwrap();
        let rename = only("ALTER TABLE m.t RENAME TO m.u").unwrap();
        assert!(has_happened(None, Some(BEFORE), &create));
        assert!(has_happened(Some(BEFORE), None, &rename));
        assert!(!has_happened(Some(BEFORE), None, &create));
        assert!(!has_happened(None, None, &create));
        assert!(!has_happened(None, Some(BEFORE), &rename));
    }

    #[test]
    fn the_counter_of_keys_is_no_structure() {
        let text = format!("{BEFORE} COMMENT=' AUTO_INCREMENT=7'");
        let counting = text.replace("InnoDB", "InnoDB AUTO_INCREMENT=12");
        assert_eq!(without_counter(&counting), text);
        assert_eq!(without_counter(BEFORE), BEFORE);
    }
}
