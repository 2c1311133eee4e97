//! The behaviour of optimistic locks, case by case. The numbers are those of the list of cases that the behaviour vectors
//! were made from. Most cases are a vector; the others are tests here, and every number is one or the other.

mod cases;
mod large;
mod late;
#[path = "../support/stage.rs"]
mod stage;
mod unlocking;
mod views;
#[path = "../support/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

/// Cases, and the vector that plays each.
const VECTORS: [(&str, &str); 80] = [
    ("1", "add_column_all_tables"),
    ("4", "add_column_done_interleaved"),
    ("5", "resend_same_info_is_idempotent"),
    ("6", "two_adds_in_one_event"),
    ("7", "drop_column_waits_for_last_table"),
    ("8", "two_drops_in_one_event_and_split"),
    ("9", "add_and_drop_in_one_event"),
    ("10", "drop_and_add_in_one_event"),
    ("12", "drop_index_at_once_add_index_at_last"),
    ("13", "null_to_not_null_and_back_twice"),
    ("14", "widen_int_to_bigint"),
    ("15", "narrow_bigint_to_int_waits"),
    ("16", "enum_append_then_other_shard"),
    ("17", "single_table_lock"),
    ("18", "no_schema_change_ddl_is_returned"),
    ("19", "different_index_names"),
    ("20", "revert_single_add"),
    ("21", "revert_part_then_other_catches_up"),
    ("21a", "widen_varchar"),
    ("21b", "auto_increment_base_keeps_lock_open"),
    ("23", "type_conflict_fixed_by_first_table"),
    ("24", "type_conflict_fixed_by_second_table"),
    ("25", "default_value_conflict"),
    ("26", "unsigned_conflict"),
    ("27", "decimal_precision_conflict"),
    ("30", "rename_column_three_tables"),
    ("32", "rename_to_different_names_conflicts"),
    ("33", "rename_different_columns_conflicts"),
    ("34", "skip_wait_resend_is_idempotent"),
    ("35", "modify_type_all_tables"),
    ("36", "add_not_null_without_default"),
    ("37", "add_not_null_with_default_is_normal"),
    ("38", "normal_ddls_resolve_a_rename"),
    ("39", "drop_and_readd_with_new_type_conflicts"),
    ("41", "normal_then_conflict_in_one_event"),
    ("42", "late_table_follows_a_finished_rename"),
    (
        "43",
        "rename_agreeing_with_one_normal_table_strands_waiters",
    ),
    ("44a", "conflict_partly_reverted"),
    ("44b", "rename_table_wise_pk_auto_increment"),
    ("45", "long_mixed_history"),
    ("48", "add_back_a_partly_dropped_column"),
    ("49", "drop_then_add_same_column_in_one_event"),
    ("50", "other_table_may_add_what_it_never_dropped"),
    ("51", "add_with_larger_length_refused"),
    ("51", "add_with_smaller_length_refused"),
    ("52", "column_stays_until_every_done"),
    ("53", "drop_column_error_in_last_worker"),
    ("54", "drop_table_leaves_column_downstream"),
    ("55", "column_names_differing_in_case"),
    ("56", "info_of_unknown_table_joins"),
    ("57", "new_tables_without_checkpoint_use_first_before"),
    ("58", "new_table_schema_from_checkpoint"),
    ("60", "drop_table_makes_lock_synced"),
    ("61", "drop_last_table_removes_lock"),
    ("62", "removed_table_frees_partly_dropped_column"),
    ("63", "drop_table_does_not_wake_a_waiting_table"),
    ("64", "two_targets_two_locks"),
    ("65", "route_change_moves_a_table"),
    ("66", "delete_source_tables_key"),
    ("66a", "create_and_drop_table_history"),
    ("67", "done_is_not_enough_when_schemas_differ"),
    ("68", "newer_info_blocks_removal"),
    ("69", "ddl_count_mismatch"),
    ("70", "missing_table_before_gets_no_operation"),
    ("71", "resend_after_the_lock_is_gone"),
    ("74", "leader_change_unsynced_not_done"),
    ("75", "leader_change_all_done_removes_lock"),
    ("76", "leader_change_replays_by_revision"),
    ("77", "leader_change_keeps_dropped_columns"),
    ("78", "leader_change_during_skip_wait"),
    ("79", "leader_change_with_detected_conflict"),
    ("80", "ignore_conflict_sets_the_schema"),
    ("81", "ignore_conflict_can_resolve_and_remove"),
    ("82", "unlock_skip"),
    ("83", "unlock_exec"),
    ("84", "unlock_refused"),
    ("85", "stop_task_for_one_source"),
    ("86", "remove_task_clears_all"),
    ("86a", "info_after_remove_task_makes_a_new_lock"),
    ("87", "show_locks_filters"),
];

