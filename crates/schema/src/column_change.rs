//! Which column a DDL adds or drops: all that the coordinator of optimistic sharding reads of a DDL's text.

use crate::ddl::{Action, Change, Statement};
use crate::lexer::{Options, ReadError};
use crate::reader::read;

/// A column that comes or goes, in the spelling of the DDL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ColumnChange {
    /// `ADD COLUMN`.
    Added(String),
    /// `DROP COLUMN`.
    Dropped(String),
}

/// What the first specification of an ALTER TABLE does to a column; `None` for other specifications and other statements (spec optimist P2).
/// The text is read in the default SQL mode.
pub fn column_change(ddl: &str) -> Result<Option<ColumnChange>, ReadError> {
    let Statement::Ddl(changes) = read(ddl, &Options::default())? else {
        return Ok(None);
    };
    Ok(match changes.into_iter().next().map(|ddl| ddl.action) {
        Some(Action::Alter { change, .. }) => match change {
            Change::AddColumn { column, .. } => Some(ColumnChange::Added(column.name)),
            Change::DropColumn { name } => Some(ColumnChange::Dropped(name)),
            _ => None,
        },
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_specification_says_which_column_comes_or_goes() {
        let added = |name: &str| Some(ColumnChange::Added(name.to_owned()));
        let dropped = |name: &str| Some(ColumnChange::Dropped(name.to_owned()));
        let cases = [
            (
                "ALTER TABLE `db`.`tbl` ADD COLUMN `Cc` INT AFTER `a`",
                added("Cc"),
            ),
            ("alter table t add c varchar(5) not null", added("c")),
            ("ALTER TABLE t ADD COLUMN (a INT, b INT)", added("a")),
            ("ALTER TABLE t ADD COLUMN IF NOT EXISTS a INT", added("a")),
            ("ALTER TABLE `db`.`tbl` DROP COLUMN `CC`", dropped("CC")),
            ("ALTER TABLE t DROP a, ADD b INT", dropped("a")),
            ("ALTER TABLE t ADD INDEX i(a), DROP COLUMN b", None),
            ("ALTER TABLE t MODIFY COLUMN a BIGINT", None),
            ("ALTER TABLE t CHANGE COLUMN a b INT", None),
            ("ALTER TABLE t RENAME COLUMN a TO b", None),
            ("ALTER TABLE t DROP PRIMARY KEY", None),
            ("ALTER TABLE t COMMENT = 'x'", None),
            (
                "ALTER TABLE t ADD PARTITION (PARTITION p1 VALUES LESS THAN (10000))",
                None,
            ),
            ("TRUNCATE TABLE t", None),
            ("CREATE INDEX i ON t (a)", None),
        ];
        for (ddl, expected) in cases {
            assert_eq!(column_change(ddl), Ok(expected), "{ddl}");
        }
    }

    #[test]
    fn a_text_that_is_no_statement_is_an_error() {
        assert!(column_change("ALTER TABLE").is_err());
        assert!(column_change("invalid").is_err());
    }
}
