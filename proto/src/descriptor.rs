//! The embedded descriptor set, indexed: what [`crate::lossy`] and [`crate::json`] know about a message.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

use crate::FILE_DESCRIPTOR_SET;

/// What the bytes of a field mean.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Text,
    Bytes,
    /// Full name of the message.
    Message(String),
    /// Full name of the enum.
    Enum(String),
    Scalar(Type),
}

#[derive(Clone, Debug)]
pub(crate) struct FieldType {
    pub(crate) number: u32,
    pub(crate) json_name: String,
    pub(crate) is_repeated: bool,
    pub(crate) kind: Kind,
    /// Which oneof of its message the field belongs to.
    pub(crate) oneof: Option<i32>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct MessageType {
    /// In the order of declaration.
    pub(crate) fields: Vec<FieldType>,
    pub(crate) is_map_entry: bool,
}

impl MessageType {
    pub(crate) fn field(&self, number: u32) -> Option<&FieldType> {
        self.fields.iter().find(|field| field.number == number)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Registry {
    messages: HashMap<String, MessageType>,
    enums: HashMap<String, HashMap<i32, String>>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    // The bytes are made by the build; the tests decode them.
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
    Registry::index(&set)
});

impl Registry {
    /// The types of this crate.
    pub(crate) fn embedded() -> &'static Self {
        &REGISTRY
    }

    pub(crate) fn message(&self, full_name: &str) -> Option<&MessageType> {
        self.messages.get(full_name)
    }

    pub(crate) fn enum_value(&self, full_name: &str, number: i32) -> Option<&str> {
        self.enums.get(full_name)?.get(&number).map(String::as_str)
    }

    #[cfg(test)]
    pub(crate) fn message_names(&self) -> impl Iterator<Item = &str> {
        self.messages.keys().map(String::as_str)
    }

    fn index(set: &FileDescriptorSet) -> Self {
        let mut registry = Self::default();
        for file in &set.file {
            for message in &file.message_type {
                registry.add_message(file.package(), message);
            }
            for item in &file.enum_type {
                registry.add_enum(file.package(), item);
            }
        }
        registry
    }

    fn add_message(&mut self, scope: &str, message: &DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        for nested in &message.nested_type {
            self.add_message(&name, nested);
        }
        for nested in &message.enum_type {
            self.add_enum(&name, nested);
        }
        let is_map_entry = message
            .options
            .as_ref()
            .is_some_and(|options| options.map_entry());
        let fields = message
            .field
            .iter()
            .filter_map(|field| {
                Some(FieldType {
                    number: u32::try_from(field.number()).ok()?,
                    json_name: field.json_name().to_owned(),
                    is_repeated: field.label() == Label::Repeated,
                    kind: kind(field.r#type(), field.type_name()),
                    oneof: field.oneof_index,
                })
            })
            .collect();
        let message = MessageType {
            fields,
            is_map_entry,
        };
        self.messages.insert(name, message);
    }

    fn add_enum(&mut self, scope: &str, item: &EnumDescriptorProto) {
        let mut values = HashMap::new();
        for value in &item.value {
            // Of several names for one number the first counts.
            values
                .entry(value.number())
                .or_insert_with(|| value.name().to_owned());
        }
        self.enums
            .insert(format!("{scope}.{}", item.name()), values);
    }
}

fn kind(of: Type, type_name: &str) -> Kind {
    let name = || type_name.trim_start_matches('.').to_owned();
    match of {
        Type::String => Kind::Text,
        Type::Bytes => Kind::Bytes,
        Type::Message => Kind::Message(name()),
        Type::Enum => Kind::Enum(name()),
        other => Kind::Scalar(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_set_decodes_and_knows_every_package() {
        let registry = Registry::embedded();
        for name in [
            "pb.SubTaskStatus",
            "pb.OperateV1MetaResponse.MetaEntry",
            "etcdserverpb.TxnRequest",
            "mvccpb.KeyValue",
            "dm.member.v1.DescribeResponse",
            "dm.election.v1.MemberStatus",
            "dm.pessimist.v1.LockDetail",
            "dm.optimist.v1.LockDetail",
            "google.protobuf.Empty",
        ] {
            assert!(registry.message(name).is_some(), "{name}");
        }
        assert_eq!(registry.enum_value("pb.UnitType", 100), Some("Relay"));
        assert_eq!(registry.enum_value("pb.UnitType", 5), None);
    }

    #[test]
    fn every_field_has_a_json_name_and_a_known_type() {
        let registry = Registry::embedded();
        for message in registry.messages.values() {
            for field in &message.fields {
                assert!(!field.json_name.is_empty());
                if let Kind::Message(name) = &field.kind {
                    assert!(registry.message(name).is_some(), "{name}");
                }
            }
        }
    }
}
