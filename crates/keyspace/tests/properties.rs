//! What holds for any names and any bytes.

use dm_keyspace::{
    Adapter, Bound, Campaign, ClusterId, ClusterVersion, Eviction, EvictionKey, KeepAlive, Key,
    LeaderKey, LeaseId, Lightning, LoadTask, Member, MemberKey, OpaqueJson, RelayWorker, Role,
    Spelling, StageRecord, SubtaskKey, TaskCliArgs, TaskName, TaskTemplate, Transfer, TransferKey,
    WorkerInfo, optimism, pessimism,
};
use proptest::{collection::vec, option, prelude::*, test_runner::RngSeed};

/// A name of any characters, control characters and slashes included.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9./-]{1,12}",
        vec(any::<char>(), 1..12).prop_map(String::from_iter)
    ]
}

fn role() -> impl Strategy<Value = Role> {
    proptest::sample::select(&Role::ALL[..])
}

fn read_everything(value: &[u8]) {
    let _ = Bound::from_bytes(value);
    let _ = Campaign::from_bytes(value);
    let _ = ClusterId::from_bytes(value);
    let _ = ClusterVersion::from_bytes(value);
    let _ = Eviction::from_bytes(value);
    let _ = KeepAlive::from_bytes(value);
    let _ = Lightning::from_bytes(value);
    let _ = LoadTask::from_bytes(value);
    let _ = Member::from_bytes(value);
    let _ = RelayWorker::from_bytes(value);
    let _ = StageRecord::from_bytes(value);
    let _ = TaskCliArgs::from_bytes(value);
    let _ = TaskTemplate::from_bytes(value);
    let _ = Transfer::from_bytes(value);
    let _ = WorkerInfo::from_bytes(value);
    let _ = optimism::DropStage::from_bytes(value);
    let _ = optimism::Info::from_bytes(value);
    let _ = optimism::Operation::from_bytes(value);
    let _ = optimism::SourceTables::from_bytes(value);
    let _ = pessimism::Info::from_bytes(value);
    let _ = pessimism::Operation::from_bytes(value);
}

