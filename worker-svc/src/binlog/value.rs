//! Single values of a row image.

use dm_schema::Column;

use super::jsonb;
use super::reader::{DecodeError, Reader};
use super::table_map::PhysicalType;

/// A value as it goes into a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// A number with a sign.
    Int(i64),
    /// A number without one; also BIT values, ENUM indexes and SET bitmaps.
    UInt(u64),
    /// A number in SQL's own text form.
    Number(String),
    /// Dates, times and JSON: plain text.
    Text(String),
    /// Texts in their column's character set, and binary data.
    Bytes(Vec<u8>),
}

/// Reads one value of a physical type; the structure's column says what the bytes leave open.
pub fn decode(
    physical: PhysicalType,
    column: &Column,
    reader: &mut Reader<'_>,
) -> Result<Value, DecodeError> {
    let meta = usize::from(physical.meta);
    match physical.code {
        1 => integer(1, column, reader),
        2 => integer(2, column, reader),
        9 => integer(3, column, reader),
        3 => integer(4, column, reader),
        8 => integer(8, column, reader),
        4 => Ok(Value::Number(float(
            f32::from_le_bytes(array(reader)?).into(),
        ))),
        5 => Ok(Value::Number(float(f64::from_le_bytes(array(reader)?)))),
        246 => decimal(meta >> 8, meta & 0xff, reader).map(Value::Number),
        13 => {
            let year = u16::from(reader.u8("YEAR")?);
            Ok(Value::Int(if year == 0 {
                0
            } else {
                i64::from(year) + 1900
            }))
        }
        10 => date(reader),
        7 | 11 | 12 => old_time(physical.code, column, reader),
        17 => timestamp(meta, reader),
        18 => datetime(meta, reader),
        19 => time(meta, reader),
        15 | 253 => sized(if meta < 256 { 1 } else { 2 }, column, reader),
        254 | 247 | 248 => string(physical, column, reader),
        249..=252 | 255 => sized(meta, column, reader),
        245 => {
            let len = to_len(reader.le(meta.min(8), "JSON")?)?;
            jsonb::to_text(reader.take(len, "JSON")?).map(Value::Text)
        }
        16 => {
            let bits = (meta >> 8) * 8 + (meta & 0xff);
            Ok(Value::UInt(reader.be(bits.div_ceil(8).min(8), "BIT")?))
        }
        6 => Ok(Value::Null),
        other => Err(DecodeError::Unsupported(format!(
            "column {} has the physical type {other}",
            column.name
        ))),
    }
}

fn array<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], DecodeError> {
    reader
        .take(N, "number")?
        .try_into()
        .map_err(|_| DecodeError::Short("number"))
}

fn to_len(len: u64) -> Result<usize, DecodeError> {
    usize::try_from(len).map_err(|_| DecodeError::Short("length"))
}

/// The log does not tell signs: the structure does.
fn integer(len: usize, column: &Column, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    let raw = reader.le(len, "integer")?;
    if column.unsigned {
        return Ok(Value::UInt(raw));
    }
    let unused = 64 - 8 * u32::try_from(len).unwrap_or(8);
    Ok(Value::Int((raw << unused).cast_signed() >> unused))
}

/// The shortest text that is read back as the same number.
fn float(number: f64) -> String {
    format!("{number:e}")
}

