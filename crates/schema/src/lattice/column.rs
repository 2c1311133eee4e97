//! Columns and their types as tuples (spec schemacmp 3, rules E2 and E3), and what becomes of a column that other tables lack (rule J3).

use std::fmt;

use serde_json::Value;

use super::charset::{Charset, Collation};
use super::incompatible::Incompatible;
use super::kinds::{
    Beginning, Compared, Elements, Lattice, Maximum, Singleton, Size, TypeCode, joined,
};
use crate::table_info::{ColumnInfo, FieldType, code, flag};

/// A default as it stands in JSON: a text and a number are different things, numbers are equal by value.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Literal {
    Text(String),
    /// The bits of the double that a Go reader makes of it.
    Number(u64),
    Other(String),
}

impl Literal {
    fn new(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.clone()),
            Value::Number(number) => match number.as_f64() {
                // Adding zero takes the sign off a negative zero.
                Some(double) => Self::Number((double + 0.0).to_bits()),
                None => Self::Other(number.to_string()),
            },
            other => Self::Other(other.to_string()),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Other(text) => f.write_str(text),
            Self::Number(bits) => f64::from_bits(*bits).fmt(f),
        }
    }
}

/// A column as rule E2 sees it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Column {
    pub(super) default: Option<Singleton<Literal>>,
    pub(super) expression: Singleton<String>,
    pub(super) stored: Singleton<bool>,
    pub(super) field_type: Type,
}

impl Column {
    pub(super) fn of(info: &ColumnInfo) -> Self {
        let default = info.default.as_ref().map(|v| Singleton(Literal::new(v)));
        Self {
            default,
            expression: Singleton(info.generated_expression.clone()),
            stored: Singleton(info.generated_stored),
            field_type: Type::of(&info.field_type),
        }
    }

    /// Rule C4: an INSERT need not name it.
    pub(super) fn has_default(&self) -> bool {
        self.field_type.default_flags.is_some()
    }

    /// Rule J3: the column in a joined table, some tables of which lack it. It is part of no key, and rows without it get a default.
    pub(super) fn missing_elsewhere(mut self) -> Self {
        let ty = &mut self.field_type;
        ty.anti_keys = Maximum(Type::NO_KEY);
        let flags = ty.default_flags.as_ref().map_or(0, |f| f.0);
        let had_no_default = ty.default_flags.is_none() || flags & flag::NO_DEFAULT != 0;
        if had_no_default {
            ty.default_flags = Some(Singleton(flags & !flag::NO_DEFAULT));
            if !ty.nullable.0 {
                self.default = Some(Singleton(Literal::Text(ty.standard_default())));
            }
        }
        self
    }
}

impl Lattice for Column {
    fn compare(&self, other: &Self) -> Compared {
        let elements = Elements::new()
            .and(&self.default, &other.default)?
            .and(&self.expression, &other.expression)?
            .and(&self.stored, &other.stored)?
            .and(&self.field_type, &other.field_type)?;
        Ok(elements.order())
    }

    fn join(&self, other: &Self) -> Result<Self, Incompatible> {
        Ok(Self {
            default: joined(0, &self.default, &other.default)?,
            expression: joined(1, &self.expression, &other.expression)?,
            stored: joined(2, &self.stored, &other.stored)?,
            field_type: joined(3, &self.field_type, &other.field_type)?,
        })
    }
}

/// A column type as rule E3 sees it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Type {
    pub(super) code: TypeCode,
    pub(super) flen: Size,
    pub(super) decimal: Size,
    pub(super) flags: Singleton<u64>,
    pub(super) nullable: Maximum<bool>,
    pub(super) anti_keys: Maximum<u8>,
    pub(super) default_flags: Option<Singleton<u64>>,
    pub(super) charset: Charset,
    pub(super) collate: Collation,
    pub(super) elems: Beginning,
}

impl Type {
    /// Anti-keys of a column outside of all keys: the largest, since it accepts most rows.
    const NO_KEY: u8 = 0xFF;

