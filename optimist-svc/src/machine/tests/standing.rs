//! What a standby holds ready: the loop keeps the last decision of each subject, so each must be replaced when what it was made of
//! changes, and taken back when it is owed no more.

use dm_keyspace::optimism::Operation;
use dm_store::Guard;

use super::stopped::{Watched, answer, info, lists};
use super::*;

/// A machine that has seen the tables of two sources and an info of one, and commits nothing.
fn standby() -> Watched {
    let mut standby = Watched::default();
    standby.put(lists("s1"));
    standby.put(lists("s2"));
    standby.put(info("s1"));
    standby
}

fn guards(standby: &Watched) -> Vec<Guard> {
    let held = standby.wanted.values().flatten();
    held.flat_map(|proposal| proposal.guards.clone()).collect()
}

#[test]
fn answer_is_guarded_by_what_lies_at_its_key_now() {
    let mut standby = standby();
    let (key, value) = answer("s1", true);
    assert!(guards(&standby).contains(&Guard::Missing(key.clone().into())));
    // The worker is late with the end of the round before.
    let late = Operation {
        ddls: Some(vec!["ALTER TABLE `db`.`tbl` ADD COLUMN `b` INT".to_owned()]),
        ..Operation::from_bytes(&value).unwrap()
    };
    standby.put((key.clone(), late.to_bytes()));
    let (now, there) = (guards(&standby), Revision(standby.at));
    assert!(
        now.contains(&Guard::ModRevision(key.clone().into(), there)),
        "{now:?}"
    );
    assert!(!now.contains(&Guard::Missing(key.into())));
}

#[test]
fn answer_is_taken_back_when_its_lock_has_ended_and_begun_anew_at_once() {
    let mut standby = standby();
    let (key, value) = info("s1");
    standby.at += 2;
    let gone = Event::Delete {
        key: key.clone().into(),
        revision: Revision(standby.at - 1),
    };
    let again = put(key.clone(), &value, standby.at);
    apply(&mut standby.optimist, vec![gone, again]);
    standby.decide();
    let answered: Vec<Guard> = guards(&standby)
        .into_iter()
        .filter(|guard| *guard.key() == key.as_bytes())
        .collect();
    assert_eq!(
        answered,
        [Guard::ModRevision(key.into(), Revision(standby.at))]
    );
    // The same when all is read anew.
    standby.load([]);
    assert_eq!(guards(&standby), []);
}
