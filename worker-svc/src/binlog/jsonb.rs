//! MySQL's binary JSON as text. MariaDB stores JSON as text and never comes here.

use super::reader::{DecodeError, Reader};

/// A document may not be nested deeper than the server allows.
const MAX_DEPTH: usize = 100;

pub(super) fn to_text(bytes: &[u8]) -> Result<String, DecodeError> {
    let Some((kind, body)) = bytes.split_first() else {
        return Ok("null".to_owned());
    };
    let mut out = String::new();
    value(*kind, body, &mut out, 0)?;
    Ok(out)
}

fn value(kind: u8, body: &[u8], out: &mut String, depth: usize) -> Result<(), DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::Mismatch("JSON nested too deeply".to_owned()));
    }
    let mut reader = Reader::new(body);
    match kind {
        0x00..=0x03 => return container(kind, body, out, depth),
        0x04 => out.push_str(match reader.u8("JSON literal")? {
            1 => "true",
            2 => "false",
            _ => "null",
        }),
        0x05 | 0x07 | 0x09 => {
            let len = [2, 4, 8][usize::from(kind - 5) / 2];
            let unused = 64 - 8 * u32::try_from(len).unwrap_or(8);
            let raw = reader.le(len, "JSON number")?;
            out.push_str(&((raw << unused).cast_signed() >> unused).to_string());
        }
        0x06 | 0x08 | 0x0a => {
            let len = [2, 4, 8][usize::from(kind - 6) / 2];
            out.push_str(&reader.le(len, "JSON number")?.to_string());
        }
        0x0b => {
            let number = f64::from_bits(reader.le(8, "JSON number")?);
            out.push_str(&serde_json::Value::from(number).to_string());
        }
        0x0c => {
            let len = variable_length(&mut reader)?;
            let text = String::from_utf8_lossy(reader.take(len, "JSON text")?);
            out.push_str(&serde_json::Value::from(text).to_string());
        }
        other => {
            return Err(DecodeError::Unsupported(format!(
                "JSON value of type {other} (dates and decimals inside JSON)"
            )));
        }
    }
    Ok(())
}

fn variable_length(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let mut len = 0_usize;
    for shift in 0..5 {
        let byte = reader.u8("JSON length")?;
        len |= usize::from(byte & 0x7f) << (7 * shift);
        if byte & 0x80 == 0 {
            return Ok(len);
        }
    }
    Err(DecodeError::Mismatch("JSON length".to_owned()))
}

/// Objects and arrays: a head with the number of elements, entries that point at keys and values by offset.
fn container(kind: u8, body: &[u8], out: &mut String, depth: usize) -> Result<(), DecodeError> {
    let large = kind & 1 == 1;
    let is_object = kind < 2;
    let width = if large { 4 } else { 2 };
    let size = |n: u64| usize::try_from(n).map_err(|_| DecodeError::Short("JSON offset"));
    let mut head = Reader::new(body);
    let count = size(head.le(width, "JSON head")?)?;
    head.take(width, "JSON head")?;
    let mut keys = Vec::new();
    if is_object {
        for _ in 0..count {
            let offset = size(head.le(width, "JSON key")?)?;
            let len = size(head.le(2, "JSON key")?)?;
            keys.push(
                offset
                    .checked_add(len)
                    .and_then(|end| body.get(offset..end))
                    .ok_or(DecodeError::Short("JSON key"))?,
            );
        }
    }
    out.push(if is_object { '{' } else { '[' });
    for at in 0..count {
        if at > 0 {
            out.push_str(", ");
        }
        if let Some(key) = keys.get(at) {
            let key = String::from_utf8_lossy(key);
            out.push_str(&serde_json::Value::from(key).to_string());
            out.push_str(": ");
        }
        let kind = head.u8("JSON entry")?;
        let entry = head.take(width, "JSON entry")?;
        let inline = kind == 4 || kind == 5 || kind == 6 || (large && (kind == 7 || kind == 8));
        if inline {
            value(kind, entry, out, depth + 1)?;
        } else {
            let offset = size(Reader::new(entry).le(width, "JSON entry")?)?;
            let body = body.get(offset..).ok_or(DecodeError::Short("JSON value"))?;
            value(kind, body, out, depth + 1)?;
        }
    }
    out.push(if is_object { '}' } else { ']' });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_object_is_read() {
        // {"a": [1, "x"], "b": true}
        let inner = [2, 0, 12, 0, 5, 1, 0, 12, 10, 0, 1, b'x'];
        let mut body = vec![2, 0, 32, 0];
        body.extend([18, 0, 1, 0, 19, 0, 1, 0]);
        body.extend([2, 20, 0, 4, 1, 0]);
        body.extend(*b"ab");
        body.extend(inner);
        let mut bytes = vec![0];
        bytes.extend(body);
        assert_eq!(to_text(&bytes).unwrap(), r#"{"a": [1, "x"], "b": true}"#);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)) {
            let _ = to_text(&bytes);
        }
    }
}
