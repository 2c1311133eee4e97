//! Reader of protobuf's wire format that knows no types: it cuts a message into its fields. Pure, and total: any
//! bytes give fields or [`Malformed`].

/// The bytes are no protobuf message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Malformed;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    /// Text, bytes, a message or packed numbers.
    Delimited(&'a [u8]),
    /// Proto2's groups; no message here has one, so that its content does not matter.
    Group,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
    /// The tag as it was written.
    pub(crate) tag: &'a [u8],
    /// Tag and value as they were written.
    pub(crate) raw: &'a [u8],
}

/// Iterates over the fields of one message, not into sub-messages.
#[derive(Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = field(self.0);
        // After an error there is nothing to go on with.
        self.0 = field.map_or(&[], |field| &self.0[field.raw.len()..]);
        Some(field)
    }
}

const GROUP: u8 = 3;
const END_OF_GROUP: u8 = 4;

fn field(bytes: &[u8]) -> Result<Field<'_>, Malformed> {
    let (number, wire_type, mut rest) = tag(bytes)?;
    let tag = &bytes[..bytes.len() - rest.len()];
    let value = match wire_type {
        GROUP => {
            rest = after_group(number, rest)?;
            Value::Group
        }
        other => value(other, &mut rest)?,
    };
    let raw = &bytes[..bytes.len() - rest.len()];
    Ok(Field {
        number,
        value,
        tag,
        raw,
    })
}

fn tag(bytes: &[u8]) -> Result<(u32, u8, &[u8]), Malformed> {
    let mut rest = bytes;
    let key = u32::try_from(varint(&mut rest)?).map_err(|_| Malformed)?;
    match key >> 3 {
        0 => Err(Malformed),
        number => Ok((number, (key & 7) as u8, rest)),
    }
}

fn value<'a>(wire_type: u8, rest: &mut &'a [u8]) -> Result<Value<'a>, Malformed> {
    Ok(match wire_type {
        0 => Value::Varint(varint(rest)?),
        1 => Value::Fixed64(array(rest)?),
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| Malformed)?;
            let (value, after) = rest.split_at_checked(length).ok_or(Malformed)?;
            *rest = after;
            Value::Delimited(value)
        }
        5 => Value::Fixed32(array(rest)?),
        _ => return Err(Malformed),
    })
}

/// Skips to behind the end of group `number`; inner groups must be closed in order.
fn after_group(number: u32, mut rest: &[u8]) -> Result<&[u8], Malformed> {
    let mut open = vec![number];
    while let Some(&innermost) = open.last() {
        let (number, wire_type, after) = tag(rest)?;
        rest = after;
        match wire_type {
            GROUP => open.push(number),
            END_OF_GROUP if number == innermost => {
                open.pop();
            }
            other => {
                value(other, &mut rest)?;
            }
        }
    }
    Ok(rest)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (value, after) = rest.split_first_chunk::<N>().ok_or(Malformed)?;
    *rest = after;
    Ok(*value)
}

/// Takes one varint of at most ten bytes; bits beyond the 64th are an error, as they are for prost.
pub(crate) fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for (index, &byte) in rest.iter().enumerate().take(10) {
        if index == 9 && byte > 1 {
            return Err(Malformed);
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *rest = &rest[index + 1..];
            return Ok(value);
        }
    }
    Err(Malformed)
}

/// Takes the next number out of a packed field whose elements are `like` (its content is not used).
pub(crate) fn unpack<'a>(like: Value<'_>, rest: &mut &'a [u8]) -> Result<Value<'a>, Malformed> {
    match like {
        Value::Fixed64(_) => value(1, rest),
        Value::Fixed32(_) => value(5, rest),
        _ => value(0, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
        Fields::of(bytes)
            .map(|field| field.map(|field| (field.number, field.value)))
            .collect()
    }

    #[test]
    fn each_wire_type_is_cut_out() {
        let bytes = [
            0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7,
            8,
        ];
        let wanted = vec![
            (1, Value::Varint(150)),
            (2, Value::Delimited(b"hi")),
            (3, Value::Fixed32([1, 2, 3, 4])),
            (4, Value::Fixed64([1, 2, 3, 4, 5, 6, 7, 8])),
        ];
        assert_eq!(all(&bytes), Ok(wanted));
    }

    #[test]
    fn a_group_is_one_field_with_all_that_is_in_it() {
        // Field 1: group { 2: 5, 3: group {} }, then field 4: 7.
        let bytes = [0x0b, 0x10, 5, 0x1b, 0x1c, 0x0c, 0x20, 7];
        assert_eq!(
            all(&bytes),
            Ok(vec![(1, Value::Group), (4, Value::Varint(7))])
        );
    }

    #[test]
    fn broken_input_is_named_so() {
        for bytes in [
            &[0x08][..],   // no value
            &[0x00, 1],    // field number 0
            &[0x12, 5, 1], // shorter than it says
            &[0x0c],       // end of a group that was not opened
            &[0x0b, 0x10], // group without end
            &[0x0b, 0x14], // closed by another number
            &[0x0e, 1],    // wire type 6
            &[0x1d, 1, 2], // short fixed32
            &[
                0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
            ], // more than 64 bits
        ] {
            assert_eq!(all(bytes), Err(Malformed), "{bytes:x?}");
        }
    }
}
