//! The generated `pb` is DM's: every method, message, field and enum value, by the tables beside this file.

use std::collections::BTreeSet;

use dm_proto::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

fn files(package: &str) -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("the embedded set");
    let files: Vec<_> = set
        .file
        .into_iter()
        .filter(|file| file.package() == package)
        .collect();
    assert!(!files.is_empty(), "{package}");
    files
}

fn table(text: &str) -> BTreeSet<String> {
    text.lines().skip(1).map(str::to_owned).collect()
}

fn compare(found: &BTreeSet<String>, wanted: &BTreeSet<String>) {
    let missing: Vec<_> = wanted.difference(found).collect();
    let extra: Vec<_> = found.difference(wanted).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "missing {missing:?}\nextra {extra:?}"
    );
}

/// The type in the words of the table.
fn type_of(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let short = || {
        field
            .type_name()
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    match field.r#type() {
        Type::Message => match entry(message, field) {
            Some(entry) => {
                let of = |index: usize| type_of(entry, &entry.field[index]);
                format!("map<{} {}>", of(0), of(1))
            }
            None => short(),
        },
        Type::Enum => short(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

fn entry<'a>(
    message: &'a DescriptorProto,
    field: &FieldDescriptorProto,
) -> Option<&'a DescriptorProto> {
    message.nested_type.iter().find(|nested| {
        field
            .type_name()
            .ends_with(&format!(".{}.{}", message.name(), nested.name()))
    })
}

fn label_of(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    match (field.oneof_index, field.label()) {
        (Some(index), _) => format!("oneof {}", message.oneof_decl[index as usize].name()),
        _ if entry(message, field).is_some() => "map".to_owned(),
        (_, Label::Repeated) => "repeated".to_owned(),
        _ => "singular".to_owned(),
    }
}

#[test]
fn every_field_has_dms_number_name_and_type() {
    let mut found = BTreeSet::new();
    for file in files("pb") {
        for message in &file.message_type {
            if message.field.is_empty() {
                found.insert(format!("{},,,,", message.name()));
            }
            for field in &message.field {
                found.insert(format!(
                    "{},{},{},{},{}",
                    message.name(),
                    field.number(),
                    field.name(),
                    type_of(message, field),
                    label_of(message, field),
                ));
            }
        }
    }
    let wanted = table(include_str!("pb-fields.csv"));
    assert_eq!(
        wanted.len(),
        366 + 2,
        "366 fields and two messages without any"
    );
    compare(&found, &wanted);
}

#[test]
fn every_enum_value_has_dms_number() {
    let mut found = BTreeSet::new();
    for file in files("pb") {
        for item in &file.enum_type {
            for value in &item.value {
                found.insert(format!(
                    "{},{},{}",
                    item.name(),
                    value.number(),
                    value.name()
                ));
            }
        }
    }
    compare(&found, &table(include_str!("pb-enums.csv")));
}

fn methods(package: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files(package) {
        for service in &file.service {
            for method in &service.method {
                let short = |name: &str| {
                    let name = name.trim_start_matches('.');
                    name.strip_prefix("pb.").unwrap_or(name).to_owned()
                };
                found.insert(format!(
                    "/{package}.{}/{},{},{}",
                    service.name(),
                    method.name(),
                    short(method.input_type()),
                    short(method.output_type()),
                ));
            }
        }
    }
    found
}

#[test]
fn every_method_has_dms_path_and_types() {
    let wanted = table(include_str!("pb-methods.csv"));
    assert_eq!(wanted.len(), 30 + 11);
    compare(&methods("pb"), &wanted);
}

#[test]
fn the_files_are_registered_under_dms_names() {
    let names: Vec<_> = files("pb")
        .iter()
        .map(|file| file.name().to_owned())
        .collect();
    assert!(names.contains(&"dmmaster.proto".to_owned()), "{names:?}");
    assert!(names.contains(&"dmworker.proto".to_owned()), "{names:?}");
}

/// Routing rewrites the path and nothing else, so both ends must agree on the bytes.
#[test]
fn a_call_of_the_master_can_be_routed_to_the_scheduler_by_its_path() {
    let here = methods("dm.scheduler.v1");
    let elsewhere = [
        "ShowDDLLocks",
        "UnlockDDLLock",
        "ListMember",
        "OfflineMember",
        "OperateLeader",
        "GetMasterCfg",
    ];
    let mut routed = 0;
    for method in methods("pb") {
        let Some(rest) = method.strip_prefix("/pb.Master/") else {
            continue;
        };
        if elsewhere
            .iter()
            .any(|name| rest.starts_with(&format!("{name},")))
        {
            continue;
        }
        routed += 1;
        assert!(
            here.contains(&format!("/dm.scheduler.v1.Scheduler/{rest}")),
            "{rest}"
        );
    }
    assert_eq!(routed, 24);
}

/// Numbers that are easily got wrong, each with the bytes that they make.
#[test]
fn etcds_scattered_field_numbers_are_kept() {
    use dm_proto::{etcdserverpb, mvccpb};
    let compare = etcdserverpb::Compare {
        range_end: b"z".to_vec(),
        target_union: Some(etcdserverpb::compare::TargetUnion::Lease(0)),
        ..Default::default()
    };
    // Field 8, written although it is zero; field 64.
    assert_eq!(compare.encode_to_vec(), [0x40, 0, 0x82, 0x04, 1, b'z']);
    let watch = etcdserverpb::WatchResponse {
        events: vec![mvccpb::Event::default()],
        fragment: true,
        ..Default::default()
    };
    // Field 7, then field 11.
    assert_eq!(watch.encode_to_vec(), [0x38, 1, 0x5a, 0]);
    let record = mvccpb::KeyValue {
        value: b"v".to_vec(),
        lease: 1,
        ..Default::default()
    };
    assert_eq!(record.encode_to_vec(), [0x2a, 1, b'v', 0x30, 1]);
}

/// A client of DM reads the lists of locks of this project's services as its own message.
#[test]
fn lists_of_locks_begin_like_dms_own() {
    use dm_proto::{optimist, pb, pessimist};
    let lock = pb::DdlLock {
        id: "task-`db`.`tb`".into(),
        dd_ls: vec!["ALTER TABLE tb ADD COLUMN c INT".into()],
        ..Default::default()
    };
    let wanted = pb::ShowDdlLocksResponse {
        result: true,
        msg: "m".into(),
        locks: vec![lock.clone()],
    };
    let ours = pessimist::ShowDdlLocksResponse {
        result: true,
        msg: "m".into(),
        locks: vec![lock.clone()],
        details: vec![pessimist::LockDetail {
            id: lock.id.clone(),
            ..Default::default()
        }],
        revision: 7,
    };
    assert_eq!(
        pb::ShowDdlLocksResponse::decode(ours.encode_to_vec().as_slice()).unwrap(),
        wanted
    );
    let ours = optimist::ShowDdlLocksResponse {
        result: true,
        msg: "m".into(),
        locks: vec![lock],
        ..Default::default()
    };
    assert_eq!(
        pb::ShowDdlLocksResponse::decode(ours.encode_to_vec().as_slice()).unwrap(),
        wanted
    );
}
