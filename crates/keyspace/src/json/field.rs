//! What may stand in a member: how each kind is read over what was there before, and how it is written.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::{
    OpaqueJson, push_string,
    read::{Member, inner_members},
};
use crate::{MemberName, SourceId, TaskName, WorkerName};

/// What a field would have taken instead.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Mismatch(pub(crate) &'static str);

/// A kind of member. `Default` is Go's zero value, which stands for a missing one.
pub(crate) trait Field: Default {
    /// Takes a JSON value; null leaves plain values as they are and empties lists and objects.
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch>;

    /// Appends the JSON form.
    fn write(&self, out: &mut String);

    /// Whether the whole member is left out when written.
    fn is_omitted(&self) -> bool {
        false
    }
}

fn is_null(json: &RawValue) -> bool {
    json.get() == "null"
}

impl Field for String {
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
        if !is_null(json) {
            *self = serde_json::from_str(json.get()).map_err(|_| Mismatch("a string"))?;
        }
        Ok(())
    }

    fn write(&self, out: &mut String) {
        push_string(out, self);
    }
}

macro_rules! name_fields {
    ($($name:ty),+) => { $(
        impl Field for $name {
            fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
                let mut name = String::from(std::mem::take(self));
                let read = name.read(json);
                *self = name.into();
                read
            }

            fn write(&self, out: &mut String) {
                push_string(out, self.as_str());
            }
        }
    )+ };
}

name_fields!(SourceId, WorkerName, TaskName, MemberName);

/// A task that is left out when there is none; an empty name says the same.
impl Field for Option<TaskName> {
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
        let mut name = self.take().unwrap_or_default();
        name.read(json)?;
        *self = Some(name).filter(|name| !name.is_empty());
        Ok(())
    }

    fn write(&self, out: &mut String) {
        push_string(out, self.as_ref().map_or("", TaskName::as_str));
    }

    fn is_omitted(&self) -> bool {
        self.is_none()
    }
}

/// Only for members of our own: DM's readers would take any kind, so a wrong kind counts as missing.
impl Field for Option<String> {
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
        *self = serde_json::from_str(json.get()).unwrap_or_default();
        Ok(())
    }

    fn write(&self, out: &mut String) {
        push_string(out, self.as_deref().unwrap_or_default());
    }

    fn is_omitted(&self) -> bool {
        self.is_none()
    }
}

impl Field for bool {
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
        match json.get() {
            "null" => {}
            "true" => *self = true,
            "false" => *self = false,
            _ => return Err(Mismatch("true or false")),
        }
        Ok(())
    }

    fn write(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

macro_rules! integer_fields {
    ($($type:ty: $expected:literal),+) => { $(
        impl Field for $type {
            fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
                if !is_null(json) {
                    *self = json.get().parse().map_err(|_| Mismatch($expected))?;
                }
                Ok(())
            }

            fn write(&self, out: &mut String) {
                out.push_str(&self.to_string());
            }
        }
    )+ };
}

integer_fields!(
    i32: "an integer of 32 bits without fraction",
    i64: "an integer of 64 bits without fraction",
    u64: "an integer of 64 bits, not negative, without fraction"
);

/// A list of which "none" and "empty" are the same.
impl Field for Vec<SourceId> {
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
        let list: Option<Vec<String>> =
            serde_json::from_str(json.get()).map_err(|_| Mismatch("a list of strings or null"))?;
        *self = list
            .unwrap_or_default()
            .into_iter()
            .map(SourceId::from)
            .collect();
        Ok(())
    }

    fn write(&self, out: &mut String) {
        write_list(out, Some(self), |out, id| push_string(out, id.as_str()));
    }
}

/// A list of which "none" (`null`) and "empty" (`[]`) are two states that must both survive.
impl Field for Option<Vec<String>> {
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
        let list: Option<Vec<Option<String>>> =
            serde_json::from_str(json.get()).map_err(|_| Mismatch("a list of strings or null"))?;
        *self = list.map(|list| list.into_iter().map(Option::unwrap_or_default).collect());
        Ok(())
    }

    fn write(&self, out: &mut String) {
        write_list(out, self.as_deref(), |out, item| push_string(out, item));
    }
}

/// An object of somebody else's, or null.
impl Field for Option<OpaqueJson> {
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
        *self = match json.get().as_bytes().first() {
            Some(b'n') => None,
            Some(b'{') => Some(json.into()),
            _ => return Err(Mismatch("an object or null")),
        };
        Ok(())
    }

    fn write(&self, out: &mut String) {
        out.push_str(self.as_ref().map_or("null", OpaqueJson::get));
    }
}

/// A list of objects of somebody else's; one bare object is the form of old versions and becomes a list of one.
impl Field for Option<Vec<OpaqueJson>> {
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
        const EXPECTED: Mismatch = Mismatch("a list of objects, an object or null");
        *self = match json.get().as_bytes().first() {
            Some(b'n') => None,
            Some(b'{') => Some(vec![json.into()]),
            _ => {
                let list: Vec<&RawValue> =
                    serde_json::from_str(json.get()).map_err(|_| EXPECTED)?;
                if !list.iter().all(|item| item.get().starts_with(['{', 'n'])) {
                    return Err(EXPECTED);
                }
                Some(list.into_iter().map(OpaqueJson::from).collect())
            }
        };
        Ok(())
    }

    fn write(&self, out: &mut String) {
        write_list(out, self.as_deref(), |out, item| out.push_str(item.get()));
    }
}

/// The innermost level: names with an empty object each.
impl Field for BTreeSet<String> {
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
        self.clear();
        for (name, empty) in object(json)? {
            object(empty)?;
            self.insert(name.into_owned());
        }
        Ok(())
    }

    fn write(&self, out: &mut String) {
        write_map(out, self.iter().map(|name| (name, ())), |out, ()| {
            out.push_str("{}")
        });
    }
}

/// A level of nested objects by name, written in the order of the names' bytes.
impl<F: Field> Field for BTreeMap<String, F> {
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
        if is_null(json) {
            self.clear();
        }
        for (name, inner) in object(json)? {
            let mut value = F::default();
            value.read(inner)?;
            self.insert(name.into_owned(), value);
        }
        Ok(())
    }

    fn write(&self, out: &mut String) {
        write_map(out, self.iter(), |out, value| value.write(out));
    }
}

/// A map of which null is a state of its own.
impl<F: Field> Field for Option<BTreeMap<String, F>> {
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
        if is_null(json) {
            *self = None;
            return Ok(());
        }
        self.get_or_insert_default().read(json)
    }

    fn write(&self, out: &mut String) {
        match self {
            Some(map) => map.write(out),
            None => out.push_str("null"),
        }
    }
}

fn object(json: &RawValue) -> Result<Vec<Member<'_>>, Mismatch> {
    if is_null(json) {
        return Ok(Vec::new());
    }
    inner_members(json).ok_or(Mismatch("objects inside of objects"))
}

fn write_list<T>(out: &mut String, list: Option<&[T]>, write: impl Fn(&mut String, &T)) {
    let Some(list) = list else {
        out.push_str("null");
        return;
    };
    out.push('[');
    for (at, item) in list.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

fn write_map<'a, T>(
    out: &mut String,
    map: impl Iterator<Item = (&'a String, T)>,
    write: impl Fn(&mut String, T),
) {
    out.push('{');
    for (at, (name, value)) in map.enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_string(out, name);
        out.push(':');
        write(out, value);
    }
    out.push('}');
}
