//! Conditions of expression filters: read, and written anew for the source to judge rows by. Pure.
//!
//! Nobody compares values as a server does but a server, so the condition is put to the source, whose values these are. Only what is listed here passes, in
//! words of our own: a condition can neither reach for anything but its row, nor mean something else to the server than it did to the reader. The reader's
//! idea of what binds more tightly differs from the server's in places: an operand that binds less tightly than its place needs must stand in parentheses.

mod filters;
mod value;

use std::collections::BTreeMap;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectNamePart, UnaryOperator, Value,
};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

use crate::downstream::connection::text;
use crate::names::quoted;

pub(crate) use filters::refused;
pub use filters::{Filter, Filters};
pub use value::typed;

/// Functions that make something of their arguments and nothing else.
const FUNCTIONS: [&str; 36] = [
    "ABS",
    "CHAR_LENGTH",
    "COALESCE",
    "CONCAT",
    "DATE",
    "DAY",
    "DAYOFWEEK",
    "FIND_IN_SET",
    "GREATEST",
    "HEX",
    "HOUR",
    "IF",
    "IFNULL",
    "INSTR",
    "LCASE",
    "LEAST",
    "LEFT",
    "LENGTH",
    "LOCATE",
    "LOWER",
    "LPAD",
    "LTRIM",
    "MINUTE",
    "MOD",
    "MONTH",
    "NULLIF",
    "REPLACE",
    "REVERSE",
    "RIGHT",
    "ROUND",
    "RTRIM",
    "SECOND",
    "SIGN",
    "UCASE",
    "UPPER",
    "YEAR",
];

/// How tightly an expression binds, in the order of the server.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Level {
    Or,
    And,
    Not,
    Compared,
    Sum,
    Product,
    Single,
}

/// A condition on the columns of one row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Condition {
    /// The text as it was given.
    pub given: String,
    /// The same in SQL of our own.
    pub sql: String,
    /// The columns in it as they are called there, by their names in lower case.
    pub columns: BTreeMap<String, String>,
}

/// Why a text is no condition that can be judged.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConditionError {
    /// No SQL.
    #[error("{0}")]
    Grammar(String),
    /// Something that no condition may have.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// It could be read in two ways.
    #[error("put `{0}` in parentheses")]
    Unclear(String),
    /// A value that is neither true nor false.
    #[error("it is no condition: compare it with something")]
    NoCondition,
}

impl Condition {
    /// Reads a condition.
    pub fn parse(given: &str) -> Result<Self, ConditionError> {
        for (mark, what) in [
            ("\\", "a backslash"),
            ("/*", "a comment"),
            ("--", "`--`"),
            ("#", "`#`"),
        ] {
            if given.contains(mark) {
                return Err(ConditionError::Unsupported(what.to_owned()));
            }
        }
        let grammar =
            |error: sqlparser::parser::ParserError| ConditionError::Grammar(error.to_string());
        let dialect = MySqlDialect {};
        let mut parser = Parser::new(&dialect).try_with_sql(given).map_err(grammar)?;
        let expr = parser.parse_expr().map_err(grammar)?;
        if parser.peek_token().token != sqlparser::tokenizer::Token::EOF {
            return Err(ConditionError::Grammar(format!(
                "unexpected {}",
                parser.peek_token()
            )));
        }
        let mut writer = Writer::default();
        let level = writer.write(&expr)?;
        if level > Level::Compared && !is_condition(&expr) {
            return Err(ConditionError::NoCondition);
        }
        Ok(Self {
            given: given.to_owned(),
            sql: writer.sql,
            columns: writer.columns,
        })
    }
}

/// Whether something in parentheses is one.
fn is_condition(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_condition(inner),
        other => Writer::default()
            .write(other)
            .is_ok_and(|level| level <= Level::Compared),
    }
}

#[derive(Default)]
struct Writer {
    sql: String,
    columns: BTreeMap<String, String>,
}

