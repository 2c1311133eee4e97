//! The line's rules, without a clock or a network.

use super::*;

const ROLE: Role = Role::Scheduler;

/// A line, and the etcd that feeds it.
struct World {
    line: Line,
    revision: i64,
}

impl World {
    fn new() -> Self {
        Self {
            line: Line::new(ROLE),
            revision: 10,
        }
    }

    fn put(&mut self, key: String, value: Vec<u8>, lease: i64) {
        self.revision += 1;
        let revision = Revision(self.revision);
        let kv = KeyValue {
            key: Bytes::from(key),
            value: Bytes::from(value),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: LeaseId(lease),
        };
        self.line.apply(&Batch {
            revision,
            events: vec![Event::Put(kv)],
        });
    }

    fn delete(&mut self, key: String) {
        self.revision += 1;
        let revision = Revision(self.revision);
        self.line.apply(&Batch {
            revision,
            events: vec![Event::Delete {
                key: Bytes::from(key),
                revision,
            }],
        });
    }

    fn register(&mut self, name: &str, lease: i64) {
        let key = MemberKey {
            role: ROLE,
            name: name.into(),
        }
        .encode();
        self.put(
            key,
            Member::new(name, format!("{name}:1"), "1").to_bytes(),
            lease,
        );
    }

    fn join(&mut self, name: &str, lease: i64) {
        self.register(name, lease);
        self.put(
            leader_key(ROLE, LeaseId(lease)),
            Campaign::new(name, format!("{name}:1")).to_bytes(),
            lease,
        );
    }

    fn next(&self, name: &str, lease: i64) -> Option<Move> {
        self.line.next_move(&me(name, lease))
    }
}

fn me(name: &str, lease: i64) -> Me {
    Me {
        member: Member::new(name, format!("{name}:1"), "1"),
        lease: LeaseId(lease),
        resigning: false,
    }
}

fn leader(line: &Line) -> Option<&str> {
    line.leader().map(|c| c.campaign.id.as_str())
}

#[test]
fn newcomer_registers_then_joins_then_rests() {
    let mut world = World::new();
    assert_eq!(world.next("a", 1), Some(Move::Register));
    world.register("a", 1);
    assert_eq!(world.next("a", 1), Some(Move::Join));
    world.join("a", 1);
    assert_eq!(world.next("a", 1), None);
}

#[test]
fn lowest_create_revision_leads_whatever_the_names() {
    let mut world = World::new();
    world.join("z", 9);
    world.join("a", 1);
    assert_eq!(leader(&world.line), Some("z"));
    world.delete(leader_key(ROLE, LeaseId(9)));
    assert_eq!(leader(&world.line), Some("a"));
}

#[test]
fn key_put_anew_goes_to_the_end_of_the_line() {
    let mut world = World::new();
    world.join("a", 1);
    world.join("b", 2);
    let first = world.line.term().unwrap();
    world.delete(leader_key(ROLE, LeaseId(1)));
    world.join("a", 1);
    assert_eq!(leader(&world.line), Some("b"));
    assert!(world.line.term().unwrap().create_revision > first.create_revision);
}

#[test]
fn key_that_does_not_hang_on_its_lease_does_not_count() {
    let mut world = World::new();
    world.put(
        leader_key(ROLE, LeaseId(1)),
        Campaign::new("a", "a:1").to_bytes(),
        0,
    );
    assert_eq!(leader(&world.line), None);
    assert_eq!(world.line.faults().count(), 1);
}

#[test]
fn undecodable_candidate_is_named_and_skipped() {
    let mut world = World::new();
    world.put(leader_key(ROLE, LeaseId(1)), b"junk".to_vec(), 1);
    world.join("b", 2);
    assert_eq!(leader(&world.line), Some("b"));
    assert_eq!(world.line.faults().count(), 1);
    world.delete(leader_key(ROLE, LeaseId(1)));
    assert_eq!(world.line.faults().count(), 0);
}

#[test]
fn other_roles_have_other_lines() {
    let mut world = World::new();
    let key = leader_key(Role::Optimist, LeaseId(1));
    world.put(key, Campaign::new("a", "a:1").to_bytes(), 1);
    assert_eq!(leader(&world.line), None);
}

#[test]
fn former_life_at_our_address_is_ended_and_a_twin_elsewhere_is_reported() {
    let mut world = World::new();
    world.register("a", 1);
    assert_eq!(world.next("a", 2), Some(Move::EndFormerLease(LeaseId(1))));
    let mut twin = me("a", 2);
    twin.member.addr = "elsewhere:1".to_owned();
    assert_eq!(
        world.line.next_move(&twin),
        Some(Move::NameTaken {
            addr: "a:1".to_owned()
        })
    );
}

#[test]
fn evicted_member_leaves_and_stays_out() {
    let mut world = World::new();
    world.join("a", 1);
    let place = world.line.place_of(LeaseId(1)).unwrap();
    world.put(
        EvictionKey {
            role: ROLE,
            name: "a".into(),
        }
        .encode(),
        b"{}".to_vec(),
        0,
    );
    assert_eq!(world.next("a", 1), Some(Move::Leave(place)));
    world.delete(leader_key(ROLE, LeaseId(1)));
    assert_eq!(world.next("a", 1), None);
    world.delete(
        EvictionKey {
            role: ROLE,
            name: "a".into(),
        }
        .encode(),
    );
    assert_eq!(world.next("a", 1), Some(Move::Join));
}

#[test]
fn transfer_sends_those_before_the_chosen_one_to_the_end() {
    let mut world = World::new();
    for (name, lease) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        world.join(name, lease);
    }
    world.put(
        TransferKey { role: ROLE }.encode(),
        Transfer::new("c").to_bytes(),
        0,
    );
    assert!(matches!(world.next("a", 1), Some(Move::Leave(_))));
    assert!(matches!(world.next("b", 2), Some(Move::Leave(_))));
    assert_eq!(world.next("c", 3), None);
    assert_eq!(world.next("d", 4), None);
    world.delete(leader_key(ROLE, LeaseId(1)));
    world.delete(leader_key(ROLE, LeaseId(2)));
    assert!(matches!(world.next("c", 3), Some(Move::EndTransfer(_))));
}

#[test]
fn transfer_to_somebody_who_is_not_there_is_taken_back_by_the_leader() {
    let mut world = World::new();
    world.join("a", 1);
    world.join("b", 2);
    world.put(
        TransferKey { role: ROLE }.encode(),
        Transfer::new("gone").to_bytes(),
        0,
    );
    assert!(matches!(world.next("a", 1), Some(Move::EndTransfer(_))));
    assert_eq!(world.next("b", 2), None);
}

#[test]
fn the_one_before_is_the_direct_neighbour() {
    let mut world = World::new();
    for (name, lease) in [("a", 1), ("b", 2), ("c", 3)] {
        world.join(name, lease);
    }
    let before = |lease| {
        world
            .line
            .before(LeaseId(lease))
            .map(|c| c.campaign.id.as_str())
    };
    assert_eq!(
        (before(1), before(2), before(3)),
        (None, Some("a"), Some("b"))
    );
}
