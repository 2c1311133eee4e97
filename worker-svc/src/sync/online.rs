//! Changes that a tool makes with a copy of the table: gh-ost and pt-online-schema-change. Pure.
//!
//! The tool changes the copy, fills it, and gives it the table's name in the end. What it did to the copy is remembered, and is what happens to the table at
//! the rename; the rest of its work is passed over.

use std::collections::BTreeMap;

use dm_errors::{Code, DmError};
use dm_schema::{Action, Change, Ddl, Options, Statement, TableRef};
use dm_task::ghost::Part;

use crate::names::TableName;
use crate::rules::Rules;

/// What was done to each copy, as statements on the table that it is to replace.
pub type Copies = BTreeMap<TableName, Vec<String>>;

/// The statements of one event without those of a tool's own, and with what a copy brings to its table. Notes what is done to copies.
pub fn effective(ddls: Vec<Ddl>, rules: &Rules, copies: &mut Copies) -> Result<Vec<Ddl>, DmError> {
    let mut effective = Vec::new();
    for ddl in ddls {
        match (renamed(&ddl.action), ddl.table()) {
            (Some((from, to)), _) => {
                let (from, to) = (TableName::from(from), TableName::from(to));
                match (rules.part(&from), rules.part(&to)) {
                    (Part::Real, Part::Real) => effective.push(ddl),
                    (Part::Real | Part::Trash, Part::Trash) => {}
                    (Part::Shadow(real), Part::Real)
                        if real == to.table && from.schema == to.schema =>
                    {
                        effective.extend(brought(&from, copies)?);
                    }
                    (Part::Real, Part::Shadow(_)) => {
                        let code = Code::SYNCER_UNIT_GHOST_RENAME_TO_GHOST_TABLE;
                        return Err(DmError::new(code, &[&text(&ddl)]));
                    }
                    (Part::Shadow(_) | Part::Trash, _) => {
                        let code = Code::SYNCER_UNIT_GHOST_RENAME_GHOST_TBL_TO_OTHER;
                        return Err(DmError::new(code, &[&text(&ddl)]));
                    }
                }
            }
            (None, Some(table)) => {
                let table = TableName::from(table);
                match rules.part(&table) {
                    Part::Real => effective.push(ddl),
                    Part::Trash => {}
                    Part::Shadow(real) => note(&ddl, table, &real, copies),
                }
            }
            (None, None) => effective.push(ddl),
        }
    }
    Ok(effective)
}

fn renamed(action: &Action) -> Option<(&TableRef, &TableRef)> {
    match action {
        Action::RenameTable { from, to }
        | Action::Alter {
            table: from,
            change: Change::RenameTo(to),
        } => Some((from, to)),
        _ => None,
    }
}

fn text(ddl: &Ddl) -> String {
    ddl.render(TableRef::clone)
}

/// Something was done to a copy.
fn note(ddl: &Ddl, copy: TableName, real: &str, copies: &mut Copies) {
    match &ddl.action {
        Action::CreateTable { .. } => {
            copies.insert(copy, Vec::new());
        }
        Action::DropTable(_) => {
            copies.remove(&copy);
        }
        Action::Alter { .. } => {
            let table = TableName::new(copy.schema.as_str(), real);
            let on_real = ddl.render(|t| match TableName::from(t) == copy {
                true => (&table).into(),
                false => t.clone(),
            });
            copies.entry(copy).or_default().push(on_real);
        }
        // Rows of a copy do not count.
        _ => {}
    }
}

