//! Normal rounds, comparison of statements, repeated reports, events that mean nothing, what workers may do. Cases 1 to 29.

use dm_keyspace::pessimism::Info;

use crate::stage::{D1, D2, E1, id, stage};
use crate::world::{World, info_key, operation_key};

#[test]
fn case_1_single_source_executes_at_once_and_the_lock_ends_when_it_is_done() {
    let mut stage = stage(&["s1"]);
    assert_eq!(stage.report("s1", D1), "s1 executes");
    assert_eq!(stage.done("s1"), "");
    assert_eq!(
        (stage.lock().as_str(), stage.operations().as_str()),
        ("none", "")
    );
}

#[test]
fn case_2_to_5_owner_executes_then_the_other_skips_then_the_lock_is_gone() {
    let mut stage = stage(&["s1", "s2"]);
    assert_eq!(stage.report("s1", D1), "");
    assert_eq!(stage.lock(), "s1 owns; ready s1; missing s2; done -");
    assert_eq!(stage.report("s2", D1), "s1 executes");
    assert_eq!(stage.done("s1"), "s2 skips");
    assert_eq!(
        (stage.infos().as_str(), stage.operations().as_str()),
        ("s2", "s1* s2")
    );
    let before = stage.world.etcd.revision;
    assert_eq!(stage.done("s2"), "");
    assert_eq!(
        (stage.lock().as_str(), stage.operations().as_str()),
        ("none", "")
    );
    assert_eq!(
        stage.world.etcd.revision.0,
        before.0 + 2,
        "the worker's transaction, and one that deletes both operations"
    );
}

#[test]
fn case_6_done_out_of_order_is_only_marked() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    for source in ["s1", "s2", "s3"] {
        stage.report(source, D1);
    }
    assert_eq!(stage.done("s1"), "s2 skips, s3 skips");
    assert_eq!(stage.done("s3"), "");
    assert_eq!(
        stage.lock(),
        "s1 owns; ready s1 s2 s3; missing -; done s1 s3"
    );
}

#[test]
fn case_7_first_comer_owns_even_if_it_is_not_the_smallest() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    stage.report("s3", D1);
    stage.report("s1", D1);
    assert_eq!(stage.report("s2", D1), "s3 executes");
}

#[test]
fn case_8_next_round_may_have_another_owner() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.done("s1");
    stage.done("s2");
    stage.report("s2", D2);
    assert_eq!(stage.report("s1", D2), "s2 executes");
}

#[test]
fn case_9_tasks_do_not_touch_each_other() {
    let mut world = World::running(&[("t1", &["s1", "s2"]), ("t2", &["s1", "s2"])]);
    for (task, source) in [("t1", "s1"), ("t2", "s2"), ("t2", "s1")] {
        world.report(&Info::new(task, source, "foo", "bar", vec![D1.to_owned()]));
        world.quiet();
    }
    assert_eq!(
        world
            .put
            .iter()
            .map(|o| (o.task.as_str(), o.source.as_str()))
            .collect::<Vec<_>>(),
        [("t2", "s2")]
    );
}

#[test]
fn case_10_two_tables_of_a_task_have_two_locks_and_each_says_where_the_other_source_is() {
    let mut stage = stage(&["s1", "s2"]);
    assert_eq!(stage.report("s1", D1), "");
    assert_eq!(stage.report_all("s2", "baz", &[E1]), "");
    assert_eq!(
        stage.lock_of("bar"),
        "s1 owns; ready s1; missing s2; done -"
    );
    assert_eq!(
        stage.lock_of("baz"),
        "s2 owns; ready s2; missing s1; done -"
    );
    let reasons = stage.view("bar").expect("a lock").reasons;
    assert_eq!(
        reasons[0],
        format!("Source s2 waits for lock {} instead.", id("baz"))
    );
}

#[test]
fn case_13_and_16_mismatch_changes_nothing_until_the_source_corrects_itself() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    assert_eq!(stage.report("s2", D2), "");
    assert_eq!(stage.lock(), "s1 owns; ready s1; missing s2; done -");
    assert_eq!(
        (
            stage.infos().as_str(),
            stage.world.machine().counts().rejected_infos
        ),
        ("s1 s2", 1)
    );
    assert_eq!(
        stage.view("bar").expect("a lock").reasons[0],
        format!("Source s2 reports other statements: {D2}")
    );
    assert_eq!(stage.report("s2", D1), "s1 executes");
}

#[test]
fn case_14_another_number_of_statements_is_a_mismatch() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report_all("s1", "bar", &[D1, D2]);
    assert_eq!(stage.report("s2", D1), "");
    assert_eq!(stage.lock(), "s1 owns; ready s1; missing s2; done -");
}

#[test]
fn case_15_order_of_statements_does_not_count_and_operations_carry_that_of_the_lock() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report_all("s1", "bar", &[D1, D2]);
    stage.report_all("s2", "bar", &[D2, D1]);
    assert_eq!(stage.done("s1"), "s2 skips");
    assert_eq!(stage.world.put[0].ddls(), [D1, D2]);
}

