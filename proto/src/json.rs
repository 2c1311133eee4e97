//! The JSON form in which `dmctl` prints messages, letter for letter as DM's does: defaults are written out,
//! four spaces of indent, field names as in the .proto files, 64-bit numbers as text, enums by name, unset
//! sub-messages as `null`, and `<`, `>`, `&` escaped.
//!
//! One printer for all messages: it reads the encoded bytes by the embedded descriptors.

use std::collections::BTreeMap;

use base64::Engine;
use prost::{Message, Name};

use crate::descriptor::{FieldType, Kind, MessageType, Registry};
use crate::lossy::MAX_DEPTH;
use crate::wire::{self, Fields, Malformed, Value};

mod literal;

use literal::{number, text, zero};

/// Why bytes cannot be shown as JSON.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The name is of no message in this crate's `.proto` files.
    #[error("no message type {0}")]
    UnknownType(String),
    /// The bytes are no encoding of the type.
    #[error("not a valid {0}")]
    Malformed(String),
}

/// The JSON form of a message of this crate.
///
/// A type of another crate gives a JSON string that says so: there is nothing to print it by.
pub fn print<M: Message + Name>(message: &M) -> String {
    to_json(&M::full_name(), &message.encode_to_vec()).unwrap_or_else(|error| {
        let mut out = String::new();
        text(&mut out, error.to_string().as_bytes());
        out
    })
}

/// The JSON form of an encoded message, given its full name (`pb.ListMemberResponse`).
///
/// # Errors
/// When the name is not known, or the bytes do not decode as that type.
pub fn to_json(full_name: &str, bytes: &[u8]) -> Result<String, Error> {
    let registry = Registry::embedded();
    let message = registry
        .message(full_name)
        .ok_or_else(|| Error::UnknownType(full_name.to_owned()))?;
    let mut printer = Printer {
        registry,
        out: String::new(),
    };
    printer
        .object(message, bytes, 0)
        .map_err(|Malformed| Error::Malformed(full_name.to_owned()))?;
    Ok(printer.out)
}

struct Printer {
    registry: &'static Registry,
    out: String,
}

impl Printer {
    /// `level` is the indent of the line that the opening brace stands on.
    fn object(
        &mut self,
        message: &MessageType,
        bytes: &[u8],
        level: usize,
    ) -> Result<(), Malformed> {
        if level > 2 * MAX_DEPTH {
            return Err(Malformed);
        }
        let content = Content::of(message, bytes)?;
        // An object without fields has an empty line in it; DM's has, too.
        self.out.push_str("{\n");
        let mut separator = "";
        for field in &message.fields {
            let values = content.values(field.number);
            if field
                .oneof
                .is_some_and(|oneof| content.chosen.get(&oneof) != Some(&field.number))
            {
                continue;
            }
            self.out.push_str(separator);
            separator = ",\n";
            self.indent(level + 1);
            text(&mut self.out, field.json_name.as_bytes());
            self.out.push_str(": ");
            self.field(field, values, level + 1)?;
        }
        self.new_line(level);
        self.out.push('}');
        Ok(())
    }