    fn of(info: &FieldType) -> Self {
        let code = info.effective_code();
        let size = if code == code::DECIMAL {
            Size::Exact
        } else {
            Size::Growing
        };
        let defaults = info.flags & flag::DEFAULTS;
        let must_be_named = defaults == flag::NO_DEFAULT;
        Self {
            code: TypeCode(code),
            flen: size(info.flen),
            decimal: size(info.decimal),
            flags: Singleton(info.flags & !(flag::DEFAULTS | flag::NOT_NULL | flag::KEYS)),
            nullable: Maximum(!info.has(flag::NOT_NULL)),
            anti_keys: Maximum(anti_keys(info.flags)),
            default_flags: (!must_be_named).then_some(Singleton(defaults)),
            charset: Charset::new(&info.charset),
            collate: Collation::new(&info.collate),
            elems: Beginning(info.elems.clone()),
        }
    }

    pub(super) fn is_auto_increment(&self) -> bool {
        let flags = self.default_flags.as_ref().map_or(0, |f| f.0);
        flags & flag::AUTO_INCREMENT != 0
    }

    /// Rule J4: the key bits follow from the joined indexes.
    pub(super) fn set_key_flags(&mut self, flags: u64) {
        self.anti_keys = Maximum(anti_keys(flags));
    }

    /// What a row gets that comes from a table without the column (table in rule J3).
    fn standard_default(&self) -> String {
        let digits = usize::try_from(self.decimal.value()).unwrap_or(0).min(6);
        let fraction = match digits {
            0 => String::new(),
            n => format!(".{}", "0".repeat(n)),
        };
        match self.code.0 {
            code::TINYINT
            | code::SMALLINT
            | code::MEDIUMINT
            | code::INT
            | code::BIGINT
            | code::FLOAT
            | code::DOUBLE
            | code::DECIMAL => "0".to_owned(),
            code::DATETIME | code::TIMESTAMP => format!("0000-00-00 00:00:00{fraction}"),
            code::TIME => format!("00:00:00{fraction}"),
            code::DATE => "0000-00-00".to_owned(),
            code::YEAR => "0000".to_owned(),
            code::JSON => "null".to_owned(),
            code::VECTOR => "[]".to_owned(),
            code::ENUM => self.elems.0.first().cloned().unwrap_or_default(),
            code::CHAR if self.collate == Collation::new("binary") => {
                // No BINARY column is longer than 255 bytes.
                "\0".repeat(usize::try_from(self.flen.value()).unwrap_or(0).min(255))
            }
            _ => String::new(),
        }
    }
}

/// The three key bits in reverse order and inverted, so that the stronger key is the smaller number (attribute 5 of rule E3).
fn anti_keys(flags: u64) -> u8 {
    let bit = |set: u64, place: u8| if flags & set == 0 { place } else { 0 };
    0x8F | bit(flag::PRIMARY, 0x40) | bit(flag::UNIQUE, 0x20) | bit(flag::MULTIPLE, 0x10)
}

impl Lattice for Type {
    fn compare(&self, other: &Self) -> Compared {
        let elements = Elements::new()
            .and(&self.code, &other.code)?
            .and(&self.flen, &other.flen)?
            .and(&self.decimal, &other.decimal)?
            .and(&self.flags, &other.flags)?
            .and(&self.nullable, &other.nullable)?
            .and(&self.anti_keys, &other.anti_keys)?
            .and(&self.default_flags, &other.default_flags)?
            .and(&self.charset, &other.charset)?
            .and(&self.collate, &other.collate)?
            .and(&self.elems, &other.elems)?;
        Ok(elements.order())
    }

    /// Element by element; an AUTO_INCREMENT column must still be a key (rule J4).
    fn join(&self, other: &Self) -> Result<Self, Incompatible> {
        let join = Self {
            code: joined(0, &self.code, &other.code)?,
            flen: joined(1, &self.flen, &other.flen)?,
            decimal: joined(2, &self.decimal, &other.decimal)?,
            flags: joined(3, &self.flags, &other.flags)?,
            nullable: joined(4, &self.nullable, &other.nullable)?,
            anti_keys: joined(5, &self.anti_keys, &other.anti_keys)?,
            default_flags: joined(6, &self.default_flags, &other.default_flags)?,
            charset: joined(7, &self.charset, &other.charset)?,
            collate: joined(8, &self.collate, &other.collate)?,
            elems: joined(9, &self.elems, &other.elems)?,
        };
        if join.is_auto_increment() && join.anti_keys.0 == Self::NO_KEY {
            return Err(Incompatible::AutoWithoutKey);
        }
        Ok(join)
    }
}
