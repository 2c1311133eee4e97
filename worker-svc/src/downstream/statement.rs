//! SQL for changed rows. Pure.
//!
//! Values are literals, not parameters: one text may then change many rows of many tables in one exchange.

use std::fmt::Write;

use dm_schema::{Column, Table};

use super::keys::{self, Found};
use super::target::Target;
use crate::binlog::row::{Change, Row};
use crate::binlog::value::Value;
use crate::names::{TableName, quoted};

/// How a change becomes SQL.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// The name of the downstream table.
    pub name: &'a TableName,
    /// What it looks like. Inserts that need not be repeatable ask nothing of it.
    pub target: &'a Target,
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
    let mut head = format!("{verb} INTO {} (", shape.name);
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
    let mut sql = format!("UPDATE {} SET ", shape.name);
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
    let mut sql = format!("DELETE FROM {}", shape.name);
    condition(old, shape, &mut sql);
    Statement::whole(sql)
}

/// One row at most: without a key there may be several that are equal.
fn condition(old: &Row, shape: &Shape<'_>, sql: &mut String) {
    let found = keys::identifying(&shape.target.structure.keys, shape.source, old);
    let (Found::ByKey(places) | Found::ByAll(places)) = &found;
    for (nth, &at) in places.iter().enumerate() {
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
    if let Found::ByAll(places) = &found {
        closest_first(places, old, shape, sql);
    }
    sql.push_str(" LIMIT 1");
}

/// Of several rows that compare as equal the one comes first whose texts are the same to the byte, and of those the one that has in columns which this source
/// does not have what its own rows have there: another source's row would be lost otherwise.
fn closest_first(places: &[usize], old: &Row, shape: &Shape<'_>, sql: &mut String) {
    let columns = places
        .iter()
        .map(|&at| (&shape.source.columns[at], &old[at]));
    let same: Vec<String> = columns
        .filter_map(|(column, value)| same_bytes(column, value))
        .collect();
    let unnamed: Vec<String> = shape
        .target
        .unnamed_by(shape.source)
        .map(|condition| format!("({condition})"))
        .collect();
    let orders = [(same, " AND "), (unnamed, "+")].map(|(all, by)| all.join(by));
    let orders: Vec<String> = orders
        .iter()
        .filter(|order| !order.is_empty())
        .map(|order| format!("({order}) DESC"))
        .collect();
    if !orders.is_empty() {
        push(sql, format_args!(" ORDER BY {}", orders.join(",")));
    }
}

/// The condition that a text is the same in every letter, whatever its collation takes for equal, and whatever character set it has downstream.
fn same_bytes(column: &Column, value: &Value) -> Option<String> {
    let charset = column.charset.as_deref().filter(|c| *c != "binary")?;
    let Value::Bytes(bytes) = value else {
        return None;
    };
    if UNICODE.contains(&charset) && std::str::from_utf8(bytes).is_err() {
        return None;
    }
    let mut text = String::new();
    literal(value, column, &mut text);
    let in_bytes = |text: &str| format!("CAST(CONVERT({text} USING utf8mb4) AS BINARY)");
    Some(format!(
        "{}={}",
        in_bytes(&quoted(&column.name)),
        in_bytes(&text)
    ))
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
    use dm_schema::Key;
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

    fn fixture() -> (TableName, Table, Target) {
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
        let mut target = Target::default();
        target.structure.keys = vec![key];
        (TableName::new("d", "t`x"), source, target)
    }

    fn row(id: i64, v: &str) -> Row {
        vec![Value::Int(id), Value::Bytes(v.into()), Value::Null]
    }

    fn sql(change: &Change, safe: bool) -> Vec<String> {
        let (name, source, target) = fixture();
        let shape = Shape {
            name: &name,
            target: &target,
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

    fn without_key(row: Row, target: &Target) -> String {
        let (name, source, _) = fixture();
        let shape = Shape {
            name: &name,
            target,
            source: &source,
            safe: false,
        };
        of_change(&Change::Delete(row), &shape).remove(0).head
    }

    #[test]
    fn without_a_key_nulls_are_asked_for_by_is_null() {
        assert_eq!(
            without_key(
                vec![Value::Int(1), Value::Null, Value::Null],
                &Target::default()
            ),
            "DELETE FROM `d`.`t``x` WHERE `id`=1 AND `v` IS NULL LIMIT 1"
        );
    }

    #[test]
    fn without_a_key_the_row_comes_first_that_can_only_be_this_one() {
        let create =
            "CREATE TABLE x (id INT, v VARCHAR(9), g INT AS (id), c INT, d INT NOT NULL DEFAULT 7)";
        let target = Target::described(&TableName::new("d", "x"), create).unwrap();
        let same =
            "CAST(CONVERT(`v` USING utf8mb4) AS BINARY)=CAST(CONVERT('a' USING utf8mb4) AS BINARY)";
        assert_eq!(
            without_key(row(1, "a"), &target),
            format!(
                "DELETE FROM `d`.`t``x` WHERE `id`=1 AND `v`='a' ORDER BY ({same}) DESC,((`c` IS NULL)+(`d` <=> '7')) DESC LIMIT 1"
            )
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