    fn field(
        &mut self,
        field: &FieldType,
        values: &[Value<'_>],
        level: usize,
    ) -> Result<(), Malformed> {
        if !field.is_repeated {
            return self.singular(&field.kind, values, level);
        }
        match &field.kind {
            Kind::Message(name) => match self.registry.message(name) {
                Some(entry) if entry.is_map_entry => self.map(entry, values, level),
                _ => self.list(&field.kind, values, level),
            },
            kind => self.list(kind, &unpacked(kind, values)?, level),
        }
    }

    fn list(&mut self, kind: &Kind, values: &[Value<'_>], level: usize) -> Result<(), Malformed> {
        self.out.push('[');
        for (index, value) in values.iter().enumerate() {
            self.out.push_str(if index == 0 { "" } else { "," });
            self.new_line(level + 1);
            self.singular(kind, std::slice::from_ref(value), level + 1)?;
        }
        self.new_line(level);
        self.out.push(']');
        Ok(())
    }

    fn map(
        &mut self,
        entry: &MessageType,
        values: &[Value<'_>],
        level: usize,
    ) -> Result<(), Malformed> {
        let [key_type, value_type] = entry.fields.as_slice() else {
            return Err(Malformed);
        };
        // Sorted by key; of equal keys the last counts.
        let mut entries = BTreeMap::new();
        for value in values {
            let content = Content::of(entry, delimited(*value)?)?;
            let mut key = Self {
                registry: self.registry,
                out: String::new(),
            };
            key.singular(&key_type.kind, content.values(key_type.number), 0)?;
            entries.insert(key.out, content);
        }
        self.out.push('{');
        for (index, (key, content)) in entries.iter().enumerate() {
            self.out.push_str(if index == 0 { "" } else { "," });
            self.new_line(level + 1);
            match key.starts_with('"') {
                true => self.out.push_str(key),
                false => text(&mut self.out, key.as_bytes()),
            }
            self.out.push_str(": ");
            self.singular(
                &value_type.kind,
                content.values(value_type.number),
                level + 1,
            )?;
        }
        self.new_line(level);
        self.out.push('}');
        Ok(())
    }

    /// A field that is there once: of several values the last counts, several messages are one.
    fn singular(
        &mut self,
        kind: &Kind,
        values: &[Value<'_>],
        level: usize,
    ) -> Result<(), Malformed> {
        match (kind, values.last()) {
            (Kind::Message(_), None) | (Kind::Bytes, None) => self.out.push_str("null"),
            (Kind::Message(name), Some(_)) => {
                let message = self.registry.message(name).ok_or(Malformed)?;
                let mut whole = Vec::new();
                for value in values {
                    whole.extend_from_slice(delimited(*value)?);
                }
                self.object(message, &whole, level)?;
            }
            (Kind::Bytes, Some(value)) => {
                let base64 = base64::engine::general_purpose::STANDARD.encode(delimited(*value)?);
                text(&mut self.out, base64.as_bytes());
            }
            (Kind::Text, value) => {
                text(&mut self.out, value.map_or(Ok(&[][..]), |v| delimited(*v))?)
            }
            (Kind::Enum(name), value) => {
                // The low half is the number, as protobuf has it for all 32-bit kinds.
                let number = value.map_or(Ok(0), |v| varint(*v))? as i32;
                match self.registry.enum_value(name, number) {
                    Some(name) => text(&mut self.out, name.as_bytes()),
                    None => self.out.push_str(&number.to_string()),
                }
            }
            (Kind::Scalar(of), value) => {
                let number = number(*of, value.copied().unwrap_or(zero(*of)))?;
                self.out.push_str(&number);
            }
        }
        Ok(())
    }

    fn new_line(&mut self, level: usize) {
        self.out.push('\n');
        self.indent(level);
    }

    fn indent(&mut self, level: usize) {
        for _ in 0..level {
            self.out.push_str("    ");
        }
    }
}

/// The fields of one message, in the order of their numbers.
struct Content<'a> {
    values: BTreeMap<u32, Vec<Value<'a>>>,
    /// Which member of each oneof was written last.
    chosen: BTreeMap<i32, u32>,
}

impl<'a> Content<'a> {
    fn of(message: &MessageType, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut values: BTreeMap<u32, Vec<_>> = BTreeMap::new();
        let mut chosen = BTreeMap::new();
        for field in Fields::of(bytes) {
            let field = field?;
            values.entry(field.number).or_default().push(field.value);
            if let Some(oneof) = message.field(field.number).and_then(|of| of.oneof) {
                chosen.insert(oneof, field.number);
            }
        }
        Ok(Self { values, chosen })
    }

    fn values(&self, number: u32) -> &[Value<'a>] {
        self.values.get(&number).map_or(&[], Vec::as_slice)
    }
}

/// The elements of a repeated field, whether they were packed or not.
fn unpacked<'a>(kind: &Kind, values: &[Value<'a>]) -> Result<Vec<Value<'a>>, Malformed> {
    let like = match kind {
        Kind::Enum(_) => Value::Varint(0),
        Kind::Scalar(of) => zero(*of),
        _ => return Ok(values.to_vec()),
    };
    let mut all = Vec::new();
    for value in values {
        match *value {
            Value::Delimited(mut packed) => {
                while !packed.is_empty() {
                    all.push(wire::unpack(like, &mut packed)?);
                }
            }
            single => all.push(single),
        }
    }
    Ok(all)
}

fn delimited(value: Value<'_>) -> Result<&[u8], Malformed> {
    match value {
        Value::Delimited(bytes) => Ok(bytes),
        _ => Err(Malformed),
    }
}

