//! Schemas as text, for messages (spec schemacmp 8). Nobody reads it back.

use std::fmt;

use super::Schema;
use super::column::{Column, Type};
use super::index::Index;
use crate::print::{quoted, text_literal};
use crate::table_info::{IndexColumn, IndexInfo, code, flag, type_name};

/// As DM shows schemas in its messages: a CREATE TABLE with columns and indexes sorted by name.
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.columns.iter().map(|(name, c)| column(name, c));
        let indexes = self.indexes.iter().map(|(name, i)| index(name, i));
        let parts: Vec<String> = columns.chain(indexes).collect();
        write!(f, "CREATE TABLE `tbl`({})", parts.join(", "))?;
        let charset = self.charset.to_string();
        if !charset.is_empty() {
            write!(f, " CHARSET {}", charset.to_uppercase())?;
        }
        let collate = self.collate.to_string();
        if !collate.is_empty() {
            write!(f, " COLLATE {}", collate.to_uppercase())?;
        }
        if self.shard_row_id_bits.0 > 0 {
            write!(f, " SHARD_ROW_ID_BITS {}", self.shard_row_id_bits.0)?;
        }
        if self.auto_random_bits.0 > 0 {
            write!(f, "/* AUTO_RANDOM_BITS {} */", self.auto_random_bits.0)?;
        }
        if let Some(compression) = &self.compression {
            write!(f, " COMPRESSION {}", text_literal(&compression.0))?;
        }
        Ok(())
    }
}

fn column(name: &str, column: &Column) -> String {
    let mut text = format!("{} {}", quoted(name), field_type(&column.field_type));
    if !column.expression.0.is_empty() {
        text += &format!(" GENERATED ALWAYS AS ({})", column.expression.0);
    }
    if column.stored.0 {
        text += " STORED";
    }
    if !column.field_type.nullable.0 {
        text += " NOT NULL";
    }
    if let Some(default) = &column.default {
        text += &format!(" DEFAULT {}", default.0);
    }
    if column.field_type.is_auto_increment() {
        text += " AUTO_INCREMENT";
    }
    text
}

fn field_type(ty: &Type) -> String {
    let (flen, decimal) = (ty.flen.value(), ty.decimal.value());
    let binary = ty.charset.to_string() == "binary";
    let mut text = type_name(ty.code.0, binary).to_owned();
    match ty.code.0 {
        code::ENUM | code::SET => {
            let elems: Vec<String> = ty.elems.0.iter().map(|e| text_literal(e)).collect();
            text += &format!("({})", elems.join(","));
        }
        code::TIMESTAMP | code::DATETIME | code::TIME if decimal > 0 => {
            text += &format!("({decimal})");
        }
        code::DECIMAL => text += &format!("({flen},{decimal})"),
        code::FLOAT | code::DOUBLE if flen >= 0 && decimal >= 0 => {
            text += &format!("({flen},{decimal})");
        }
        code::TINYINT
        | code::SMALLINT
        | code::MEDIUMINT
        | code::INT
        | code::BIGINT
        | code::BIT
        | code::YEAR
        | code::CHAR
        | code::VARCHAR
            if flen >= 0 =>
        {
            text += &format!("({flen})");
        }
        _ => {}
    }
    let number = !matches!(ty.code.0, code::BIT | code::YEAR);
    if number && ty.flags.0 & flag::UNSIGNED != 0 {
        text += " UNSIGNED";
    }
    if number && ty.flags.0 & flag::ZEROFILL != 0 {
        text += " ZEROFILL";
    }
    if !binary {
        let (charset, collate) = (ty.charset.to_string(), ty.collate.to_string());
        text += &format!(
            " CHARACTER SET {} COLLATE {}",
            charset.to_uppercase(),
            collate.to_uppercase()
        );
    }
    text
}

fn index(name: &str, index: &Index) -> String {
    let mut text = if !index.not_primary.0 {
        "PRIMARY KEY".to_owned()
    } else if !index.not_unique.0 {
        format!("UNIQUE KEY {}", quoted(name))
    } else {
        format!("KEY {}", quoted(name))
    };
    match index.index_type.0 {
        IndexInfo::BTREE => {}
        IndexInfo::HASH => text += " USING HASH",
        IndexInfo::RTREE => text += " USING RTREE",
        other => text += &format!(" USING {other}"),
    }
    let part = |(column, length): &(String, i64)| match *length {
        IndexColumn::WHOLE => quoted(column),
        length => format!("{}({length})", quoted(column)),
    };
    let parts: Vec<String> = index.columns.0.0.iter().map(part).collect();
    format!("{text} ({})", parts.join(", "))
}
