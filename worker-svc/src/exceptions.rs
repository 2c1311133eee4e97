//! What a user has ordered for single statements of the log (`binlog skip`, `replace`, `inject`): kept in memory, by the place where the statement begins,
//! until replication has come past it. Pure.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dm_errors::{Code, DmError};
use dm_schema::{Action, Ddl, Options, Statement};

use crate::binlog::position::Position;

/// What happens in place of a statement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Exception {
    /// Nothing; the structures follow it all the same.
    Skip,
    /// Other statements.
    Replace(Vec<String>),
    /// Other statements, and then it.
    Inject(Vec<String>),
}

/// All of one subtask, shared by those who order and those who follow.
#[derive(Clone, Debug, Default)]
pub struct Exceptions(Arc<Mutex<BTreeMap<Position, Exception>>>);

impl Exceptions {
    /// Orders something; an order for the same place is replaced.
    pub fn set(&self, at: Position, exception: Exception) {
        self.lock().insert(at, exception);
    }

    /// Takes an order back. Answers whether there was one.
    pub fn revert(&self, at: &Position) -> bool {
        self.lock().remove(at).is_some()
    }

    /// What is ordered for the statement that begins there.
    pub fn at(&self, place: &Position) -> Option<Exception> {
        self.lock().get(place).cloned()
    }

    /// All, in the order of the log; those before a place only.
    pub fn all(&self, from: Option<&Position>) -> Vec<(Position, Exception)> {
        let all = self.lock();
        let all = all
            .iter()
            .filter(|(at, _)| from.is_none_or(|from| *at >= from));
        all.map(|(at, exception)| (at.clone(), exception.clone()))
            .collect()
    }

    /// Forgets what lies before `place`.
    pub fn passed(&self, place: &Position) {
        self.lock().retain(|at, _| at >= place);
    }

    /// A change is one call, so a poisoned lock holds whole ones.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Position, Exception>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the statements of an order: DDL only, and each names its schemas, since there is no session to fill them in.
pub fn read(sqls: &[String]) -> Result<Vec<Ddl>, DmError> {
    let mut all = Vec::new();
    for sql in sqls {
        let statement = dm_schema::read(sql, &Options::default()).map_err(|error| {
            let text = format!("{error}, in: {sql}");
            DmError::new(Code::SYNCER_PARSE_DDL, &[&text])
        })?;
        let Statement::Ddl(ddls) = statement else {
            return Err(DmError::new(Code::SYNCER_UNIT_INJECT_DDL_ONLY, &[sql]));
        };
        if !ddls.iter().all(names_schema) {
            let code = Code::SYNCER_UNIT_INJECT_DDL_WITHOUT_SCHEMA;
            return Err(DmError::new(code, &[sql]));
        }
        all.extend(ddls);
    }
    Ok(all)
}

fn names_schema(ddl: &Ddl) -> bool {
    match &ddl.action {
        Action::AlterDatabase(schema) => schema.is_some(),
        _ => ddl.table().is_none_or(|table| table.schema.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pos: u64) -> Position {
        Position::new("b.000001", pos)
    }

    #[test]
    fn an_order_lasts_until_its_statement_is_done_with() {
        let exceptions = Exceptions::default();
        for pos in [10, 20, 30] {
            exceptions.set(at(pos), Exception::Skip);
        }
        exceptions.passed(&at(20));
        let left: Vec<u64> = exceptions.all(None).iter().map(|(at, _)| at.pos).collect();
        assert_eq!(left, [20, 30]);
        assert_eq!(exceptions.all(Some(&at(21))).len(), 1);
        assert!(exceptions.revert(&at(20)));
        assert!(!exceptions.revert(&at(20)));
        assert_eq!(exceptions.at(&at(30)), Some(Exception::Skip));
    }

    #[test]
    fn only_ddl_that_names_its_schema_can_take_the_place_of_a_statement() {
        let code = |sql: &str| {
            let read = read(&[sql.to_owned()]);
            read.map(|ddls| ddls.len()).map_err(|e| e.code().number())
        };
        assert_eq!(
            code("ALTER TABLE a.t ADD COLUMN c INT, DROP COLUMN d"),
            Ok(2)
        );
        assert_eq!(code("CREATE DATABASE a"), Ok(1));
        assert_eq!(code("ALTER TABLE t ADD COLUMN c INT"), Err(36024));
        assert_eq!(code("INSERT INTO a.t VALUES (1)"), Err(36023));
        assert_eq!(code("ALTER TABLE"), Err(36067));
    }
}
