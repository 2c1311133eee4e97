//! Records of tasks: faults, counts, removal.

use bytes::Bytes;
use dm_keyspace::LeaseId;
use dm_keyspace::optimism::Info;
use dm_store::KeyValue;

use super::*;

mod effort;
#[expect(dead_code, reason = "what must hold of it is looked at elsewhere")]
#[path = "../../tests/support/history.rs"]
mod history;
#[expect(dead_code, reason = "only a part of the stage is needed here")]
#[path = "../../tests/support/stage.rs"]
mod stage;
mod standing;
mod stopped;
#[path = "../../tests/support/world.rs"]
mod world;

fn put(key: String, value: &[u8], at: i64) -> Event {
    Event::Put(KeyValue {
        key: key.into(),
        value: Bytes::copy_from_slice(value),
        create_revision: Revision(at),
        mod_revision: Revision(at),
        version: 1,
        lease: LeaseId(0),
    })
}

fn info_key(task: &str) -> String {
    InfoKey {
        task: task.into(),
        source: "s1".into(),
        schema: "foo".into(),
        table: "bar1".into(),
    }
    .encode()
}

fn info_value(task: &str) -> Vec<u8> {
    Info {
        task: task.into(),
        source: "s1".into(),
        up_schema: "foo".to_owned(),
        up_table: "bar1".to_owned(),
        ..Info::default()
    }
    .to_bytes()
}

fn column_key(lock: &str) -> String {
    let (column, source) = ("c1".to_owned(), "s1".into());
    DroppedColumnKey {
        lock: lock.to_owned(),
        column,
        source,
        schema: "foo".into(),
        table: "bar1".into(),
    }
    .encode()
}

fn apply(optimist: &mut Optimist, events: Vec<Event>) {
    let revision = events.last().map(Event::revision).unwrap_or_default();
    optimist.apply(&Batch { revision, events });
}

#[test]
fn remove_meta_deletes_all_families_of_one_task_only() {
    let mut optimist = Optimist::default();
    let events = vec![
        put(info_key("t1"), b"{}", 2),
        put(info_key("t1x"), b"{}", 3),
        put(column_key("t1-`foo`.`bar`"), b"0", 4),
        put(column_key("t1x-`foo`.`bar`"), b"0", 5),
    ];
    apply(&mut optimist, events);
    let Plan::Commit(proposal, deleted) = optimist.plan_remove_meta(&"t1".into()) else {
        panic!("nothing is planned")
    };
    let goes = |key: String| {
        proposal
            .deletes
            .iter()
            .any(|range| range.contains(key.as_bytes()))
    };
    assert_eq!(deleted, 2);
    assert!(goes(info_key("t1")) && goes(column_key("t1-`foo`.`bar`")));
    assert!(!goes(info_key("t1x")) && !goes(column_key("t1x-`foo`.`bar`")));
}

#[test]
fn remove_meta_of_many_locks_is_one_small_transaction_that_spares_a_task_whose_name_looks_like_a_lock()
 {
    let mut optimist = Optimist::default();
    let lock = |number: i64| format!("t1-`foo`.`bar{number}`");
    let marks = (1..300).map(|at| put(column_key(&lock(at)), b"0", at + 1));
    apply(&mut optimist, marks.collect());
    let deletes = |optimist: &Optimist| match optimist.plan_remove_meta(&"t1".into()) {
        Plan::Commit(proposal, _) => proposal.deletes,
        Plan::Done(_) => Vec::new(),
    };
    let ranges = deletes(&optimist);
    let goes = |ranges: &[KeyRange], key: String| {
        ranges.iter().any(|range| range.contains(key.as_bytes()))
    };
    assert!(ranges.len() < 10 && (1..300).all(|number| goes(&ranges, column_key(&lock(number)))));
    assert!(!goes(&ranges, column_key("t1x-`foo`.`bar1`")));
    let foreign = column_key("t1-`a`.`b`-`foo`.`bar`");
    apply(&mut optimist, vec![put(foreign.clone(), b"0", 400)]);
    let ranges = deletes(&optimist);
    assert!(goes(&ranges, column_key(&lock(7))) && !goes(&ranges, foreign));
}

