//! Groups by example, and a model: whatever the interleaving, every row is applied exactly once, with the structure it was written under.

use proptest::prelude::*;

use super::*;

fn table(name: &str) -> TableName {
    TableName::new("db", name)
}

fn at(pos: u64) -> Position {
    Position::new("bin.000001", pos)
}

fn meeting(pos: u64) -> Meeting {
    Meeting {
        start: at(pos),
        end: at(pos + 1),
        after: Table::default(),
        renamed: None,
    }
}

fn group(members: &[&str]) -> Group {
    Group {
        members: members.iter().map(|m| table(m)).collect(),
        ..Group::default()
    }
}

fn ddl(number: usize) -> Vec<String> {
    vec![format!("ALTER {number}")]
}

#[test]
fn the_last_member_completes_the_first_ddl() {
    let mut group = group(&["a", "b"]);
    assert!(
        !group
            .meet("s", &table("a"), ddl(1), Session::default(), meeting(10))
            .unwrap()
    );
    assert_eq!(group.row_rule(&table("a")), RowRule::Hold);
    assert_eq!(group.row_rule(&table("b")), RowRule::Apply);
    assert!(
        group
            .meet("s", &table("b"), ddl(1), Session::default(), meeting(20))
            .unwrap()
    );
    assert_eq!(group.phase, Phase::Reporting);
    assert_eq!(group.first_end(), Some(&at(11)));
    group.resolved();
    assert_eq!(group.row_rule(&table("a")), RowRule::Apply);
}

#[test]
fn a_second_ddl_waits_for_its_turn() {
    let mut group = group(&["a", "b"]);
    for (name, number, pos) in [("a", 1, 10), ("a", 2, 15), ("b", 1, 20)] {
        group
            .meet(
                "s",
                &table(name),
                ddl(number),
                Session::default(),
                meeting(pos),
            )
            .unwrap();
    }
    // Rows of a between its two DDLs come in the first replay, later ones do not.
    assert!(group.replayed(&table("a"), &at(12), &at(13)).is_some());
    assert!(group.replayed(&table("a"), &at(16), &at(17)).is_none());
    group.resolved();
    assert_eq!(group.row_rule(&table("a")), RowRule::Hold);
    assert!(
        group
            .meet("s", &table("b"), ddl(2), Session::default(), meeting(30))
            .unwrap()
    );
    assert!(group.replayed(&table("a"), &at(16), &at(17)).is_some());
}

#[test]
fn another_order_of_ddls_is_refused() {
    let mut group = group(&["a", "b"]);
    group
        .meet("s", &table("a"), ddl(1), Session::default(), meeting(10))
        .unwrap();
    let error = group
        .meet("s", &table("b"), ddl(2), Session::default(), meeting(20))
        .unwrap_err();
    assert_eq!(error.code(), Code::SYNC_UNIT_DDL_WRONG_SEQUENCE);
}

#[test]
fn tables_come_and_go_only_between_ddls() {
    let mut group = group(&["a"]);
    group.join(&table("b")).unwrap();
    group
        .meet("s", &table("a"), ddl(1), Session::default(), meeting(10))
        .unwrap();
    assert!(group.join(&table("c")).is_err());
    assert!(group.leave(&table("b")).is_err());
    assert!(group.join(&table("b")).is_ok());
}

#[test]
fn a_table_that_was_always_there_may_be_admitted_while_some_have_not_met_the_first_ddl() {
    let mut group = group(&["a", "b"]);
    let meet = |group: &mut Group, name: &str, pos| {
        group.meet("s", &table(name), ddl(1), Session::default(), meeting(pos))
    };
    meet(&mut group, "a", 10).unwrap();
    let mut late = group.clone();
    group.admit(&table("c")).unwrap();
    assert_eq!(group.row_rule(&table("c")), RowRule::Apply);
    assert!(!meet(&mut group, "b", 20).unwrap());
    assert!(meet(&mut group, "c", 30).unwrap());
    meet(&mut late, "b", 20).unwrap();
    assert!(late.admit(&table("c")).is_err());
}

#[test]
fn the_record_comes_back_from_json() {
    let mut group = group(&["a", "b"]);
    group
        .meet(
            "s",
            &table("a"),
            ddl(1),
            Session {
                timestamp: 7,
                time_zone: None,
            },
            meeting(10),
        )
        .unwrap();
    group.phase = Phase::Replaying { at: at(12) };
    let text = serde_json::to_string(&group).unwrap();
    assert_eq!(serde_json::from_str::<Group>(&text).unwrap(), group);
}

/// One entry of a log: a row of a table, or the table's next DDL.
#[derive(Clone, Copy, Debug)]
enum Entry {
    Row(usize),
    Ddl(usize),
}

