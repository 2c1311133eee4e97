//! Invariants 3 and 4 of the design, in every order of steps.
//!
//! Each world is explored to its end, not to a bound: the depth that is printed is that of the deepest state there is. Then
//! the steps that come by themselves are gone back over from where everything has ended: no state may be left out.
//!
//! Worlds that take minutes are explored on demand: `cargo test -p model --test pessimist -- --ignored`.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use model::pessimist::{Order, Workers, World};
use stateright::{Checker, Model};

/// What was explored is what the run is for, so it is told past the harness, which keeps what passing tests print to itself.
fn explore(name: &str, world: World) {
    let started = Instant::now();
    let graph = Arc::clone(&world.graph);
    let checker = world.checker().threads(2).spawn_bfs().join();
    let without_end = graph.without_end();
    let told = writeln!(
        std::io::stderr(),
        "{name}: {} states, {} of them different, to depth {}, which is all, in {:.1?}; {} of them have no end",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        started.elapsed(),
        without_end.len(),
    );
    told.expect("standard error takes a line");
    checker.assert_properties();
    let shortest = without_end.iter().min_by_key(|way| way.len());
    assert_eq!(shortest, None, "from there nothing comes to its end");
}

/// Two tables, and the first statement again.
const AGAIN: [(&str, &str); 3] = [("a", "x"), ("b", "y"), ("a", "x")];

#[test]
fn two_sources_two_tables_the_same_statement_twice_two_faults() {
    let world = World {
        sources: 2,
        plan: AGAIN.to_vec(),
        faults: 2,
        ..World::default()
    };
    explore("2 sources, 3 statements on 2 tables, 2 faults", world);
}

#[test]
fn three_sources_two_tables_one_fault() {
    let world = World {
        sources: 3,
        plan: AGAIN[..2].to_vec(),
        faults: 1,
        ..World::default()
    };
    explore("3 sources, 2 statements on 2 tables, 1 fault", world);
}

#[test]
fn two_sources_one_table_four_faults() {
    let world = World {
        sources: 2,
        plan: AGAIN[..1].to_vec(),
        faults: 4,
        ..World::default()
    };
    explore("2 sources, 1 statement, 4 faults", world);
}

#[test]
fn workers_like_dms() {
    let world = World {
        sources: 2,
        plan: AGAIN.to_vec(),
        faults: 1,
        workers: Workers::LikeDm,
        ..World::default()
    };
    explore(
        "2 sources like DM's, 3 statements on 2 tables, 1 fault",
        world,
    );
}

#[test]
fn a_source_joins_or_leaves() {
    let world = World {
        sources: 3,
        outside: 1,
        plan: AGAIN[..2].to_vec(),
        moves: 1,
        ..World::default()
    };
    explore("2 sources and 1 outside, 2 statements, 1 move", world);
}

#[test]
fn a_source_leaves_and_comes_back() {
    let world = World {
        sources: 2,
        plan: AGAIN[..2].to_vec(),
        moves: 2,
        workers: Workers::LikeDm,
        ..World::default()
    };
    explore("2 sources like DM's, 2 statements, 2 moves", world);
}

#[test]
fn a_source_moves_while_something_goes_wrong() {
    let world = World {
        sources: 2,
        plan: AGAIN[..1].to_vec(),
        moves: 1,
        faults: 1,
        ..World::default()
    };
    explore("2 sources, 1 statement, 1 move, 1 fault", world);
}

#[test]
#[ignore = "takes minutes"]
fn large_worlds_with_moves() {
    let many_moves = World {
        sources: 2,
        plan: AGAIN[..2].to_vec(),
        moves: 3,
        ..World::default()
    };
    explore("2 sources, 2 statements, 3 moves", many_moves);
    let many_sources = World {
        sources: 3,
        plan: AGAIN[..1].to_vec(),
        moves: 2,
        workers: Workers::LikeDm,
        ..World::default()
    };
    explore("3 sources like DM's, 1 statement, 2 moves", many_sources);
}

const DEFAULT: Order = Order {
    owner: None,
    force: false,
};
const FORCED: Order = Order {
    owner: None,
    force: true,
};
const BY_THE_SECOND: Order = Order {
    owner: Some(1),
    force: false,
};
const FORCED_BY_THE_SECOND: Order = Order {
    owner: Some(1),
    force: true,
};

#[test]
fn a_lock_is_unlocked_by_hand() {
    let world = World {
        sources: 2,
        plan: AGAIN[..2].to_vec(),
        unlocks: 1,
        orders: vec![DEFAULT, FORCED],
        ..World::default()
    };
    explore(
        "2 sources, 2 statements, 1 unlock, with and without force",
        world,
    );
}

#[test]
fn a_lock_is_unlocked_with_another_owner() {
    let world = World {
        sources: 2,
        plan: AGAIN[..2].to_vec(),
        unlocks: 1,
        orders: vec![BY_THE_SECOND, FORCED_BY_THE_SECOND],
        workers: Workers::LikeDm,
        ..World::default()
    };
    explore(
        "2 sources like DM's, 2 statements, 1 unlock with another owner",
        world,
    );
}

#[test]
fn a_lock_is_unlocked_while_something_goes_wrong() {
    let world = World {
        sources: 2,
        plan: AGAIN[..1].to_vec(),
        unlocks: 1,
        orders: vec![DEFAULT],
        faults: 1,
        ..World::default()
    };
    explore("2 sources, 1 statement, 1 unlock, 1 fault", world);
}

#[test]
#[ignore = "takes minutes"]
fn large_worlds_with_unlocks() {
    let every_order = vec![DEFAULT, FORCED, BY_THE_SECOND, FORCED_BY_THE_SECOND];
    let two_statements = World {
        sources: 2,
        plan: AGAIN[..2].to_vec(),
        unlocks: 1,
        orders: every_order.clone(),
        workers: Workers::LikeDm,
        ..World::default()
    };
    explore(
        "2 sources like DM's, 2 statements, 1 unlock",
        two_statements,
    );
    let a_move = World {
        sources: 2,
        plan: AGAIN[..1].to_vec(),
        unlocks: 1,
        moves: 1,
        orders: every_order.clone(),
        ..World::default()
    };
    explore("2 sources, 1 statement, 1 unlock, 1 move", a_move);
    let a_fault = World {
        sources: 2,
        plan: AGAIN[..1].to_vec(),
        unlocks: 1,
        faults: 1,
        orders: every_order,
        workers: Workers::LikeDm,
        ..World::default()
    };
    explore(
        "2 sources like DM's, 1 statement, 1 unlock, 1 fault",
        a_fault,
    );
}