#[test]
fn key_of_a_removal_that_is_cut_short_goes_with_its_task() {
    let mut optimist = Optimist::default();
    let key = LockKey {
        task: "t1".into(),
        id: "t1-`foo`.`bar`".to_owned(),
    };
    let text = removal::encode(&key);
    assert_eq!(removal::parse(text.as_bytes()), Some(key));
    apply(&mut optimist, vec![put(text.clone(), b"", 2)]);
    let Plan::Commit(proposal, 1) = optimist.plan_remove_meta(&"t1".into()) else {
        panic!("one record is there")
    };
    assert!(
        proposal
            .deletes
            .iter()
            .any(|range| range.contains(text.as_bytes()))
    );
    // Nothing else is left of the lock: the key is deleted by itself, too.
    let decided: Vec<_> = optimist
        .decide()
        .into_iter()
        .flat_map(|d| d.proposals)
        .collect();
    assert_eq!(
        decided.iter().map(|p| p.name).collect::<Vec<_>>(),
        ["end_removal"]
    );
    let (key, revision) = (text.into(), Revision(3));
    apply(&mut optimist, vec![Event::Delete { key, revision }]);
    assert_eq!((optimist.decide().len(), optimist.tasks.len()), (1, 0));
    let bad = format!("{}zz", removal::PREFIX);
    apply(&mut optimist, vec![put(bad, b"", 4)]);
    assert_eq!(optimist.faults().count(), 1);
}

#[test]
fn remove_meta_of_an_unknown_task_plans_nothing() {
    assert!(matches!(
        Optimist::default().plan_remove_meta(&"t1".into()),
        Plan::Done(0)
    ));
}

#[test]
fn undecodable_record_is_named_until_it_is_replaced_and_still_belongs_to_its_task() {
    let mut optimist = Optimist::default();
    apply(&mut optimist, vec![put(info_key("t1"), b"no json", 2)]);
    assert_eq!(
        optimist
            .faults()
            .map(|(key, _)| key.to_owned())
            .collect::<Vec<_>>(),
        [info_key("t1")]
    );
    assert_eq!(
        (optimist.counts().infos, optimist.counts().faults_seen),
        (0, 1)
    );
    assert!(matches!(
        optimist.plan_remove_meta(&"t1".into()),
        Plan::Commit(_, 1)
    ));
    apply(
        &mut optimist,
        vec![put(info_key("t1"), &info_value("t1"), 3)],
    );
    assert_eq!(optimist.faults().count(), 0);
}

#[test]
fn key_of_no_shape_is_a_fault_that_its_deletion_ends() {
    let mut optimist = Optimist::default();
    let key = "/dm-master/shardddl-optimism/info/zz".to_owned();
    apply(&mut optimist, vec![put(key.clone(), &info_value("t1"), 2)]);
    assert_eq!(optimist.faults().count(), 1);
    apply(
        &mut optimist,
        vec![Event::Delete {
            key: key.into(),
            revision: Revision(3),
        }],
    );
    assert_eq!(optimist.faults().count(), 0);
}

#[test]
fn snapshot_replaces_what_was_known_and_deletions_count() {
    let mut optimist = Optimist::default();
    apply(
        &mut optimist,
        vec![
            put(info_key("t1"), &info_value("t1"), 2),
            put(info_key("t2"), &info_value("t2"), 3),
        ],
    );
    assert_eq!(optimist.counts().infos, 2);
    optimist.load(&Snapshot {
        revision: Revision(4),
        entries: Vec::new(),
    });
    assert_eq!(optimist.counts(), Counts::default());
    apply(
        &mut optimist,
        vec![put(info_key("t1"), &info_value("t1"), 5)],
    );
    apply(
        &mut optimist,
        vec![Event::Delete {
            key: info_key("t1").into(),
            revision: Revision(6),
        }],
    );
    assert_eq!(optimist.counts().infos, 0);
}