/// A copy takes the place of its table, which becomes what the copy is.
fn brought(copy: &TableName, copies: &mut Copies) -> Result<Vec<Ddl>, DmError> {
    let noted = copies.remove(copy).ok_or_else(|| {
        let code = Code::SYNCER_UNIT_GHOST_ONLINE_DDL_ON_GHOST_TBL;
        DmError::new(code, &[&copy.schema, &copy.table])
            .workaround("The change of the table began before the task did: make the same change downstream, and start the task behind it.")
    })?;
    let mut ddls = Vec::new();
    for sql in noted {
        match dm_schema::read(&sql, &Options::default()) {
            Ok(Statement::Ddl(read)) => ddls.extend(read),
            Ok(_) => {}
            Err(error) => {
                let text = format!("{error}, in: {sql}");
                return Err(DmError::new(Code::SYNCER_PARSE_DDL, &[&text]));
            }
        }
    }
    Ok(ddls)
}

#[cfg(test)]
mod tests {
    use dm_task::SubtaskConfig;

    use super::*;

    fn rules() -> Rules {
        let mut config = SubtaskConfig {
            name: "t".into(),
            source_id: "s".into(),
            online_ddl: true,
            ..SubtaskConfig::default()
        };
        config.adjust().unwrap();
        Rules::new(&config).unwrap()
    }

    /// What remains of each statement.
    fn run(statements: &[&str]) -> Result<Vec<String>, DmError> {
        let (rules, mut copies) = (rules(), Copies::new());
        let mut all = Vec::new();
        for sql in statements {
            let Ok(Statement::Ddl(mut ddls)) = dm_schema::read(sql, &Options::default()) else {
                panic!("{sql}");
            };
            ddls.iter_mut().for_each(|ddl| ddl.set_default_schema("d"));
            all.extend(effective(ddls, &rules, &mut copies)?.iter().map(text));
        }
        Ok(all)
    }

    #[test]
    fn a_change_by_gh_ost_happens_to_the_table_at_the_rename() {
        let all = run(&[
            "CREATE TABLE _t_ghc (id BIGINT)",
            "CREATE TABLE _t_gho LIKE t",
            "ALTER TABLE _t_gho ADD COLUMN c INT, DROP COLUMN d",
            "CREATE TABLE _t_del (id INT) COMMENT='ghost-cut-over-sentry'",
            "DROP TABLE IF EXISTS _t_del",
            "RENAME TABLE t TO _t_del, _t_gho TO t",
            "DROP TABLE _t_ghc, _t_del",
            "ALTER TABLE t ADD COLUMN e INT",
        ]);
        assert_eq!(
            all.unwrap(),
            [
                "ALTER TABLE `d`.`t` ADD COLUMN `c` INT",
                "ALTER TABLE `d`.`t` DROP COLUMN `d`",
                "ALTER TABLE `d`.`t` ADD COLUMN `e` INT",
            ]
        );
    }

    #[test]
    fn a_copy_that_is_made_anew_forgets_what_was_done_to_it() {
        let all = run(&[
            "CREATE TABLE _t_new LIKE t",
            "ALTER TABLE _t_new ADD COLUMN c INT",
            "DROP TABLE IF EXISTS _t_new",
            "CREATE TABLE _t_new LIKE t",
            "ALTER TABLE _t_new ADD COLUMN x INT",
            "RENAME TABLE t TO _t_old, _t_new TO t",
            "DROP TABLE IF EXISTS _t_old",
        ]);
        assert_eq!(all.unwrap(), ["ALTER TABLE `d`.`t` ADD COLUMN `x` INT"]);
    }

    #[test]
    fn renames_that_no_tool_makes_are_errors() {
        let code = |sql: &str| {
            let create = "CREATE TABLE _t_gho LIKE t";
            run(&[create, sql]).map_err(|e| e.code().number())
        };
        assert_eq!(code("RENAME TABLE t TO _t_gho"), Err(36044));
        assert_eq!(code("RENAME TABLE _t_gho TO u"), Err(36045));
        assert_eq!(code("RENAME TABLE _t_gho TO _t_new"), Err(36045));
        assert_eq!(code("RENAME TABLE _u_gho TO u"), Err(36046));
        assert_eq!(
            code("RENAME TABLE a TO b"),
            Ok(vec!["RENAME TABLE `d`.`a` TO `d`.`b`".to_owned()])
        );
    }
}