impl Writer {
    fn write(&mut self, expr: &Expr) -> Result<Level, ConditionError> {
        use Level::{Compared, Single, Sum};
        match expr {
            Expr::Identifier(name) => self.column(name),
            Expr::Value(value) => self.value(&value.value),
            Expr::Nested(inner) => {
                self.sql.push('(');
                self.write(inner)?;
                self.sql.push(')');
                Ok(Single)
            }
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            Expr::UnaryOp { op, expr } => self.unary(op, expr),
            Expr::IsNull(of) => self.is(of, "NULL"),
            Expr::IsNotNull(of) => self.is(of, "NOT NULL"),
            Expr::IsTrue(of) => self.is(of, "TRUE"),
            Expr::IsNotTrue(of) => self.is(of, "NOT TRUE"),
            Expr::IsFalse(of) => self.is(of, "FALSE"),
            Expr::IsNotFalse(of) => self.is(of, "NOT FALSE"),
            Expr::IsUnknown(of) => self.is(of, "UNKNOWN"),
            Expr::IsNotUnknown(of) => self.is(of, "NOT UNKNOWN"),
            Expr::InList {
                expr,
                list,
                negated,
            } => {
                self.operand(expr, Sum)?;
                self.word(*negated, "IN (");
                self.list(list)?;
                Ok(Compared)
            }
            Expr::Between {
                expr,
                negated,
                low,
                high,
            } => {
                self.operand(expr, Sum)?;
                self.word(*negated, "BETWEEN ");
                self.operand(low, Sum)?;
                self.sql.push_str(" AND ");
                self.operand(high, Sum)?;
                Ok(Compared)
            }
            Expr::Like {
                negated,
                any: false,
                expr,
                pattern,
                escape_char,
            } => {
                self.operand(expr, Sum)?;
                self.word(*negated, "LIKE ");
                self.operand(pattern, Single)?;
                if let Some(escape) = escape_char {
                    self.sql.push_str(" ESCAPE ");
                    self.operand(escape, Single)?;
                }
                Ok(Compared)
            }
            Expr::Function(function) => self.function(function),
            other => Err(unsupported(&format!("`{other}`"))),
        }
    }

    /// An operand in a place that needs one which binds so tightly at least.
    fn operand(&mut self, expr: &Expr, least: Level) -> Result<(), ConditionError> {
        if self.write(expr)? < least {
            return Err(ConditionError::Unclear(expr.to_string()));
        }
        Ok(())
    }

    fn unary(&mut self, op: &UnaryOperator, of: &Expr) -> Result<Level, ConditionError> {
        let (word, level) = match op {
            UnaryOperator::Not => ("NOT ", Level::Not),
            UnaryOperator::Minus => ("- ", Level::Single),
            UnaryOperator::Plus => ("+ ", Level::Single),
            other => return Err(unsupported(&format!("`{other}`"))),
        };
        self.sql.push_str(word);
        self.operand(of, level)?;
        Ok(level)
    }

    fn binary(
        &mut self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
    ) -> Result<Level, ConditionError> {
        use Level::{And, Compared, Or, Product, Single, Sum};
        // What the sides must be; a second operator of the same kind stands on the left.
        let (level, least_left, least_right) = match op {
            BinaryOperator::Or => (Or, Or, Or),
            BinaryOperator::And => (And, And, And),
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
            | BinaryOperator::Spaceship => (Compared, Sum, Sum),
            BinaryOperator::Plus | BinaryOperator::Minus => (Sum, Sum, Product),
            BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
            | BinaryOperator::MyIntegerDivide => (Product, Product, Single),
            other => return Err(unsupported(&format!("`{other}`"))),
        };
        self.operand(left, least_left)?;
        self.sql.push_str(&format!(" {op} "));
        self.operand(right, least_right)?;
        Ok(level)
    }

    fn is(&mut self, of: &Expr, what: &str) -> Result<Level, ConditionError> {
        self.operand(of, Level::Sum)?;
        self.sql.push_str(" IS ");
        self.sql.push_str(what);
        Ok(Level::Compared)
    }

    fn word(&mut self, negated: bool, word: &str) {
        self.sql.push_str(if negated { " NOT " } else { " " });
        self.sql.push_str(word);
    }