#[test]
fn case_17_repeated_report_before_all_are_there_changes_nothing() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    assert_eq!(stage.report("s1", D1), "");
    assert_eq!(stage.lock(), "s1 owns; ready s1 s2; missing s3; done -");
}

#[test]
fn case_18_owner_that_reports_again_is_told_again() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    assert_eq!(stage.report("s1", D1), "s1 executes");
}

#[test]
fn case_19_non_owner_that_reports_again_before_the_owner_is_done_gets_nothing() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    assert_eq!(stage.report("s2", D1), "");
}

#[test]
fn case_20_non_owner_that_reports_again_after_it_gets_its_skip_again_alone() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    for source in ["s1", "s2", "s3"] {
        stage.report(source, D1);
    }
    stage.done("s1");
    assert_eq!(stage.report("s2", D1), "s2 skips");
}

#[test]
fn case_21_ddl_of_a_finished_round_makes_a_new_lock() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.done("s1");
    stage.done("s2");
    assert_eq!(stage.report("s2", D1), "");
    assert_eq!(stage.lock(), "s2 owns; ready s2; missing s1; done -");
}

#[test]
fn case_22_and_23_operations_without_a_report_prove_nothing() {
    let mut stage = stage(&["s1", "s2"]);
    assert_eq!(stage.put_operation("s1", &id("other"), true, true), "");
    assert_eq!(
        (stage.lock_of("other").as_str(), stage.operations().as_str()),
        ("none", "s1*")
    );
    stage.report("s1", D1);
    assert_eq!(stage.put_operation("s2", &id("bar"), false, false), "");
    assert_eq!(stage.lock(), "s1 owns; ready s1; missing s2; done -");
    assert_eq!(stage.report("s2", D1), "s1 executes");
}

#[test]
fn case_24_done_of_a_stranger_proves_nothing_and_is_left_alone() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.put_operation("s9", &id("bar"), true, true);
    assert_eq!(stage.lock(), "s1 owns; ready s1 s2; missing -; done -");
    assert_eq!(stage.done("s1"), "s2 skips");
    stage.done("s2");
    assert_eq!(stage.operations(), "s9*");
}

#[test]
fn case_25_done_said_twice_succeeds_and_changes_nothing() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.done("s1");
    assert_eq!(stage.done("s1"), "");
}

#[test]
fn case_26_info_of_a_stranger_is_ignored() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    assert_eq!(stage.report("s9", D1), "");
    assert_eq!(stage.lock(), "s1 owns; ready s1; missing s2; done -");
}

#[test]
fn case_27_next_ddl_waits_for_the_deletion_of_the_operation() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.done("s1");
    assert!(!stage.may_report("s1", D2));
    stage.done("s2");
    assert!(stage.may_report("s1", D2));
}

#[test]
fn case_28_report_over_an_order_that_is_not_done_is_answered_anew() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    assert!(stage.may_report("s1", D1));
    assert_eq!(stage.world.put.len(), 1);
}

#[test]
fn case_29_done_after_the_records_are_removed_is_an_error_for_the_worker() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.after(|world| world.remove_meta(&"t1".into()));
    assert_eq!(
        (stage.lock().as_str(), stage.infos().as_str()),
        ("none", "")
    );
    assert!(stage.late_done_fails("s1"));
}

#[test]
fn case_11_backquotes_in_names_are_doubled_in_the_id_and_the_round_works() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report_all("s1", "b`r", &[D1]);
    assert_eq!(stage.report_all("s2", "b`r", &[D1]), "s1 executes");
    assert_eq!(stage.world.put[0].id, "t1-`foo`.`b``r`");
    assert_eq!(stage.done("s1"), "s2 skips");
    stage.change_leader();
    stage.done("s2");
    assert_eq!(
        (stage.lock_of("b`r").as_str(), stage.operations().as_str()),
        ("none", "")
    );
}

#[test]
fn case_12_done_of_a_go_worker_counts_whatever_letters_its_statements_have() {
    let ddl = "ALTER TABLE `foo`.`bar` COMMENT '<a&b>\u{2028}'";
    for is_changed in [false, true] {
        let mut stage = stage(&["s1", "s2"]);
        stage.report("s1", ddl);
        assert_eq!(stage.report("s2", ddl), "s1 executes");
        // As Go's encoder writes it.
        let done = concat!(
            r#"{"id":"t1-`foo`.`bar`","task":"t1","source":"s1","#,
            r#""ddls":["ALTER TABLE `foo`.`bar` COMMENT '\u003ca\u0026b\u003e\u2028'"],"exec":true,"done":true}"#
        );
        let put = vec![(operation_key("t1", "s1"), done.as_bytes().to_vec())];
        let told = stage.after(|world| world.etcd.write(put, &[info_key("t1", "s1")]));
        assert_eq!(told, "s2 skips");
        if is_changed {
            assert_eq!(stage.change_leader(), "s2 skips");
        }
        stage.done("s2");
        assert_eq!(
            (stage.lock().as_str(), stage.operations().as_str()),
            ("none", "")
        );
    }
}
