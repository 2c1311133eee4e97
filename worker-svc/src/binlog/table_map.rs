//! Table maps: the physical types of a table's columns, without names and signs.

use super::reader::{DecodeError, Reader};

/// Type number and metadata of one column as they are on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PhysicalType {
    /// Number of the type.
    pub code: u8,
    /// Lengths, precisions; the meaning depends on the type.
    pub meta: u16,
}

/// A table as the following row events know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TableMap {
    /// The number that the row events refer to.
    pub table_id: u64,
    /// Schema.
    pub schema: String,
    /// Table.
    pub table: String,
    /// One for each column.
    pub columns: Vec<PhysicalType>,
}

impl TableMap {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table_id = reader.le(6, "table map")?;
        reader.take(2, "table map")?;
        let schema = name(reader)?;
        let table = name(reader)?;
        let count = reader.length("number of columns")?;
        let codes = reader.take(count, "column types")?;
        let meta_len = reader.length("column metadata")?;
        let mut meta = Reader::new(reader.take(meta_len, "column metadata")?);
        let columns = codes
            .iter()
            .map(|code| {
                let meta = metadata(*code, &mut meta)?;
                Ok(PhysicalType { code: *code, meta })
            })
            .collect::<Result<_, DecodeError>>()?;
        Ok(Self {
            table_id,
            schema,
            table,
            columns,
        })
    }
}

fn name(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let len = usize::from(reader.u8("name")?);
    let name = reader.take(len, "name")?;
    reader.take(1, "name")?;
    Ok(String::from_utf8_lossy(name).into_owned())
}

fn metadata(code: u8, meta: &mut Reader<'_>) -> Result<u16, DecodeError> {
    let number = match code {
        // FLOAT, DOUBLE, BLOB, GEOMETRY, JSON, the types with fractions of a second, compressed BLOB.
        4 | 5 | 17 | 18 | 19 | 140 | 245 | 252 | 255 => meta.le(1, "metadata")?,
        // VARCHAR, BIT, compressed VARCHAR, VAR_STRING: lowest byte first.
        15 | 16 | 141 | 253 => meta.le(2, "metadata")?,
        // DECIMAL, ENUM, SET, CHAR: two numbers of one byte each.
        246 | 247 | 248 | 254 => meta.be(2, "metadata")?,
        _ => 0,
    };
    u16::try_from(number).map_err(|_| DecodeError::Short("metadata"))
}
