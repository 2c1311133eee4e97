//! Invariant 1 of the design, in every order of steps.

use std::time::Instant;

use model::election::World;
use stateright::{Checker, Model};

/// Explores a world down to a depth; zero is all of it.
#[expect(
    clippy::print_stdout,
    reason = "what was explored is what the run is for"
)]
fn explore(name: &str, world: World, depth: usize) {
    let started = Instant::now();
    let checker = world.checker().threads(2).target_max_depth(depth);
    let checker = checker.spawn_bfs().join();
    println!(
        "{name}: {} states, {} of them different, to depth {}{}, in {:.1?}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        if depth == 0 { ", which is all" } else { "" },
        started.elapsed(),
    );
    checker.assert_properties();
}

#[test]
fn two_members_three_writes() {
    let world = World {
        members: 2,
        in_line: false,
        joins: 1,
        writes: 3,
    };
    explore("2 members, 1 join each, 3 writes", world, 0);
}

#[test]
fn two_members_that_come_back_two_writes() {
    let world = World {
        members: 2,
        in_line: false,
        joins: 2,
        writes: 2,
    };
    explore("2 members, 2 joins each, 2 writes", world, 18);
}

#[test]
fn three_members_in_line_two_writes() {
    let world = World {
        members: 3,
        in_line: true,
        joins: 1,
        writes: 2,
    };
    explore("3 members in line, 2 writes", world, 11);
}
