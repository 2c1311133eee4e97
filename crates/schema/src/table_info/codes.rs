//! Codes of column types and bits of column flags (spec schemacmp 11).

/// Codes of column types, as MySQL's protocol has them.
pub mod code {
    #![expect(missing_docs, reason = "each is the type of that name")]
    pub const TINYINT: u8 = 1;
    pub const SMALLINT: u8 = 2;
    pub const INT: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const TIMESTAMP: u8 = 7;
    pub const BIGINT: u8 = 8;
    pub const MEDIUMINT: u8 = 9;
    pub const DATE: u8 = 10;
    pub const TIME: u8 = 11;
    pub const DATETIME: u8 = 12;
    pub const YEAR: u8 = 13;
    pub const VARCHAR: u8 = 15;
    pub const BIT: u8 = 16;
    pub const VECTOR: u8 = 225;
    pub const JSON: u8 = 245;
    pub const DECIMAL: u8 = 246;
    pub const ENUM: u8 = 247;
    pub const SET: u8 = 248;
    pub const TINYTEXT: u8 = 249;
    pub const MEDIUMTEXT: u8 = 250;
    pub const LONGTEXT: u8 = 251;
    pub const TEXT: u8 = 252;
    pub const CHAR: u8 = 254;
    pub const GEOMETRY: u8 = 255;
}

/// Bits of a column's flags.
pub mod flag {
    /// NULL is refused.
    pub const NOT_NULL: u64 = 1;
    /// Part of the primary key.
    pub const PRIMARY: u64 = 2;
    /// Has a unique index of its own.
    pub const UNIQUE: u64 = 4;
    /// First of another index.
    pub const MULTIPLE: u64 = 8;
    /// Numbers without sign.
    pub const UNSIGNED: u64 = 32;
    /// Shown with leading zeros.
    pub const ZEROFILL: u64 = 64;
    /// Compared by bytes.
    pub const BINARY: u64 = 128;
    /// Values are given by the server.
    pub const AUTO_INCREMENT: u64 = 512;
    /// An INSERT has to name the column.
    pub const NO_DEFAULT: u64 = 4096;
    /// Set to the present time by each UPDATE.
    pub const ON_UPDATE_NOW: u64 = 8192;

    /// The bits that follow from a table's indexes.
    pub const KEYS: u64 = PRIMARY | UNIQUE | MULTIPLE;
    /// The bits that say where a missing value comes from.
    pub const DEFAULTS: u64 = AUTO_INCREMENT | NO_DEFAULT;
}

/// The name of a type; those of texts and bytes have one code.
pub(crate) fn type_name(code: u8, binary: bool) -> &'static str {
    match (code, binary) {
        (code::TINYINT, _) => "TINYINT",
        (code::SMALLINT, _) => "SMALLINT",
        (code::MEDIUMINT, _) => "MEDIUMINT",
        (code::INT, _) => "INT",
        (code::BIGINT, _) => "BIGINT",
        (code::FLOAT, _) => "FLOAT",
        (code::DOUBLE, _) => "DOUBLE",
        (code::DECIMAL, _) => "DECIMAL",
        (code::BIT, _) => "BIT",
        (code::YEAR, _) => "YEAR",
        (code::DATE, _) => "DATE",
        (code::TIME, _) => "TIME",
        (code::DATETIME, _) => "DATETIME",
        (code::TIMESTAMP, _) => "TIMESTAMP",
        (code::JSON, _) => "JSON",
        (code::VECTOR, _) => "VECTOR",
        (code::ENUM, _) => "ENUM",
        (code::SET, _) => "SET",
        (code::GEOMETRY, _) => "GEOMETRY",
        (code::VARCHAR, false) => "VARCHAR",
        (code::VARCHAR, true) => "VARBINARY",
        (code::CHAR, false) => "CHAR",
        (code::CHAR, true) => "BINARY",
        (code::TINYTEXT, false) => "TINYTEXT",
        (code::TINYTEXT, true) => "TINYBLOB",
        (code::TEXT, false) => "TEXT",
        (code::TEXT, true) => "BLOB",
        (code::MEDIUMTEXT, false) => "MEDIUMTEXT",
        (code::MEDIUMTEXT, true) => "MEDIUMBLOB",
        (code::LONGTEXT, false) => "LONGTEXT",
        (code::LONGTEXT, true) => "LONGBLOB",
        _ => "UNKNOWN",
    }
}
