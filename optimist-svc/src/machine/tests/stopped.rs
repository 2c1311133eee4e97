//! Records of sources that take no part in a task any more are deleted, and of no others, in whatever order the feed
//! shows what happens.

use dm_keyspace::optimism::{ConflictStage, Operation, SourceTables, Tables};
use dm_keyspace::{BoundKey, OpaqueJson, Stage, StageRecord, SubtaskKey, SubtaskStageKey};
use dm_schema::Options;
use dm_schema::create_table::{Defaults, read_create_table};
use dm_store::Guard;

use super::*;

const TASK: &str = "t1";

fn subtask(source: &str) -> String {
    SubtaskKey {
        source: source.into(),
        task: TASK.into(),
    }
    .encode()
}

pub(super) fn lists(source: &str) -> (String, Vec<u8>) {
    let tables: Tables = [(
        "db".to_owned(),
        [(
            "tbl".to_owned(),
            [("db".to_owned(), [format!("{source}1")].into())].into(),
        )]
        .into(),
    )]
    .into();
    let record = SourceTables {
        task: TASK.into(),
        source: source.into(),
        tables: Some(tables),
        ..SourceTables::default()
    };
    let key = SourceTablesKey {
        task: TASK.into(),
        source: source.into(),
    };
    (key.encode(), record.to_bytes())
}

pub(super) fn info(source: &str) -> (String, Vec<u8>) {
    let json = |columns: &str| {
        let create = format!("CREATE TABLE t (id INT PRIMARY KEY{columns})");
        let info = read_create_table(&create, &Options::default(), &Defaults::default()).unwrap();
        OpaqueJson::parse(&info.to_json()).unwrap()
    };
    let info = Info {
        task: TASK.into(),
        source: source.into(),
        up_schema: "db".to_owned(),
        up_table: format!("{source}1"),
        down_schema: "db".to_owned(),
        down_table: "tbl".to_owned(),
        ddls: Some(vec!["ALTER TABLE `db`.`tbl` ADD COLUMN `c` INT".to_owned()]),
        table_info_before: Some(json("")),
        table_info_after: Some(vec![json(", c INT")]),
        ..Info::default()
    };
    (info.key().encode(), info.to_bytes())
}

pub(super) fn answer(source: &str, done: bool) -> (String, Vec<u8>) {
    let operation = Operation {
        id: "t1-`db`.`tbl`".to_owned(),
        task: TASK.into(),
        source: source.into(),
        up_schema: "db".to_owned(),
        up_table: format!("{source}1"),
        ddls: Some(vec!["ALTER TABLE `db`.`tbl` ADD COLUMN `c` INT".to_owned()]),
        cols: Some(Vec::new()),
        conflict_stage: ConflictStage::None,
        done,
        ..Operation::default()
    };
    (operation.key().encode(), operation.to_bytes())
}

/// What a machine wants, kept as the loop keeps it.
#[derive(Default)]
pub(super) struct Watched {
    pub(super) optimist: Optimist,
    pub(super) wanted: BTreeMap<Subject, Vec<Proposal>>,
    pub(super) at: i64,
}

impl Watched {
    pub(super) fn decide(&mut self) {
        for decision in self.optimist.decide() {
            self.wanted.insert(decision.subject, decision.proposals);
        }
    }

    pub(super) fn put(&mut self, (key, value): (String, Vec<u8>)) {
        self.at += 1;
        apply(&mut self.optimist, vec![put(key, &value, self.at)]);
        self.decide();
    }

    fn delete(&mut self, key: String) {
        self.at += 1;
        let (key, revision) = (key.into(), Revision(self.at));
        apply(&mut self.optimist, vec![Event::Delete { key, revision }]);
        self.decide();
    }

    pub(super) fn load(&mut self, records: impl IntoIterator<Item = (String, Vec<u8>)>) {
        let entries = records.into_iter().map(|(key, value)| {
            self.at += 1;
            match put(key, &value, self.at) {
                Event::Put(kv) => kv,
                Event::Delete { .. } => unreachable!(),
            }
        });
        let entries: Vec<_> = entries.collect();
        self.optimist.load(&Snapshot {
            revision: Revision(self.at),
            entries,
        });
        self.decide();
    }

    /// Names of proposals that would delete records of the source, and whether each holds only while it has no subtask.
    fn deletions(&self, source: &str) -> Vec<(&'static str, bool)> {
        let keys = [lists(source).0, info(source).0, answer(source, false).0];
        let of_source = self.wanted.values().flatten().filter(|proposal| {
            let deletes = |key: &String| {
                proposal
                    .deletes
                    .iter()
                    .any(|range| range.contains(key.as_bytes()))
            };
            keys.iter().any(deletes)
        });
        let is_guarded = |proposal: &Proposal| {
            let missing = Guard::Missing(subtask(source).into());
            proposal.guards.contains(&missing)
        };
        of_source.map(|p| (p.name, is_guarded(p))).collect()
    }
}

