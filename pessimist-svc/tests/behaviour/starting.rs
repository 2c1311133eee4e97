//! Starts and stops of a task that take several transactions: in between, the subtasks that are there say nothing about who
//! is a member.

use crate::stage::{D1, D2, Stage, id, stage};
use crate::world::Part;

/// As many as a scheduler starts in parts.
const COUNT: usize = 60;
const PART: usize = 20;

fn names() -> Vec<String> {
    (0..COUNT).map(|number| format!("s{number:02}")).collect()
}

/// Starts or stops the task in parts; `between` runs after each part but the last.
fn change_in_parts(
    stage: &mut Stage,
    sources: &[&str],
    starts: bool,
    mut between: impl FnMut(&mut Stage, &[&str]),
) -> String {
    let parts: Vec<&[&str]> = sources.chunks(PART).collect();
    let last = parts.len() - 1;
    let mut put = String::new();
    for (number, part) in parts.into_iter().enumerate() {
        let place = match number {
            0 => Part::First(sources),
            _ if number == last => Part::Last,
            _ => Part::Next,
        };
        let (added, removed): (&[&str], &[&str]) = if starts { (part, &[]) } else { (&[], part) };
        put = stage.after(|world| world.set_part_of_sources("t1", added, removed, place));
        if number < last {
            assert_eq!(put, "", "something is put in between");
            between(stage, part);
        }
    }
    put
}

#[test]
fn nothing_is_executed_before_the_last_part_of_a_start() {
    let names = names();
    let sources: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut stage = stage(&[]);
    let put = change_in_parts(&mut stage, &sources, true, |stage, part| {
        // The workers of each part are quick: all there are have reported before the next part comes.
        for source in part {
            assert_eq!(stage.report(source, D1), "");
        }
        assert_eq!(stage.change_leader(), "");
    });
    assert_eq!(put, "", "a third has not reported");
    assert_eq!(stage.view("bar").expect("a lock").unsynced.len(), PART);
    for source in &sources[COUNT - PART..] {
        stage.report(source, D1);
    }
    assert_eq!(stage.view("bar").expect("a lock").unsynced, []);
    assert_eq!(stage.operations(), "s00");
}

#[test]
fn lock_that_lacks_those_that_are_stopped_last_is_not_executed_while_a_task_is_stopped() {
    let names = names();
    let sources: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut stage = stage(&sources);
    // Those that are stopped first are the ones that have not reported.
    for source in &sources[PART..] {
        stage.report(source, D1);
    }
    let put = change_in_parts(&mut stage, &sources, false, |stage, _| {
        assert_eq!(stage.view("bar").expect("a lock").unsynced.len(), PART);
        assert_eq!(stage.change_leader(), "");
    });
    assert_eq!(put, "");
    let lock = stage.view("bar").expect("a stopped task keeps its lock");
    assert_eq!(lock.unsynced.len(), PART);
    assert_eq!(stage.operations(), "");
    // Started again, it goes on where it was.
    assert_eq!(change_in_parts(&mut stage, &sources, true, |_, _| {}), "");
    let before = &sources[..PART];
    for source in &before[1..] {
        assert_eq!(stage.report(source, D1), "");
    }
    assert_eq!(stage.report(before[0], D1), "s20 executes");
}

#[test]
fn record_that_names_nobody_holds_everything_back_all_the_same() {
    let mut stage = stage(&[]);
    stage.after(|world| world.set_part_of_sources("t1", &["s1"], &[], Part::First(&[])));
    assert_eq!(stage.report("s1", D1), "");
    assert_eq!(stage.change_leader(), "");
    let last = |world: &mut crate::world::World| {
        world.set_part_of_sources("t1", &["s2"], &[], Part::Last);
    };
    assert_eq!(stage.after(last), "");
    assert_eq!(stage.lock(), "s1 owns; ready s1; missing s2; done -");
    assert_eq!(stage.report("s2", D1), "s1 executes");
}

#[test]
fn pause_in_several_parts_holds_nothing_back() {
    let mut stage = stage(&["s1", "s2"]);
    let key = dm_keyspace::TaskStartKey { task: "t1".into() }.encode();
    let pause = br#"{"term":1,"batch":1,"kind":"pause","sources":["s1"]}"#;
    stage.after(|world| world.etcd.write(vec![(key, pause.to_vec())], &[]));
    stage.report("s1", D1);
    assert_eq!(stage.report("s2", D1), "s1 executes");
}

#[test]
fn start_that_is_undone_leaves_nothing_behind() {
    let mut stage = stage(&[]);
    stage.after(|world| world.set_part_of_sources("t1", &["s1"], &[], Part::First(&["s1", "s2"])));
    stage.report("s1", D1);
    let undo = |world: &mut crate::world::World| {
        world.set_part_of_sources("t1", &[], &["s1"], Part::Last);
    };
    assert_eq!(stage.after(undo), "");
    assert_eq!(
        (stage.operations().as_str(), stage.infos().as_str()),
        ("", "s1")
    );
}

#[test]
fn sources_added_in_parts_while_a_round_runs_do_not_stop_it_for_good() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    let all = ["s3", "s4"];
    stage.after(|world| world.set_part_of_sources("t1", &["s3"], &[], Part::First(&all)));
    // It is done in between; the others are told when it is certain who they are.
    assert_eq!(stage.done("s1"), "");
    let last = |world: &mut crate::world::World| {
        world.set_part_of_sources("t1", &["s4"], &[], Part::Last);
    };
    assert_eq!(stage.after(last), "s2 skips");
    stage.done("s2");
    assert_eq!(stage.lock(), "none");
}

#[test]
fn operations_that_look_left_over_stay_while_the_task_is_started() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.done("s1");
    stage.world.stop();
    stage.leave(&["s1", "s2"]);
    let all = ["s1", "s2"];
    stage.after(|world| world.set_part_of_sources("t1", &["s1"], &[], Part::First(&all)));
    assert_eq!(stage.after(crate::world::World::start), "");
    assert_eq!(stage.operations(), "s1* s2");
    let last = |world: &mut crate::world::World| {
        world.set_part_of_sources("t1", &["s2"], &[], Part::Last);
    };
    assert_eq!(stage.after(last), "s2 skips");
    stage.done("s2");
    assert_eq!(stage.lock_of("bar"), "none");
    assert_eq!(stage.report("s1", D2), "");
    assert_eq!(stage.view("bar").map(|lock| lock.id), Some(id("bar")));
}
