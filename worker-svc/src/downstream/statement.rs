//! SQL for changed rows. Pure.
//!
//! Values are literals, not parameters: one text may then change many rows of many tables in one exchange.

use std::fmt::Write;

use dm_schema::{Column, Key, Table};

use super::keys;
use crate::binlog::row::{Change, Row};
use crate::binlog::value::Value;
use crate::names::{TableName, quoted};

/// How a change becomes SQL.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// The downstream table.
    pub target: &'a TableName,
    /// Its keys.
    pub keys: &'a [Key],
    /// The structure that the row has upstream.
    pub source: &'a Table,
    /// The change may already have been applied: make it repeatable. Only with a key.
    pub safe: bool,
}

/// A statement, cut so that neighbours with the same head can be joined into one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Statement {
    /// All up to the values, for inserts; the whole statement otherwise.
    pub head: String,
    /// The values in parentheses, for inserts.
    pub tuple: Option<String>,
}

impl Statement {
    fn whole(sql: String) -> Self {
        Self {
            head: sql,
            tuple: None,
        }
    }
}

/// The statements for one change.
pub fn of_change(change: &Change, shape: &Shape<'_>) -> Vec<Statement> {
    match change {
        Change::Insert(row) => vec![insert(row, shape, shape.safe)],
        Change::Delete(row) => vec![delete(row, shape)],
        Change::Update { old, new } if shape.safe => {
            vec![delete(old, shape), insert(new, shape, true)]
        }
        Change::Update { old, new } => vec![update(old, new, shape)],
    }
}

/// Joins neighbours with one head into one statement of at most `max_bytes`, as far as a single tuple allows.
pub fn joined(statements: impl IntoIterator<Item = Statement>, max_bytes: usize) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut open_head: Option<String> = None;
    for Statement { head, tuple } in statements {
        let Some(tuple) = tuple else {
            open_head = None;
            out.push(head);
            continue;
        };
        let fits = |last: &String| last.len() + tuple.len() < max_bytes;
        match out.last_mut().filter(|last| fits(last)) {
            Some(last) if open_head.as_deref() == Some(&head) => {
                last.push(',');
                last.push_str(&tuple);
            }
            _ => {
                out.push(format!("{head}{tuple}"));
                open_head = Some(head);
            }
        }
    }
    out
}

/// The statement that adds one row, or puts it in place of one with the same key.
pub fn insert(row: &Row, shape: &Shape<'_>, replace: bool) -> Statement {
    let verb = if replace { "REPLACE" } else { "INSERT" };
    let mut head = format!("{verb} INTO {} (", shape.target);
    let mut tuple = String::from("(");
    for (nth, at) in keys::written(shape.source).into_iter().enumerate() {
        if nth > 0 {
            head.push(',');
            tuple.push(',');
        }
        let column = &shape.source.columns[at];
        head.push_str(&quoted(&column.name));
        literal(&row[at], column, &mut tuple);
    }
    head.push_str(") VALUES ");
    tuple.push(')');
    Statement {
        head,
        tuple: Some(tuple),
    }
}

fn update(old: &Row, new: &Row, shape: &Shape<'_>) -> Statement {
    let mut sql = format!("UPDATE {} SET ", shape.target);
    for (nth, at) in keys::written(shape.source).into_iter().enumerate() {
        if nth > 0 {
            sql.push(',');
        }
        let column = &shape.source.columns[at];
        sql.push_str(&quoted(&column.name));
        sql.push('=');
        literal(&new[at], column, &mut sql);
    }
    condition(old, shape, &mut sql);
    Statement::whole(sql)
}

fn delete(old: &Row, shape: &Shape<'_>) -> Statement {
    let mut sql = format!("DELETE FROM {}", shape.target);
    condition(old, shape, &mut sql);
    Statement::whole(sql)
}

/// One row at most: without a key there may be several that are equal.
fn condition(old: &Row, shape: &Shape<'_>, sql: &mut String) {
    for (nth, at) in keys::identifying(shape.keys, shape.source, old)
        .into_iter()
        .enumerate()
    {
        sql.push_str(if nth == 0 { " WHERE " } else { " AND " });
        let column = &shape.source.columns[at];
        sql.push_str(&quoted(&column.name));
        if old[at] == Value::Null {
            sql.push_str(" IS NULL");
        } else {
            sql.push('=');
            literal(&old[at], column, sql);
        }
    }
    sql.push_str(" LIMIT 1");
}

/// Character sets whose text may be written as it is, in a session that speaks utf8mb4.
const UNICODE: [&str; 4] = ["utf8mb4", "utf8mb3", "utf8", "ascii"];

/// Appends a value as a literal. Texts in other character sets go as bytes with their set's name, so that the server converts them.
pub fn literal(value: &Value, column: &Column, out: &mut String) {
    match value {
        Value::Null => out.push_str("NULL"),
        Value::Int(number) => push(out, format_args!("{number}")),
        Value::UInt(number) => push(out, format_args!("{number}")),
        Value::Number(text) => out.push_str(text),
        Value::Text(text) => quoted_text(text, out),
        Value::Bytes(bytes) => bytes_literal(bytes, column.charset.as_deref(), out),
    }
}

