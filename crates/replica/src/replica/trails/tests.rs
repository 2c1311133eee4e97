use dm_store::{KeyValue, Put};

use super::*;

const NOW: Revision = Revision(10);

fn term() -> Term {
    Term {
        key: Bytes::from_static(b"leader"),
        create_revision: Revision(1),
    }
}

fn put(key: &'static str, value: &'static str) -> Txn {
    let put = Put {
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from_static(value.as_bytes()),
        lease: None,
    };
    Txn {
        puts: vec![put],
        ..Txn::default()
    }
}

fn delete(key: &'static str) -> Txn {
    Txn {
        guards: vec![Guard::ModRevision(
            Bytes::from_static(key.as_bytes()),
            Revision(5),
        )],
        deletes: vec![KeyRange::key(key)],
        ..Txn::default()
    }
}

fn entry(key: &'static str, value: &'static str, at: i64) -> KeyValue {
    KeyValue {
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from_static(value.as_bytes()),
        create_revision: Revision(at),
        mod_revision: Revision(at),
        version: 1,
        lease: dm_keyspace::LeaseId(0),
    }
}

fn shown(key: &'static str, value: &'static str, at: i64) -> Event {
    Event::Put(entry(key, value, at))
}

fn gone(key: &'static str, at: i64) -> Event {
    Event::Delete {
        key: Bytes::from_static(key.as_bytes()),
        revision: Revision(at),
    }
}

fn batch(events: Vec<Event>) -> Batch {
    let revision = events.last().map_or(NOW, Event::revision);
    Batch { revision, events }
}

fn landed(flight: Flight, outcome: Outcome, lost_replies: u64) -> Landed {
    Landed {
        flight,
        items: Vec::new(),
        outcome,
        took: std::time::Duration::ZERO,
        lost_replies,
    }
}

fn refused(flight: Flight, lost_replies: u64) -> Landed {
    landed(flight, Outcome::GuardFailed(Revision(12)), lost_replies)
}