/// Digits in groups of nine, each in four bytes; the odd ones in front of the integer part and at the end of the fraction take as few bytes as they can.
fn decimal(precision: usize, scale: usize, reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    const BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
    let whole = precision
        .checked_sub(scale)
        .ok_or_else(|| DecodeError::Mismatch(format!("DECIMAL({precision},{scale})")))?;
    let len = whole / 9 * 4 + BYTES[whole % 9] + scale / 9 * 4 + BYTES[scale % 9];
    let mut bytes = reader.take(len, "DECIMAL")?.to_vec();
    let Some(first) = bytes.first_mut() else {
        return Err(DecodeError::Mismatch("DECIMAL without digits".to_owned()));
    };
    let negative = *first & 0x80 == 0;
    *first ^= 0x80;
    if negative {
        bytes.iter_mut().for_each(|b| *b = !*b);
    }
    let mut digits = Reader::new(&bytes);
    let mut integer = String::new();
    let mut group = |out: &mut String, count: usize| -> Result<(), DecodeError> {
        if count > 0 {
            let number = digits.be(BYTES[count], "DECIMAL")?;
            out.push_str(&format!("{number:0count$}"));
        }
        Ok(())
    };
    group(&mut integer, whole % 9)?;
    for _ in 0..whole / 9 {
        group(&mut integer, 9)?;
    }
    let mut fraction = String::new();
    for _ in 0..scale / 9 {
        group(&mut fraction, 9)?;
    }
    group(&mut fraction, scale % 9)?;
    let integer = match integer.trim_start_matches('0') {
        "" => "0",
        trimmed => trimmed,
    };
    let sign = if negative { "-" } else { "" };
    Ok(if fraction.is_empty() {
        format!("{sign}{integer}")
    } else {
        format!("{sign}{integer}.{fraction}")
    })
}

fn date(reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    let packed = reader.le(3, "DATE")?;
    let (day, month, year) = (packed & 31, packed >> 5 & 15, packed >> 9);
    Ok(Value::Text(format!("{year:04}-{month:02}-{day:02}")))
}

/// Formats before MySQL 5.6, which hold whole seconds only.
fn old_time(code: u8, column: &Column, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    if column.length.unwrap_or(0) > 0 {
        return Err(DecodeError::Unsupported(format!(
            "column {} is stored in the old temporal format with fractions; rebuild the table",
            column.name
        )));
    }
    Ok(Value::Text(match code {
        7 => unix_time(reader.le(4, "TIMESTAMP")?, 0, 0),
        11 => {
            let raw = match integer(3, &signed(column), reader)? {
                Value::Int(raw) => raw,
                _ => 0,
            };
            let sign = if raw < 0 { "-" } else { "" };
            let raw = raw.unsigned_abs();
            format!(
                "{sign}{:02}:{:02}:{:02}",
                raw / 10_000,
                raw / 100 % 100,
                raw % 100
            )
        }
        _ => {
            let raw = reader.le(8, "DATETIME")?;
            let (date, time) = (raw / 1_000_000, raw % 1_000_000);
            format!(
                "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
                date / 10_000,
                date / 100 % 100,
                date % 100,
                time / 10_000,
                time / 100 % 100,
                time % 100
            )
        }
    }))
}

fn signed(column: &Column) -> Column {
    Column {
        unsigned: false,
        ..column.clone()
    }
}

/// Fraction bytes hold two digits each; an odd number of digits is stored with a zero behind.
fn fraction(digits: usize, reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let len = digits.div_ceil(2).min(3);
    let raw = reader.be(len, "fraction")?;
    Ok(raw * 100_u64.pow(3 - u32::try_from(len).unwrap_or(3)))
}

fn fraction_text(micros: u64, digits: usize) -> String {
    if digits == 0 {
        return String::new();
    }
    let all = format!("{micros:06}");
    format!(".{}", &all[..digits.min(6)])
}

fn timestamp(digits: usize, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    let seconds = reader.be(4, "TIMESTAMP")?;
    let micros = fraction(digits, reader)?;
    Ok(Value::Text(unix_time(seconds, micros, digits)))
}

fn datetime(digits: usize, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    let packed = reader.be(5, "DATETIME")?;
    let micros = fraction(digits, reader)?;
    // The sign bit is always set.
    let packed = packed & 0x7f_ffff_ffff;
    let months = packed >> 22;
    let (year, month) = (months / 13, months % 13);
    let (day, hour, minute, second) = (
        packed >> 17 & 31,
        packed >> 12 & 31,
        packed >> 6 & 63,
        packed & 63,
    );
    let fraction = fraction_text(micros, digits);
    Ok(Value::Text(format!(
        "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{fraction}"
    )))
}

