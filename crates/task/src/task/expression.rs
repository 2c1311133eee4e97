//! The rules for expression filters.

use dm_errors::{Code, DmError, List};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

use crate::subtask::ExpressionFilter;

impl ExpressionFilter {
    /// Both names, well-formed expressions, and expressions for one kind of change only.
    pub(super) fn verify(&self, name: &str) -> Result<(), DmError> {
        for (key, value) in [("schema", &self.schema), ("table", &self.table)] {
            if value.is_empty() {
                return Err(DmError::new(
                    Code::CONFIG_EXPR_FILTER_EMPTY_NAME,
                    &[&name, &key],
                ));
            }
        }
        let mut groups = Vec::new();
        if !self.insert_value_expr.is_empty() {
            check_grammar(name, &self.insert_value_expr)?;
            groups.push(format!("insert: [{}]", self.insert_value_expr));
        }
        let mut update = Vec::new();
        for (side, text) in [
            ("old", &self.update_old_value_expr),
            ("new", &self.update_new_value_expr),
        ] {
            if !text.is_empty() {
                check_grammar(name, text)?;
                update.push(format!("update ({side} value): [{text}]"));
            }
        }
        if !update.is_empty() {
            groups.push(update.join(" "));
        }
        if !self.delete_value_expr.is_empty() {
            check_grammar(name, &self.delete_value_expr)?;
            groups.push(format!("delete: [{}]", self.delete_value_expr));
        }
        match groups.len() {
            0 | 1 => Ok(()),
            _ => Err(DmError::new(
                Code::CONFIG_EXPR_FILTER_MANY_EXPR,
                &[&name, &List(&groups)],
            )),
        }
    }
}

fn check_grammar(name: &str, expression: &str) -> Result<(), DmError> {
    let parsed = Parser::parse_sql(&MySqlDialect {}, &format!("select {expression}"));
    parsed.map(drop).map_err(|error| {
        DmError::new(
            Code::CONFIG_EXPR_FILTER_WRONG_GRAMMAR,
            &[&name, &expression, &error],
        )
    })
}