/// The revision at which each settled flight took effect; none for one that did not.
fn ends(trails: &mut Trails, applied: i64) -> Vec<(Flight, Option<i64>)> {
    let settled = trails.settled(Revision(applied), Some(&term()));
    settled
        .into_iter()
        .map(|landed| match landed.outcome {
            Outcome::Committed(at) => (landed.flight, Some(at.0)),
            Outcome::GuardFailed(_) => (landed.flight, None),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn lost_reply_is_settled_when_the_fold_has_passed_the_refusal() {
    let mut trails = Trails::default();
    let flight = trails.take_off(&put("a", "1"), &term(), NOW);
    trails.see(&batch(vec![shown("a", "1", 11)]));
    assert!(trails.land(refused(flight, 1)).is_none());
    assert_eq!(ends(&mut trails, 11), []);
    assert_eq!(ends(&mut trails, 12), [(flight, Some(11))]);
    assert!(!trails.is_in_doubt() && trails.made.is_empty());
}

#[test]
fn refusal_without_a_lost_reply_is_believed_whatever_the_feed_shows() {
    let mut trails = Trails::default();
    let flight = trails.take_off(&put("a", "1"), &term(), NOW);
    trails.see(&batch(vec![shown("a", "1", 11)]));
    assert!(matches!(
        trails.land(refused(flight, 0)),
        Some(Landed {
            outcome: Outcome::GuardFailed(_),
            ..
        })
    ));
}

#[test]
fn revision_that_another_of_ours_has_made_is_not_taken() {
    let mut trails = Trails::default();
    let lost = trails.take_off(&put("a", "1"), &term(), NOW);
    let other = trails.take_off(&put("a", "1"), &term(), NOW);
    trails.see(&batch(vec![shown("a", "1", 11)]));
    trails.land(refused(lost, 1));
    assert_eq!(ends(&mut trails, 12), [], "the other one may have made it");
    trails.land(landed(other, Outcome::Committed(Revision(11)), 0));
    assert_eq!(ends(&mut trails, 12), [(lost, None)]);
}

#[test]
fn of_two_equal_ones_in_doubt_only_one_has_made_a_revision() {
    let mut trails = Trails::default();
    let one = trails.take_off(&put("a", "1"), &term(), NOW);
    let other = trails.take_off(&put("a", "1"), &term(), NOW);
    trails.see(&batch(vec![shown("a", "1", 11)]));
    trails.land(refused(one, 1));
    trails.land(refused(other, 1));
    assert_eq!(ends(&mut trails, 12), [(one, Some(11)), (other, None)]);
}

#[test]
fn only_the_whole_of_a_transaction_is_ours() {
    let mut trails = Trails::default();
    let small = trails.take_off(&put("a", "1"), &term(), NOW);
    let mut both = put("a", "1");
    both.puts.extend(put("b", "2").puts);
    let large = trails.take_off(&both, &term(), NOW);
    trails.see(&batch(vec![shown("a", "1", 11), shown("b", "2", 11)]));
    trails.land(refused(small, 1));
    trails.land(refused(large, 1));
    assert_eq!(ends(&mut trails, 12), [(small, None), (large, Some(11))]);
}

#[test]
fn what_was_there_before_it_was_sent_is_not_ours() {
    let mut trails = Trails::default();
    let flight = trails.take_off(&put("a", "1"), &term(), NOW);
    trails.see(&batch(vec![shown("a", "1", 10)]));
    trails.land(refused(flight, 1));
    assert_eq!(ends(&mut trails, 12), [(flight, None)]);
}

#[test]
fn deletion_is_known_by_the_key_that_must_go() {
    let mut trails = Trails::default();
    let flight = trails.take_off(&delete("a"), &term(), NOW);
    trails.see(&batch(vec![shown("b", "1", 11), gone("a", 12)]));
    trails.land(refused(flight, 1));
    assert_eq!(ends(&mut trails, 12), [(flight, Some(12))]);
}

#[test]
fn end_of_the_term_settles_what_nobody_has_answered() {
    let mut trails = Trails::default();
    let flight = trails.take_off(&put("a", "1"), &term(), NOW);
    trails.land(landed(flight, Outcome::Lost, 1));
    assert_eq!(ends(&mut trails, 99), [], "it may still commit");
    let settled = trails.settled(Revision(99), None);
    assert!(matches!(
        settled[0].outcome,
        Outcome::GuardFailed(Revision(99))
    ));
}

#[test]
fn snapshot_that_may_have_swallowed_it_leaves_it_unknown() {
    let mut trails = Trails::default();
    let overwritten = trails.take_off(&put("a", "1"), &term(), NOW);
    let there = trails.take_off(&put("b", "2"), &term(), NOW);
    let untouched = trails.take_off(&delete("c"), &term(), NOW);
    trails.see_snapshot(&Snapshot {
        revision: Revision(20),
        entries: vec![
            entry("a", "other", 15),
            entry("b", "2", 16),
            entry("c", "3", 5),
        ],
    });
    for flight in [overwritten, there, untouched] {
        trails.land(refused(flight, 1));
    }
    let settled = trails.settled(Revision(20), Some(&term()));
    assert!(matches!(settled[0].outcome, Outcome::Unknown));
    assert!(matches!(
        settled[1].outcome,
        Outcome::Committed(Revision(16))
    ));
    assert!(matches!(settled[2].outcome, Outcome::GuardFailed(_)));
}

#[test]
fn repetition_that_etcd_refuses_says_nothing_about_the_first_attempt() {
    let mut trails = Trails::default();
    let flight = trails.take_off(&put("a", "1"), &term(), NOW);
    let answer = trails.land(landed(flight, Outcome::Refused("no".to_owned()), 1));
    assert!(matches!(answer.unwrap().outcome, Outcome::Unknown));
}
