//! A table info as CREATE TABLE, such that reading it back gives the same schema.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::print::{quoted, text_literal};
use crate::table_info::{
    ColumnInfo, FieldType, IndexColumn, IndexInfo, TableInfo, code, flag, type_name,
};

/// Prints everything that the comparison looks at, each explicitly; comments and the like are left out.
pub fn print_create_table(info: &TableInfo) -> String {
    let columns = info.columns.iter().map(column);
    let indexes = info.indexes.iter().map(index);
    let parts: Vec<String> = columns.chain(indexes).collect();
    let mut text = format!(
        "CREATE TABLE {} ({})",
        quoted(&info.name.original),
        parts.join(", ")
    );
    let mut option = |name: &str, value: String| text += &format!(" {name}={value}");
    if !info.charset.is_empty() {
        option("CHARSET", info.charset.clone());
    }
    if !info.collate.is_empty() {
        option("COLLATE", info.collate.clone());
    }
    if info.auto_inc_id > 0 {
        option("AUTO_INCREMENT", info.auto_inc_id.to_string());
    }
    if info.shard_row_id_bits > 0 {
        option("SHARD_ROW_ID_BITS", info.shard_row_id_bits.to_string());
    }
    if info.pre_split_regions > 0 {
        option("PRE_SPLIT_REGIONS", info.pre_split_regions.to_string());
    }
    if !info.compression.is_empty() {
        option("COMPRESSION", text_literal(&info.compression));
    }
    text
}

fn column(column: &ColumnInfo) -> String {
    let ty = &column.field_type;
    let mut text = format!("{} {}", quoted(&column.name.original), field_type(ty));
    if !column.generated_expression.is_empty() {
        text += &format!(" AS ({})", column.generated_expression);
        text += if column.generated_stored {
            " STORED"
        } else {
            " VIRTUAL"
        };
    }
    if ty.has(flag::NOT_NULL) {
        text += " NOT NULL";
    }
    if let Some(default) = default(column) {
        text += &format!(" DEFAULT {default}");
    }
    if ty.has(flag::ON_UPDATE_NOW) {
        text += " ON UPDATE CURRENT_TIMESTAMP";
    }
    if ty.has(flag::AUTO_INCREMENT) {
        text += " AUTO_INCREMENT";
    }
    text
}

/// What stands behind DEFAULT, if that has to be written.
fn default(column: &ColumnInfo) -> Option<String> {
    const NOW: &str = "CURRENT_TIMESTAMP";
    let ty = &column.field_type;
    if ty.has(flag::NO_DEFAULT) {
        return None;
    }
    let Some(value) = &column.default else {
        let unusual = ty.has(flag::NOT_NULL) && !ty.has(flag::AUTO_INCREMENT);
        return unusual.then(|| "NULL".to_owned());
    };
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    if column.is_default_expression() {
        return Some(format!("({text})"));
    }
    if ty.code == code::BIT
        && let Some(bytes) = column.other::<String>("default_bit")
    {
        let bytes = STANDARD.decode(bytes).unwrap_or_default();
        let digits: Vec<String> = bytes.iter().map(|b| format!("{b:02X}")).collect();
        return Some(format!("X'{}'", digits.concat()));
    }
    let temporal = matches!(ty.code, code::DATE | code::DATETIME | code::TIMESTAMP);
    Some(if temporal && text == NOW {
        text
    } else {
        text_literal(&text)
    })
}

fn field_type(ty: &FieldType) -> String {
    let binary = ty.charset == "binary";
    let number = !matches!(ty.code, code::BIT | code::YEAR);
    let mut text = type_name(ty.code, binary).to_owned() + &sizes(ty);
    if number && ty.has(flag::UNSIGNED) {
        text += " UNSIGNED";
    }
    if number && ty.has(flag::ZEROFILL) {
        text += " ZEROFILL";
    }
    if matches!(ty.code, code::ENUM | code::SET) || !binary {
        text += &format!(" CHARACTER SET {} COLLATE {}", ty.charset, ty.collate);
    }
    if !binary && ty.has(flag::BINARY) {
        text += " BINARY";
    }
    text
}

/// What stands in the parentheses of a type, with them.
fn sizes(ty: &FieldType) -> String {
    match ty.code {
        code::ENUM | code::SET => {
            let elems: Vec<String> = ty.elems.iter().map(|e| text_literal(e)).collect();
            format!("({})", elems.join(","))
        }
        code::TIMESTAMP | code::DATETIME | code::TIME if ty.decimal > 0 => {
            format!("({})", ty.decimal)
        }
        code::DECIMAL => format!("({},{})", ty.flen, ty.decimal),
        code::FLOAT | code::DOUBLE if ty.flen >= 0 && ty.decimal >= 0 => {
            format!("({},{})", ty.flen, ty.decimal)
        }
        code::TINYINT
        | code::SMALLINT
        | code::MEDIUMINT
        | code::INT
        | code::BIGINT
        | code::BIT
        | code::CHAR
        | code::VARCHAR
        | code::VECTOR
            if ty.flen >= 0 =>
        {
            format!("({})", ty.flen)
        }
        _ => String::new(),
    }
}

fn index(index: &IndexInfo) -> String {
    let kind = if index.primary {
        "PRIMARY KEY".to_owned()
    } else if index.unique {
        format!("UNIQUE KEY {}", quoted(&index.name.original))
    } else {
        format!("KEY {}", quoted(&index.name.original))
    };
    let using = match index.index_type {
        IndexInfo::HASH => " USING HASH",
        IndexInfo::RTREE => " USING RTREE",
        _ => "",
    };
    let part = |part: &IndexColumn| match part.length {
        IndexColumn::WHOLE => quoted(&part.name.original),
        length => format!("{}({length})", quoted(&part.name.original)),
    };
    let parts: Vec<String> = index.columns.iter().map(part).collect();
    format!("{kind}{using} ({})", parts.join(","))
}
