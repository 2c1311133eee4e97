//! Columns of a table info and their types.

use serde_json::Value;

use super::codes::code;
use super::members::{JsonError, Members};
use super::name::Name;

/// One column (spec schemacmp 10.2). The members that the comparison does not use are kept as they were read.
#[derive(Clone, Debug)]
pub struct ColumnInfo {
    /// What it is called.
    pub name: Name,
    /// The member `default`: texts mostly, whatever the type; `None` stands for null.
    pub default: Option<Value>,
    /// The expression of a computed column; empty for others.
    pub generated_expression: String,
    /// The computed value is stored.
    pub generated_stored: bool,
    /// What values it takes.
    pub field_type: FieldType,
    members: Members,
}

impl ColumnInfo {
    /// A public column without default, with all members that TiDB writes.
    pub fn new(name: Name, field_type: FieldType) -> Self {
        let members = Members::of(&[
            ("id", "0"),
            ("name", "null"),
            ("offset", "0"),
            ("origin_default", "null"),
            ("origin_default_bit", "null"),
            ("default", "null"),
            ("default_bit", "null"),
            ("default_is_expr", "false"),
            ("generated_expr_string", "\"\""),
            ("generated_stored", "false"),
            ("dependences", "null"),
            ("type", "null"),
            ("state", "5"),
            ("comment", "\"\""),
            ("hidden", "false"),
            ("change_state_info", "null"),
            ("version", "2"),
        ]);
        Self {
            name,
            default: None,
            generated_expression: String::new(),
            generated_stored: false,
            field_type,
            members,
        }
    }

    pub(super) fn from_json(text: &str) -> Result<Self, JsonError> {
        let members = Members::parse(text)?;
        Ok(Self {
            name: members.object("name", Name::from_json)?,
            default: members.read::<Value>("default").map(not_null)?,
            generated_expression: members.read("generated_expr_string")?,
            generated_stored: members.read("generated_stored")?,
            field_type: members.object("type", FieldType::from_json)?,
            members,
        })
    }

    pub(super) fn to_json(&self) -> String {
        let mut members = self.members.clone();
        self.name.write(&mut members, "name");
        members.write("default", &self.default.clone().unwrap_or_default());
        members.write("generated_expr_string", &self.generated_expression);
        members.write("generated_stored", &self.generated_stored);
        let field_type = self.field_type.to_json();
        if field_type != "{}" {
            members.write_text("type", field_type);
        }
        members.to_string()
    }

    /// Whether the default is computed at each insert instead of being a value.
    pub fn is_default_expression(&self) -> bool {
        self.other("default_is_expr").unwrap_or(false)
    }

    /// Puts JSON text into a member that the comparison does not use.
    pub(crate) fn set_other(&mut self, member: &str, value: impl Into<Value>) {
        self.members.write_text(member, value.into().to_string());
    }

    /// A member that the comparison does not use, `None` if it is missing, null or of another type.
    pub(crate) fn other<T: serde::de::DeserializeOwned>(&self, member: &str) -> Option<T> {
        serde_json::from_str(self.members.text(member)?).ok()
    }
}

fn not_null(value: Value) -> Option<Value> {
    (!value.is_null()).then_some(value)
}

/// The type of a column (spec schemacmp 10.3).
#[derive(Clone, Debug)]
pub struct FieldType {
    /// One of [`code`](super::code).
    pub code: u8,
    /// Bits of [`flag`](super::flag).
    pub flags: u64,
    /// Display width, length, precision, or number of bits, as the type has it; −1 for not given.
    pub flen: i64,
    /// Digits behind the point, also of seconds; −1 for not given.
    pub decimal: i64,
    /// Character set; `binary` for what is no text.
    pub charset: String,
    /// Collation; `binary` for what is no text.
    pub collate: String,
    /// The values of ENUM and SET.
    pub elems: Vec<String>,
    /// Which of those were written as binary literals.
    pub elems_are_binary: Vec<bool>,
    /// An array, as some indexes on JSON have it.
    pub array: bool,
    members: Members,
}

impl FieldType {
    /// A type without character set or flags, with all members that TiDB writes.
    pub fn new(code: u8, flen: i64, decimal: i64) -> Self {
        let members = Members::of(&[
            ("Tp", "0"),
            ("Flag", "0"),
            ("Flen", "0"),
            ("Decimal", "0"),
            ("Charset", "\"\""),
            ("Collate", "\"\""),
            ("Elems", "null"),
            ("ElemsIsBinaryLit", "null"),
            ("Array", "false"),
        ]);
        Self {
            code,
            flags: 0,
            flen,
            decimal,
            charset: "binary".to_owned(),
            collate: "binary".to_owned(),
            elems: Vec::new(),
            elems_are_binary: Vec::new(),
            array: false,
            members,
        }
    }

    /// Whether all of these bits are set.
    pub fn has(&self, flags: u64) -> bool {
        self.flags & flags == flags
    }

    /// The code that counts: an array is JSON (spec schemacmp 10.3).
    pub fn effective_code(&self) -> u8 {
        if self.array { code::JSON } else { self.code }
    }

    fn from_json(text: &str) -> Result<Self, JsonError> {
        let members = Members::parse(text)?;
        Ok(Self {
            code: members.read("Tp")?,
            flags: members.read("Flag")?,
            flen: members.read("Flen")?,
            decimal: members.read("Decimal")?,
            charset: members.read("Charset")?,
            collate: members.read("Collate")?,
            elems: members.read("Elems")?,
            elems_are_binary: members.read("ElemsIsBinaryLit")?,
            array: members.read("Array")?,
            members,
        })
    }

    fn to_json(&self) -> String {
        let mut members = self.members.clone();
        members.write("Tp", &self.code);
        members.write("Flag", &self.flags);
        members.write("Flen", &self.flen);
        members.write("Decimal", &self.decimal);
        members.write("Charset", &self.charset);
        members.write("Collate", &self.collate);
        members.write("Elems", &self.elems);
        members.write("ElemsIsBinaryLit", &self.elems_are_binary);
        members.write("Array", &self.array);
        members.to_string()
    }
}