    /// The rest of a list behind its parenthesis.
    fn list<'a>(&mut self, list: impl IntoIterator<Item = &'a Expr>) -> Result<(), ConditionError> {
        for (nth, item) in list.into_iter().enumerate() {
            if nth > 0 {
                self.sql.push_str(", ");
            }
            self.write(item)?;
        }
        self.sql.push(')');
        Ok(())
    }

    fn column(&mut self, name: &Ident) -> Result<Level, ConditionError> {
        let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let is_name = match name.quote_style {
            None => name.value.chars().all(plain),
            Some(quote) => quote == '`',
        };
        if !is_name {
            return Err(unsupported(&format!("the name {name}")));
        }
        let known = self.columns.entry(name.value.to_lowercase());
        let name = known.or_insert_with(|| name.value.clone());
        self.sql.push_str(&quoted(name));
        Ok(Level::Single)
    }

    fn value(&mut self, value: &Value) -> Result<Level, ConditionError> {
        match value {
            Value::Number(number, false) => self.sql.push_str(number),
            Value::SingleQuotedString(value) | Value::DoubleQuotedString(value) => {
                self.sql.push_str(&text(value));
            }
            Value::Boolean(true) => self.sql.push_str("TRUE"),
            Value::Boolean(false) => self.sql.push_str("FALSE"),
            Value::Null => self.sql.push_str("NULL"),
            other => return Err(unsupported(&format!("`{other}`"))),
        }
        Ok(Level::Single)
    }

    fn function(&mut self, function: &Function) -> Result<Level, ConditionError> {
        let refused = || unsupported(&format!("`{function}`"));
        let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else {
            return Err(refused());
        };
        let name = name.value.to_uppercase();
        let plain = Function {
            args: FunctionArguments::None,
            ..function.clone()
        };
        let FunctionArguments::List(arguments) = &function.args else {
            return Err(refused());
        };
        let bare = plain.to_string() == function.name.to_string()
            && arguments.duplicate_treatment.is_none()
            && arguments.clauses.is_empty();
        if !bare || !FUNCTIONS.contains(&name.as_str()) {
            return Err(refused());
        }
        let mut list = Vec::new();
        for argument in &arguments.args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument else {
                return Err(refused());
            };
            list.push(argument);
        }
        self.sql.push_str(&name);
        self.sql.push('(');
        self.list(list)?;
        Ok(Level::Single)
    }
}

fn unsupported(what: &str) -> ConditionError {
    ConditionError::Unsupported(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(given: &str) -> String {
        Condition::parse(given).unwrap().sql
    }

    #[test]
    fn what_is_listed_is_written_anew() {
        assert_eq!(
            sql("id > 5 and Name = 'it''s'"),
            "`id` > 5 AND `Name` = 'it''s'"
        );
        assert_eq!(
            sql("not a in (1, -2, null) or b not between 1 and 2 + 3 or c is not null"),
            "NOT `a` IN (1, - 2, NULL) OR `b` NOT BETWEEN 1 AND 2 + 3 OR `c` IS NOT NULL"
        );
        assert_eq!(
            sql("(`a b` <=> \"x\") is true and lower(c) like 'x|%%' escape '|'"),
            "(`a b` <=> 'x') IS TRUE AND LOWER(`c`) LIKE 'x|%%' ESCAPE '|'"
        );
        assert_eq!(
            sql("a - b - 1 < 2 * c div 3"),
            "`a` - `b` - 1 < 2 * `c` DIV 3"
        );
        let columns = Condition::parse("A > 1 and a < b").unwrap().columns;
        assert_eq!(columns.into_keys().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn all_else_is_refused_by_name() {
        for given in [
            "a = (select 1)",
            "exists (select 1)",
            "sleep(5) = 1",
            "a = @b",
            "a = @@version",
            "t.a = 1",
            "a || b = 1",
            "a xor b",
            "a & 1 = 1",
            "! a = 1",
            "count(*) > 1",
            "a = current_timestamp",
            "case when a then 1 end = 1",
            "a regexp 'x'",
            "cast(a as char) = 1",
            "a = date '2020-01-01'",
            "a = ?",
            "a in (select 1)",
            "a = n'x'",
            "concat(distinct a) = 1",
            "abs(a) over () = 1",
            "a = 'x' collate utf8mb4_bin",
            r"a = 'x\'' or 1 = 1",
            "a = 1 /*! or 1 = 1 */",
            "a = 1 -- b",
        ] {
            assert!(
                matches!(
                    Condition::parse(given),
                    Err(ConditionError::Unsupported(_) | ConditionError::Grammar(_))
                ),
                "{given}: {:?}",
                Condition::parse(given)
            );
        }
        for given in ["", "a =", "a = 1; b", "a = 1 b", "(a = 1"] {
            assert!(
                matches!(Condition::parse(given), Err(ConditionError::Grammar(_))),
                "{given}"
            );
        }
        for given in ["a", "1", "a + 1", "(a)", "ifnull(a, 1)"] {
            assert_eq!(
                Condition::parse(given),
                Err(ConditionError::NoCondition),
                "{given}"
            );
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_needs_parentheses() {
        for given in [
            "a = b = c",
            "a like b = c",
            "a = b is null",
            "a between 1 and 2 = 1",
            "a > b in (1)",
            "- a + b * - c = not d",
        ] {
            assert!(
                matches!(Condition::parse(given), Err(ConditionError::Unclear(_))),
                "{given}: {:?}",
                Condition::parse(given)
            );
        }
        assert_eq!(sql("(a = b) = c"), "(`a` = `b`) = `c`");
    }
}