/// Seconds and fraction are one number with an offset, so that a negative time with a fraction borrows from its seconds.
fn time(digits: usize, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    let fraction_len = digits.div_ceil(2).min(3);
    let raw = reader.be(3 + fraction_len, "TIME")?.cast_signed();
    let scale = 1_i64 << (8 * fraction_len);
    let value = raw - 0x80_0000 * scale;
    let sign = if value < 0 { "-" } else { "" };
    let magnitude = value.unsigned_abs();
    let scale = scale.unsigned_abs();
    let (packed, fraction) = (magnitude / scale, magnitude % scale);
    let micros = fraction * 100_u64.pow(3 - u32::try_from(fraction_len).unwrap_or(3));
    let (hour, minute, second) = (packed >> 12 & 0x3ff, packed >> 6 & 63, packed & 63);
    let fraction = fraction_text(micros, digits);
    Ok(Value::Text(format!(
        "{sign}{hour:02}:{minute:02}:{second:02}{fraction}"
    )))
}

/// In UTC, as the sessions that write it are. The zero timestamp is a date of its own.
fn unix_time(seconds: u64, micros: u64, digits: usize) -> String {
    let fraction = fraction_text(micros, digits);
    if seconds == 0 && micros == 0 {
        return format!("0000-00-00 00:00:00{fraction}");
    }
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_date(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}{fraction}",
        clock / 3600,
        clock / 60 % 60,
        clock % 60
    )
}

/// The date that lies `days` after 1970-01-01, by counting in eras of 400 years that begin in March.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// CHAR, BINARY, ENUM and SET share a type number; the metadata tells them apart, with high bits of the length hidden in it.
fn string(
    physical: PhysicalType,
    column: &Column,
    reader: &mut Reader<'_>,
) -> Result<Value, DecodeError> {
    let (high, low) = (physical.meta >> 8, physical.meta & 0xff);
    let real = if physical.code == 254 && high & 0x30 == 0x30 {
        high
    } else if physical.code == 254 {
        254
    } else {
        u16::from(physical.code)
    };
    match real {
        247 | 248 => Ok(Value::UInt(
            reader.le(usize::from(low).min(8), "ENUM or SET")?,
        )),
        _ => {
            let max = low | ((high & 0x30) ^ 0x30) << 4;
            sized(if max < 256 { 1 } else { 2 }, column, reader)
        }
    }
}

fn sized(prefix: usize, column: &Column, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    let len = to_len(reader.le(prefix.min(8), "length")?)?;
    let mut bytes = reader.take(len, "text or binary value")?.to_vec();
    // Fixed-length binary values are logged without the zeros at their end.
    match column.kind.as_str() {
        "BINARY" => {
            let full = usize::try_from(column.length.unwrap_or(1)).unwrap_or_default();
            bytes.resize(full.max(bytes.len()), 0);
        }
        "UUID" | "INET6" => bytes.resize(16, 0),
        "INET4" => bytes.resize(4, 0),
        _ => return Ok(Value::Bytes(bytes)),
    }
    address_text(&column.kind, &bytes).map_or(Ok(Value::Bytes(bytes)), |text| Ok(Value::Text(text)))
}