/// Reads a log as the sync unit does and answers for each row how often it was applied, and after how many of the downstream's DDLs.
fn run(log: &[Entry], tables: usize) -> Vec<(usize, Vec<usize>)> {
    let names: Vec<TableName> = (0..tables).map(|t| table(&format!("t{t}"))).collect();
    let mut group = Group {
        members: names.iter().cloned().collect(),
        ..Group::default()
    };
    let mut met = vec![0; tables];
    let mut resolved = 0;
    let mut applied: Vec<(usize, Vec<usize>)> = log.iter().map(|_| (0, Vec::new())).collect();
    // The number of DDLs that the row's own table had met when it was written.
    let mut seen = vec![0; tables];
    for (nth, entry) in log.iter().enumerate() {
        match *entry {
            Entry::Row(t) => applied[nth].0 = seen[t],
            Entry::Ddl(t) => seen[t] += 1,
        }
    }
    for (nth, entry) in log.iter().enumerate() {
        let start = at(u64::try_from(nth).unwrap() * 2);
        let end = at(u64::try_from(nth).unwrap() * 2 + 1);
        match *entry {
            Entry::Row(t) if group.row_rule(&names[t]) == RowRule::Apply => {
                applied[nth].1.push(resolved);
            }
            Entry::Row(_) => {}
            Entry::Ddl(t) => {
                met[t] += 1;
                let meeting = Meeting {
                    start,
                    end: end.clone(),
                    after: Table::default(),
                    renamed: None,
                };
                if group
                    .meet("s", &names[t], ddl(met[t]), Session::default(), meeting)
                    .unwrap()
                {
                    resolved += 1;
                    for (again, entry) in log.iter().enumerate().take(nth) {
                        let start = at(u64::try_from(again).unwrap() * 2);
                        let end = at(u64::try_from(again).unwrap() * 2 + 1);
                        if let Entry::Row(t) = *entry
                            && group.replayed(&names[t], &start, &end).is_some()
                        {
                            applied[again].1.push(resolved);
                        }
                    }
                    group.resolved();
                }
            }
        }
    }
    applied
}

proptest! {
    #[test]
    fn every_row_is_applied_once_under_its_own_structure(
        choices in proptest::collection::vec((0_usize..3, any::<bool>()), 0..60),
    ) {
        let mut log: Vec<Entry> = choices
            .iter()
            .map(|(t, is_ddl)| if *is_ddl { Entry::Ddl(*t) } else { Entry::Row(*t) })
            .collect();
        // In the end every table has met every DDL.
        let count = |t: usize, log: &[Entry]| log.iter().filter(|e| matches!(e, Entry::Ddl(d) if *d == t)).count();
        let most = (0..3).map(|t| count(t, &log)).max().unwrap_or(0);
        for t in 0..3 {
            for _ in count(t, &log)..most {
                log.push(Entry::Ddl(t));
            }
        }
        for (nth, (expected, times)) in run(&log, 3).into_iter().enumerate() {
            if matches!(log[nth], Entry::Row(_)) {
                prop_assert_eq!(times, vec![expected], "entry {} of {:?}", nth, log);
            }
        }
    }
}

fn renaming(pos: u64, to: &str) -> Meeting {
    Meeting {
        renamed: Some(table(to)),
        ..meeting(pos)
    }
}

#[test]
fn a_table_goes_by_its_new_name_in_the_log_at_once_and_in_the_group_when_the_rename_is_resolved() {
    let mut group = group(&["a", "b"]);
    let mut meet = |member: &str, number, meeting| {
        let met = group.meet(
            "s",
            &table(member),
            ddl(number),
            Session::default(),
            meeting,
        );
        met.unwrap();
        group.clone()
    };
    meet("a", 1, renaming(10, "x"));
    let open = meet("a", 2, meeting(15));
    assert_eq!(open.member(&table("x")), Some(&table("a")));
    assert_eq!(open.member(&table("a")), None);
    assert_eq!(open.row_rule(&table("x")), RowRule::Hold);
    assert_eq!(open.row_rule(&table("b")), RowRule::Apply);
    // Another table may not take the old name meanwhile.
    assert!(open.clone().join(&table("a")).is_err());
    assert!(open.clone().leave(&table("x")).is_err());

    let mut complete = meet("b", 1, renaming(20, "y"));
    assert!(complete.replayed(&table("x"), &at(12), &at(13)).is_some());
    assert!(complete.replayed(&table("x"), &at(15), &at(17)).is_none());
    assert!(complete.replayed(&table("a"), &at(12), &at(13)).is_none());
    complete.resolved();
    assert_eq!(complete.members, [table("x"), table("y")].into());
    assert_eq!(complete.row_rule(&table("x")), RowRule::Hold);
    assert_eq!(complete.row_rule(&table("y")), RowRule::Apply);
}