fn config() -> Vec<u8> {
    b"name = \"t1\"".to_vec()
}

fn records(source: &str) -> [(String, Vec<u8>); 3] {
    [lists(source), info(source), answer(source, false)]
}

const STOPPED: [(&str, bool); 2] = [("forget_source", true), ("forget_stopped", true)];

#[test]
fn loaded_records_of_sources_that_all_have_subtasks_stay() {
    let of = |source| {
        records(source)
            .into_iter()
            .chain([(subtask(source), config())])
    };
    for sources in [["s1", "s2"], ["s2", "s1"]] {
        let mut watched = Watched::default();
        watched.load(sources.into_iter().flat_map(of));
        assert_eq!(watched.deletions("s1"), []);
        assert_eq!(watched.deletions("s2"), []);
    }
}

#[test]
fn loaded_records_of_a_task_without_any_subtask_stay() {
    let mut watched = Watched::default();
    watched.load(records("s1").into_iter().chain(records("s2")));
    assert_eq!(watched.deletions("s1"), []);
    assert_eq!(watched.deletions("s2"), []);
}

#[test]
fn loaded_records_of_a_source_without_a_subtask_go_only_while_it_has_none() {
    let mut watched = Watched::default();
    let of_both = records("s1").into_iter().chain(records("s2"));
    watched.load(of_both.chain([(subtask("s1"), config())]));
    assert_eq!(watched.deletions("s1"), []);
    assert_eq!(watched.deletions("s2"), STOPPED);
    watched.put((subtask("s2"), config()));
    assert_eq!(watched.deletions("s2"), []);
}

#[test]
fn source_whose_subtask_comes_in_a_later_transaction_keeps_what_it_reports() {
    let mut watched = Watched::default();
    watched.put((subtask("s1"), config()));
    watched.put(lists("s1"));
    watched.put(info("s1"));
    watched.put((subtask("s2"), config()));
    for record in records("s2") {
        watched.put(record);
        assert_eq!(watched.deletions("s2"), []);
    }
    assert_eq!(watched.deletions("s1"), []);
}

#[test]
fn info_that_is_seen_before_its_subtask_is_not_lost() {
    let mut watched = Watched::default();
    for record in records("s2").into_iter().take(2) {
        watched.put(record);
        assert_eq!(watched.deletions("s2"), []);
    }
    watched.put((subtask("s1"), config()));
    // Whatever is committed here fails at the guard once the subtask is there.
    assert!(watched.deletions("s2").iter().all(|(_, guarded)| *guarded));
    watched.put((subtask("s2"), config()));
    assert_eq!(watched.deletions("s2"), []);
    let answers = watched.wanted.values().flatten();
    let answered: usize = answers.map(|proposal| proposal.puts.len()).sum();
    assert_eq!(answered, 1, "its info is answered after all");
}

#[test]
fn stopped_and_started_again_is_as_if_it_had_been_loaded() {
    let mut watched = Watched::default();
    for source in ["s1", "s2"] {
        watched.put((subtask(source), config()));
    }
    let of_s1 = [lists("s1"), info("s1"), answer("s1", true)];
    for record in of_s1.clone().into_iter().chain([lists("s2")]) {
        watched.put(record);
    }
    let undone = |watched: &Watched| watched.optimist.locks("", &[])[0].undone.clone();
    assert_eq!(undone(&watched), ["s2-`db`.`s21`"]);
    watched.delete(subtask("s1"));
    assert_eq!(watched.deletions("s1"), STOPPED);
    watched.put((subtask("s1"), config()));
    assert_eq!(watched.deletions("s1"), []);
    let mut loaded = Watched::default();
    let subtasks = ["s1", "s2"].map(|source| (subtask(source), config()));
    loaded.load(of_s1.into_iter().chain([lists("s2")]).chain(subtasks));
    assert_eq!(undone(&watched), ["s2-`db`.`s21`"]);
    assert_eq!(undone(&watched), undone(&loaded));
}

#[test]
fn moving_a_source_or_pausing_its_subtask_deletes_nothing() {
    let mut watched = Watched::default();
    for source in ["s1", "s2"] {
        watched.put((subtask(source), config()));
        watched.put(lists(source));
    }
    watched.put(info("s1"));
    let bound = |worker: &str| {
        BoundKey {
            worker: worker.into(),
        }
        .encode()
    };
    watched.put((bound("w1"), br#"{"source":"s1","worker":"w1"}"#.to_vec()));
    watched.delete(bound("w1"));
    watched.put((bound("w2"), br#"{"source":"s1","worker":"w2"}"#.to_vec()));
    let stage = SubtaskStageKey {
        source: "s1".into(),
        task: TASK.into(),
    };
    let paused = StageRecord {
        expect: Stage::Paused,
        source: "s1".into(),
        task: Some(TASK.into()),
        ..StageRecord::default()
    };
    watched.put((stage.encode(), paused.to_bytes()));
    watched.put((subtask("s1"), config()));
    assert_eq!(watched.deletions("s1"), []);
}