/// Cases that no vector plays, or not all of it.
const TESTS: [(&str, fn()); 16] = [
    (
        "2",
        cases::case_2_and_3_lock_stays_until_the_last_is_done_and_goes_at_once,
    ),
    (
        "3",
        cases::case_2_and_3_lock_stays_until_the_last_is_done_and_goes_at_once,
    ),
    (
        "5",
        cases::case_5_same_info_once_more_changes_nothing_but_its_answer,
    ),
    ("11", cases::case_11_index_is_dropped_at_once_by_each),
    (
        "22",
        cases::case_22_refused_info_leaves_the_table_as_it_was_before_all_its_statements,
    ),
    (
        "28",
        cases::case_28_29_31_rename_waits_the_same_for_each_and_is_accepted_afterwards,
    ),
    (
        "29",
        cases::case_28_29_31_rename_waits_the_same_for_each_and_is_accepted_afterwards,
    ),
    (
        "31",
        cases::case_28_29_31_rename_waits_the_same_for_each_and_is_accepted_afterwards,
    ),
    (
        "40",
        cases::case_40_statements_before_the_one_that_waits_are_named,
    ),
    (
        "44",
        cases::case_44_other_statement_of_a_waiting_table_is_judged_by_itself,
    ),
    (
        "46",
        cases::case_46_and_47_column_is_free_again_when_all_that_dropped_it_are_done,
    ),
    (
        "47",
        cases::case_46_and_47_column_is_free_again_when_all_that_dropped_it_are_done,
    ),
    ("59", cases::case_59_lists_of_tables_alone_make_no_lock),
    ("72", cases::case_72_done_for_an_unknown_lock_is_ignored),
    (
        "73",
        cases::case_73_answer_without_a_statement_leaves_a_table_done,
    ),
    ("88", cases::case_88_strict_mode_is_the_workers_business),
];

/// All there are: 1 to 88, and some between.
fn numbers() -> BTreeSet<String> {
    let between = ["21a", "21b", "44a", "44b", "66a", "86a"];
    let numbers = (1..=88).map(|number: u32| number.to_string());
    numbers.chain(between.map(str::to_owned)).collect()
}

#[test]
fn every_case_is_played_by_a_vector_that_exists_or_by_a_test() {
    let folder = std::env::var_os("DM_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors")),
        PathBuf::from,
    );
    let text = std::fs::read_to_string(folder.join("optimism.json")).expect("the vectors");
    let file: Value = serde_json::from_str(&text).expect("the vectors");
    let cases = file["cases"].as_array().expect("cases").iter();
    let there: BTreeSet<&str> = cases.filter_map(|case| case["name"].as_str()).collect();
    let missing: Vec<_> = VECTORS
        .iter()
        .filter(|(_, vector)| !there.contains(vector))
        .collect();
    assert!(missing.is_empty(), "no such vectors: {missing:?}");
    let by_vector = VECTORS.iter().map(|(number, _)| (*number).to_owned());
    let by_test = TESTS.iter().map(|(number, _)| (*number).to_owned());
    let played: BTreeSet<String> = by_vector.chain(by_test).collect();
    assert_eq!(played, numbers());
}
