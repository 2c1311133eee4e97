//! Invariants 3 and 4 of the design, in every order of steps.
//!
//! Each world is explored to its end, not to a bound: the depth that is printed is that of the deepest state there is.

use std::io::Write as _;
use std::time::Instant;

use model::pessimist::{FOLLOWED, World};
use stateright::{Checker, Model};

/// What was explored is what the run is for, so it is told past the harness, which keeps what passing tests print to itself.
fn explore(name: &str, world: World) {
    let started = Instant::now();
    let checker = world.checker().threads(2).spawn_bfs().join();
    let told = writeln!(
        std::io::stderr(),
        "{name}: {} states, {} of them different, to depth {}, which is all, in {:.1?}; \
         one in {FOLLOWED} of them followed to its end without further faults",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        started.elapsed(),
    );
    told.expect("standard error takes a line");
    checker.assert_properties();
}

/// Two tables, and the first statement again.
const AGAIN: [(&str, &str); 3] = [("a", "x"), ("b", "y"), ("a", "x")];

#[test]
fn two_sources_two_tables_the_same_statement_twice_two_faults() {
    let world = World {
        sources: 2,
        plan: AGAIN.to_vec(),
        faults: 2,
    };
    explore("2 sources, 3 statements on 2 tables, 2 faults", world);
}

#[test]
fn three_sources_two_tables_one_fault() {
    let world = World {
        sources: 3,
        plan: AGAIN[..2].to_vec(),
        faults: 1,
    };
    explore("3 sources, 2 statements on 2 tables, 1 fault", world);
}

#[test]
fn two_sources_one_table_four_faults() {
    let world = World {
        sources: 2,
        plan: AGAIN[..1].to_vec(),
        faults: 4,
    };
    explore("2 sources, 1 statement, 4 faults", world);
}