fn bytes_literal(bytes: &[u8], charset: Option<&str>, out: &mut String) {
    match charset {
        Some(charset) if UNICODE.contains(&charset) => match std::str::from_utf8(bytes) {
            Ok(text) => quoted_text(text, out),
            Err(_) => hexadecimal(bytes, out),
        },
        Some(charset) if charset != "binary" && is_plain(charset) => {
            push(out, format_args!("_{charset} "));
            hexadecimal(bytes, out);
        }
        _ => hexadecimal(bytes, out),
    }
}

fn is_plain(charset: &str) -> bool {
    charset.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn hexadecimal(bytes: &[u8], out: &mut String) {
    out.push_str("X'");
    for byte in bytes {
        push(out, format_args!("{byte:02X}"));
    }
    out.push('\'');
}

/// A text in quotes. Works only while NO_BACKSLASH_ESCAPES is not set, which our own sessions see to.
pub fn quoted_text(text: &str, out: &mut String) {
    out.push('\'');
    for c in text.chars() {
        match c {
            '\'' => out.push_str("''"),
            '\\' => out.push_str("\\\\"),
            '\0' => out.push_str("\\0"),
            '\u{1a}' => out.push_str("\\Z"),
            other => out.push(other),
        }
    }
    out.push('\'');
}

/// Writing into a `String` cannot fail.
fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn column(name: &str, charset: Option<&str>) -> Column {
        Column {
            name: name.to_owned(),
            kind: "VARCHAR".to_owned(),
            length: None,
            unsigned: false,
            not_null: false,
            charset: charset.map(str::to_owned),
            generated: None,
        }
    }

    fn fixture() -> (TableName, Table, Vec<Key>) {
        let mut computed = column("g", None);
        computed.generated = Some(dm_schema::Generated::Virtual);
        let source = Table {
            columns: vec![column("id", None), column("v", Some("utf8mb4")), computed],
            ..Table::default()
        };
        let key = Key {
            name: Key::PRIMARY.to_owned(),
            columns: vec!["id".to_owned()],
            unique: true,
            partial: false,
        };
        (TableName::new("d", "t`x"), source, vec![key])
    }

    fn row(id: i64, v: &str) -> Row {
        vec![Value::Int(id), Value::Bytes(v.into()), Value::Null]
    }

    fn sql(change: &Change, safe: bool) -> Vec<String> {
        let (target, source, keys) = fixture();
        let shape = Shape {
            target: &target,
            keys: &keys,
            source: &source,
            safe,
        };
        joined(of_change(change, &shape), 1000)
    }

    #[test]
    fn each_change_has_its_statement() {
        assert_eq!(
            sql(&Change::Insert(row(1, "a'b\\")), false),
            [r"INSERT INTO `d`.`t``x` (`id`,`v`) VALUES (1,'a''b\\')"]
        );
        let update = Change::Update {
            old: row(1, "a"),
            new: row(2, "b"),
        };
        assert_eq!(
            sql(&update, false),
            ["UPDATE `d`.`t``x` SET `id`=2,`v`='b' WHERE `id`=1 LIMIT 1"]
        );
        assert_eq!(
            sql(&update, true),
            [
                "DELETE FROM `d`.`t``x` WHERE `id`=1 LIMIT 1",
                "REPLACE INTO `d`.`t``x` (`id`,`v`) VALUES (2,'b')"
            ]
        );
    }

    #[test]
    fn without_a_key_nulls_are_asked_for_by_is_null() {
        let (target, source, _) = fixture();
        let shape = Shape {
            target: &target,
            keys: &[],
            source: &source,
            safe: false,
        };
        let gone = Change::Delete(vec![Value::Int(1), Value::Null, Value::Null]);
        assert_eq!(
            of_change(&gone, &shape)[0].head,
            "DELETE FROM `d`.`t``x` WHERE `id`=1 AND `v` IS NULL LIMIT 1"
        );
    }

    #[test]
    fn neighbours_are_joined_up_to_a_size() {
        let tuple = |t: &str| Statement {
            head: "I ".to_owned(),
            tuple: Some(t.to_owned()),
        };
        let other = Statement::whole("D".to_owned());
        assert_eq!(
            joined([tuple("(1)"), tuple("(2)"), other, tuple("(3)")], 100),
            ["I (1),(2)", "D", "I (3)"]
        );
        assert_eq!(joined([tuple("(1)"), tuple("(2)")], 6), ["I (1)", "I (2)"]);
    }

    #[test]
    fn texts_in_other_character_sets_go_as_bytes_with_their_name() {
        let mut out = String::new();
        literal(
            &Value::Bytes(vec![0xe9]),
            &column("c", Some("latin1")),
            &mut out,
        );
        out.push(' ');
        literal(&Value::Bytes(vec![0, 255]), &column("c", None), &mut out);
        assert_eq!(out, "_latin1 X'E9' X'00FF'");
    }

    proptest! {
        #[test]
        fn a_quoted_text_ends_where_it_should(text in "\\PC{0,30}") {
            let mut out = String::new();
            quoted_text(&text, &mut out);
            let inner = &out[1..out.len() - 1];
            let mut chars = inner.chars();
            let mut back = String::new();
            while let Some(c) = chars.next() {
                match c {
                    '\'' => prop_assert_eq!(chars.next(), Some('\'')),
                    '\\' => {
                        back.push(match chars.next() { Some('0') => '\0', Some('Z') => '\u{1a}', Some(c) => c, None => return Err(TestCaseError::fail("open escape")) });
                        continue;
                    }
                    _ => {}
                }
                back.push(c);
            }
            prop_assert_eq!(back, text);
        }
    }
}