/// MariaDB's own types are written as text.
fn address_text(kind: &str, bytes: &[u8]) -> Option<String> {
    match kind {
        "UUID" => {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            Some(format!(
                "{}-{}-{}-{}-{}",
                hex.get(..8)?,
                hex.get(8..12)?,
                hex.get(12..16)?,
                hex.get(16..20)?,
                hex.get(20..)?
            ))
        }
        "INET6" => {
            let octets: [u8; 16] = bytes.try_into().ok()?;
            Some(std::net::Ipv6Addr::from(octets).to_string())
        }
        "INET4" => {
            let octets: [u8; 4] = bytes.try_into().ok()?;
            Some(std::net::Ipv4Addr::from(octets).to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: &str) -> Column {
        Column {
            name: "c".to_owned(),
            kind: kind.to_owned(),
            length: None,
            unsigned: false,
            not_null: false,
            charset: None,
            generated: None,
        }
    }

    fn text(code: u8, meta: u16, bytes: &[u8]) -> String {
        match decode(
            PhysicalType { code, meta },
            &column("X"),
            &mut Reader::new(bytes),
        ) {
            Ok(Value::Text(text) | Value::Number(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_structure_decides_the_sign() {
        let medium = PhysicalType { code: 9, meta: 0 };
        let bytes = [0xff, 0xff, 0xff];
        let read = |c: &Column| decode(medium, c, &mut Reader::new(&bytes)).unwrap();
        assert_eq!(read(&column("MEDIUMINT")), Value::Int(-1));
        let unsigned = Column {
            unsigned: true,
            ..column("MEDIUMINT")
        };
        assert_eq!(read(&unsigned), Value::UInt(16_777_215));
        let big = PhysicalType { code: 8, meta: 0 };
        assert_eq!(
            decode(big, &unsigned, &mut Reader::new(&[0xff; 8])).unwrap(),
            Value::UInt(u64::MAX)
        );
    }

    #[test]
    fn negative_times_borrow_from_their_seconds() {
        // -12:34:56.78 as TIME(2): the packed number of 12:34:56 and its fraction, negated as one.
        let packed: i64 = (12 << 12 | 34 << 6 | 56) * 256 + 78;
        let raw = (0x80_0000_i64 * 256 - packed).cast_unsigned();
        assert_eq!(text(19, 2, &raw.to_be_bytes()[4..]), "-12:34:56.78");
        assert_eq!(text(19, 0, &[0x80, 0, 0]), "00:00:00");
    }

    #[test]
    fn decimals_are_exact() {
        // 1234567890.1234 as DECIMAL(14,4).
        let bytes = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        assert_eq!(text(246, 14 << 8 | 4, &bytes), "1234567890.1234");
        let negative: Vec<u8> = bytes.iter().map(|b| !b).collect();
        assert_eq!(text(246, 14 << 8 | 4, &negative), "-1234567890.1234");
        assert_eq!(text(246, 4 << 8 | 2, &[0x80, 5]), "0.05");
    }

    #[test]
    fn dates_reach_from_zero_to_the_end() {
        assert_eq!(text(17, 0, &[0, 0, 0, 0]), "0000-00-00 00:00:00");
        assert_eq!(
            text(17, 0, &[0x7f, 0xff, 0xff, 0xff]),
            "2038-01-19 03:14:07"
        );
        assert_eq!(
            text(17, 3, &[0x38, 0x6d, 0x43, 0x80, 0x04, 0xce]),
            "2000-01-01 00:00:00.123"
        );
        assert_eq!(text(10, 0, &[0, 0, 0]), "0000-00-00");
        assert_eq!(unix_time(951_782_400, 0, 0), "2000-02-29 00:00:00");
    }

    #[test]
    fn zeros_at_the_end_of_binary_values_come_back() {
        let binary = Column {
            length: Some(4),
            ..column("BINARY")
        };
        let physical = PhysicalType {
            code: 254,
            meta: 0xfe04,
        };
        assert_eq!(
            decode(physical, &binary, &mut Reader::new(&[1, 7])).unwrap(),
            Value::Bytes(vec![7, 0, 0, 0])
        );
        assert_eq!(
            decode(physical, &column("INET4"), &mut Reader::new(&[2, 1, 2])).unwrap(),
            Value::Text("1.2.0.0".to_owned())
        );
    }

    #[test]
    fn floats_keep_their_value() {
        assert_eq!(float(0.1_f32.into()).parse::<f32>().unwrap(), 0.1_f32);
        assert_eq!(float(f64::MAX).parse::<f64>().unwrap(), f64::MAX);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_a_value_panic(code: u8, meta: u16, bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..24)) {
            let _ = decode(PhysicalType { code, meta }, &column("BINARY"), &mut Reader::new(&bytes));
        }
    }
}