/// The same cases on every run.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 1000,
        rng_seed: RngSeed::Fixed(8261),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_key_of_dm_is_read_back(names in vec(name(), 5)) {
        for adapter in Adapter::ALL.into_iter().filter(|adapter| adapter.spelling == Spelling::Hex) {
            let names: Vec<&str> = names.iter().take(adapter.segments).map(String::as_str).collect();
            let key = adapter.encode(&names);
            prop_assert_eq!(adapter.names(key.as_bytes()), Ok(names.iter().map(|&name| name.to_owned()).collect()));
            let typed = Key::parse(key.as_bytes());
            prop_assert!(!matches!(typed, Ok(Key::Foreign(_)) | Err(_)), "{:?}", typed);
            prop_assert_eq!(typed.map(|typed| typed.encode()), Ok(key.into_bytes()));
        }
    }

    #[test]
    fn every_key_of_our_own_is_read_back(role in role(), name in name(), lease in any::<i64>()) {
        let keys: [Key; 4] = [
            LeaderKey { role, lease: LeaseId(lease) }.into(),
            MemberKey { role, name: name.as_str().into() }.into(),
            EvictionKey { role, name: name.as_str().into() }.into(),
            TransferKey { role }.into(),
        ];
        for key in keys {
            prop_assert_eq!(Key::parse(&key.encode()), Ok(key));
        }
    }

    #[test]
    fn a_prefix_covers_exactly_its_names(source in name(), other in name(), task in name()) {
        let prefix = SubtaskKey::prefix_of_source(&source.as_str().into());
        let covers = |source: &str| {
            let key = SubtaskKey { source: source.into(), task: task.as_str().into() };
            key.encode().starts_with(&prefix)
        };
        prop_assert!(covers(&source));
        prop_assert_eq!(covers(&other), source == other);
    }

    #[test]
    fn no_bytes_make_a_key_panic(
        family in proptest::sample::select(&Adapter::ALL[..]),
        own in proptest::sample::select(&["", "/dm-master/leader/", "/dm-master/member/", "/dm-master/evicted/", "/dm-master/transfer/"][..]),
        tail in prop_oneof![vec(any::<u8>(), 0..40), "[0-9a-f/]{0,40}".prop_map(String::into_bytes)],
    ) {
        for path in [family.path, own] {
            let key = [path.as_bytes(), &tail].concat();
            let _ = family.decode(&key);
            // What is read is the same key again, or another spelling of it.
            if let Ok(typed) = Key::parse(&key) {
                prop_assert_eq!(Key::parse(&typed.encode()), Ok(typed));
            }
        }
    }

    #[test]
    fn no_bytes_make_a_value_panic(
        bytes in vec(any::<u8>(), 0..60),
        jsonish in r#"[\[{"]?(["]?(expect|task|ddls|tables|join-time|done)["]?[:,]([{\["nt\\ud8f0-9.e]){0,5}[,}\]]?){0,4}"#,
    ) {
        read_everything(&bytes);
        read_everything(jsonish.as_bytes());
    }

    #[test]
    fn an_operation_comes_back_as_it_was(
        names in vec(name(), 3),
        ddls in option::of(vec(name(), 0..3)),
        exec in any::<bool>(),
        traceparent in option::of(name()),
    ) {
        let operation = pessimism::Operation {
            id: names[0].clone(),
            task: names[1].as_str().into(),
            source: names[2].as_str().into(),
            ddls,
            exec,
            traceparent,
            ..Default::default()
        };
        prop_assert_eq!(pessimism::Operation::from_bytes(&operation.to_bytes()), Ok(operation.clone()));
        let done = operation.clone().into_done();
        prop_assert_eq!(done.to_bytes(), done.to_canonical_bytes());
        let read = pessimism::Operation::from_bytes(&done.to_bytes());
        prop_assert_eq!(read, Ok(pessimism::Operation { traceparent: None, ..done }));
    }

    #[test]
    fn strings_are_json_without_the_characters_that_go_escapes(text in name()) {
        let written = LoadTask { worker: text.as_str().into() }.to_bytes();
        let json = String::from_utf8(written.clone()).unwrap();
        prop_assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{}", json);
        prop_assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text.clone());
        prop_assert_eq!(LoadTask::from_bytes(&written), Ok(LoadTask { worker: text.into() }));
    }

    #[test]
    fn foreign_json_keeps_its_meaning(text in name(), number in any::<f64>(), flag in any::<bool>()) {
        let value = serde_json::json!({ text.clone(): [text, number, flag, null] });
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let json = OpaqueJson::parse(&pretty).unwrap();
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(json.get()).unwrap(), serde_json::from_str::<serde_json::Value>(&pretty).unwrap());
        prop_assert!(!json.get().contains('\n'));
    }

    #[test]
    fn lock_ids_are_taken_apart_as_the_pattern_of_dm_does(id in "[-`.ta\n任]{0,24}") {
        let pattern = regex::Regex::new("(.*)-`(.*)`.`(.*)`").unwrap();
        let expected = pattern.captures(&id).map_or(["", "", ""], |found| found.extract().1);
        let (schema, table) = pessimism::table_of_lock_id(&id);
        prop_assert_eq!(expected, [pessimism::task_of_lock_id(&id), schema, table]);
    }

    #[test]
    fn the_task_of_a_lock_is_found_for_plain_names(task in "[a-z0-9-]{1,12}", schema in "[a-z_]{1,8}", table in "[a-z_]{1,8}") {
        let id = pessimism::lock_id(&TaskName::from(task.as_str()), &schema, &table);
        prop_assert_eq!(pessimism::task_of_lock_id(&id), task);
        prop_assert_eq!(pessimism::table_of_lock_id(&id), (schema.as_str(), table.as_str()));
    }
}
