//! Values of a row as SQL of their columns' types, so that they compare as they do in their table.

use dm_schema::Column;
use dm_schema::table_info::{ColumnInfo, code, flag};

use crate::binlog::value::Value;
use crate::downstream::connection::text;
use crate::downstream::statement::literal;

/// A value in SQL. The error names what cannot be put that way; it depends on the column alone. Moments are told in the session's time zone if there is one to
/// tell them in.
pub fn typed(
    value: &Value,
    column: &Column,
    info: &ColumnInfo,
    has_zone: bool,
) -> Result<String, String> {
    let ty = &info.field_type;
    let plain = || {
        let mut out = String::new();
        literal(value, column, &mut out);
        out
    };
    let cast = |to: &str| Ok(format!("CAST({} AS {to})", plain()));
    let digits = ty.decimal.max(0);
    match ty.code {
        code::TINYINT
        | code::SMALLINT
        | code::MEDIUMINT
        | code::INT
        | code::BIGINT
        | code::YEAR
        | code::BIT => match ty.has(flag::UNSIGNED) || ty.code == code::BIT {
            true => cast("UNSIGNED"),
            false => cast("SIGNED"),
        },
        code::DECIMAL if ty.flen > 0 => cast(&format!("DECIMAL({},{digits})", ty.flen)),
        code::FLOAT | code::DOUBLE => Ok(format!("{} + 0e0", plain())),
        code::DATE => cast("DATE"),
        code::TIME => cast(&format!("TIME({digits})")),
        code::DATETIME => cast(&format!("DATETIME({digits})")),
        code::TIMESTAMP if has_zone => {
            let moment = format!("CAST({} AS DATETIME({digits}))", plain());
            // The zero date is in no zone.
            let is_zero = matches!(value, Value::Text(text) if text.starts_with("0000"));
            Ok(match is_zero {
                true => moment,
                false => format!("CONVERT_TZ({moment}, '+00:00', @@session.time_zone)"),
            })
        }
        code::TIMESTAMP => Err(format!(
            "column {} is a TIMESTAMP, and the task has no `timezone`",
            column.name
        )),
        code::CHAR
        | code::VARCHAR
        | code::TINYTEXT
        | code::TEXT
        | code::MEDIUMTEXT
        | code::LONGTEXT
            if ty.charset == "binary" =>
        {
            cast("BINARY")
        }
        code::CHAR
        | code::VARCHAR
        | code::TINYTEXT
        | code::TEXT
        | code::MEDIUMTEXT
        | code::LONGTEXT => collated(&plain(), info),
        code::ENUM | code::SET if !ty.elems_are_binary.contains(&true) => match value {
            Value::UInt(chosen) => collated(&text(&elements(*chosen, info)), info),
            _ => collated(&plain(), info),
        },
        _ => Err(format!(
            "column {} has the type {}",
            column.name, column.kind
        )),
    }
}

fn collated(sql: &str, info: &ColumnInfo) -> Result<String, String> {
    let ty = &info.field_type;
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if !is_name(&ty.charset) || !is_name(&ty.collate) {
        return Err(format!(
            "column {} has the collation {:?}",
            info.name.original, ty.collate
        ));
    }
    Ok(format!(
        "CONVERT({sql} USING {}) COLLATE {}",
        ty.charset, ty.collate
    ))
}

/// The text of an ENUM's number, or of a SET's bits.
fn elements(chosen: u64, info: &ColumnInfo) -> String {
    let ty = &info.field_type;
    if ty.code == code::ENUM {
        let nth = usize::try_from(chosen).ok().and_then(|n| n.checked_sub(1));
        return nth
            .and_then(|nth| ty.elems.get(nth))
            .cloned()
            .unwrap_or_default();
    }
    let of_set = ty.elems.iter().enumerate();
    let chosen: Vec<&str> = of_set
        .filter(|(bit, _)| chosen >> (*bit).min(63) & 1 == 1)
        .map(|(_, element)| element.as_str())
        .collect();
    chosen.join(",")
}