fn varint(value: Value<'_>) -> Result<u64, Malformed> {
    match value {
        Value::Varint(number) => Ok(number),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb;
    use proptest::prelude::*;

    #[test]
    fn members_are_laid_out_as_dmctl_shows_them() {
        use pb::members::Member;
        let of = |member| pb::Members {
            member: Some(member),
        };
        let response = pb::ListMemberResponse {
            result: true,
            msg: String::new(),
            members: vec![
                of(Member::Leader(pb::ListLeaderMember {
                    name: "master1".into(),
                    addr: "127.0.0.1:8261".into(),
                    ..Default::default()
                })),
                of(Member::Master(pb::ListMasterMember {
                    masters: vec![pb::MasterInfo {
                        name: "master1".into(),
                        member_id: 11_614_169_416_127_022_857,
                        alive: true,
                        peer_ur_ls: vec!["http://127.0.0.1:8291".into()],
                        client_ur_ls: vec![],
                    }],
                    ..Default::default()
                })),
            ],
        };
        let wanted = r#"{
    "result": true,
    "msg": "",
    "members": [
        {
            "leader": {
                "msg": "",
                "name": "master1",
                "addr": "127.0.0.1:8261"
            }
        },
        {
            "master": {
                "msg": "",
                "masters": [
                    {
                        "name": "master1",
                        "memberID": "11614169416127022857",
                        "alive": true,
                        "peerURLs": [
                            "http://127.0.0.1:8291"
                        ],
                        "clientURLs": [
                        ]
                    }
                ]
            }
        }
    ]
}"#;
        assert_eq!(print(&response), wanted);
    }

    #[test]
    fn unset_messages_are_null_and_unset_oneofs_are_not_there() {
        let status = pb::SubTaskStatus {
            stage: pb::Stage::Running.into(),
            unit: 42,
            ..Default::default()
        };
        let wanted = r#"{
    "name": "",
    "stage": "Running",
    "unit": 42,
    "result": null,
    "unresolvedDDLLockID": "",
    "validation": null
}"#;
        assert_eq!(print(&status), wanted);
    }

    #[test]
    fn a_oneof_member_stands_at_the_place_of_the_oneof_even_when_empty() {
        let request = pb::StartValidationRequest {
            mode: Some(pb::start_validation_request::Mode::ModeValue(String::new())),
            task_name: "t".into(),
            ..Default::default()
        };
        let wanted =
            "{\n    \"modeValue\": \"\",\n    \"sources\": [\n    ],\n    \"taskName\": \"t\"\n}";
        assert_eq!(print(&request), wanted);
    }

    #[test]
    fn maps_are_sorted_and_empty_ones_span_two_lines() {
        let mut response = pb::ListTaskConfigsResponse::default();
        let empty =
            "{\n    \"result\": false,\n    \"msg\": \"\",\n    \"taskConfigs\": {\n    }\n}";
        assert_eq!(print(&response), empty);
        response.task_configs = [("b".into(), "1".into()), ("a".into(), String::new())].into();
        assert!(
            print(&response).ends_with(
                "\"taskConfigs\": {\n        \"a\": \"\",\n        \"b\": \"1\"\n    }\n}"
            )
        );
    }

    #[test]
    fn bytes_are_base64_and_null_when_there_are_none() {
        let mut result = pb::ProcessResult::default();
        assert!(print(&result).ends_with("\"detail\": null\n}"));
        result.detail = b"hi?".to_vec();
        assert!(print(&result).ends_with("\"detail\": \"aGk/\"\n}"));
        // Written, but empty: no Rust message encodes so, a Go one may.
        let json = to_json("pb.ProcessResult", &[0x1a, 0]).unwrap();
        assert!(json.ends_with("\"detail\": \"\"\n}"));
    }

    #[test]
    fn an_object_without_fields_has_an_empty_line() {
        assert_eq!(print(&pb::GetMasterCfgRequest {}), "{\n\n}");
    }

    #[test]
    fn packed_numbers_and_repeated_bytes_are_lists() {
        let request = crate::etcdserverpb::WatchCreateRequest {
            filters: vec![0, 1],
            ..Default::default()
        };
        assert!(print(&request).contains("[\n        \"NOPUT\",\n        \"NODELETE\"\n    ]"));
        let ttl = crate::etcdserverpb::LeaseTimeToLiveResponse {
            keys: vec![b"k".to_vec(), vec![]],
            ttl: -1,
            ..Default::default()
        };
        let json = print(&ttl);
        assert!(
            json.contains("[\n        \"aw==\",\n        \"\"\n    ]"),
            "{json}"
        );
        assert!(json.contains("\"TTL\": \"-1\""), "{json}");
    }

    #[test]
    fn a_type_that_is_not_ours_and_bytes_that_are_none_are_errors() {
        assert_eq!(
            to_json("pb.Nothing", &[]),
            Err(Error::UnknownType("pb.Nothing".into()))
        );
        assert_eq!(
            to_json("pb.DDLLock", &[0x0a, 9]),
            Err(Error::Malformed("pb.DDLLock".into()))
        );
        assert_eq!(
            to_json("pb.DDLLock", &[0x08, 1]),
            Err(Error::Malformed("pb.DDLLock".into()))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_print_as_valid_json_or_fail(bytes in any::<Vec<u8>>()) {
            for name in Registry::embedded().message_names() {
                if let Ok(json) = to_json(name, &bytes) {
                    let parsed: Result<serde_json::Value, _> = serde_json::from_str(&json);
                    prop_assert!(parsed.is_ok(), "{}", json);
                }
            }
        }

        #[test]
        fn text_survives_a_reading_of_the_json(msg in any::<String>()) {
            let json = print(&pb::OfflineMemberResponse { result: true, msg: msg.clone() });
            let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(parsed["msg"].as_str(), Some(msg.as_str()));
        }
    }
}
