//! Seeds that run with every test; `SIM_SEEDS=0..1000 cargo test -p sim` runs others.

#[test]
fn shard_ddls_are_executed_once_and_come_to_an_end() {
    sim::seeds(12, "shard_ddls", sim::shards::run);
}

#[test]
fn sources_are_served_by_one_worker_and_in_the_end_by_one_each() {
    sim::seeds(12, "sources_are", sim::placement::run);
}

#[test]
fn what_users_are_told_is_in_etcd_and_nothing_stays_half_done() {
    sim::seeds(8, "what_users", sim::placement::run_with_users);
}

/// Scripts of the scheduler's cases, each with some seeds: they draw how long messages take.
fn case(name: &str, run: impl Fn(u64)) {
    sim::seeds(3, name, run);
}

macro_rules! cases {
    ($($test:ident: $case:ident),+ $(,)?) => {
        $(#[test]
        fn $test() {
            case(stringify!($test), sim::placement::cases::$case);
        })+
    };
}

cases! {
    case_4_a_new_leader_puts_nothing_again: case_4,
    cases_6_and_16_a_worker_that_goes_while_nobody_leads_is_replaced: cases_6_and_16,
    cases_17_and_29_a_worker_that_starts_anew_gets_its_bound_again: cases_17_and_29,
    case_20_what_a_deposed_leader_has_sent_is_refused: case_20,
    cases_27_and_37_a_source_moves_with_its_worker_and_its_leader_gone_or_waits: cases_27_and_37,
    case_34_a_failover_is_made_when_it_can_be_written: case_34,
    case_35_workers_get_back_what_they_served_last: case_35,
    case_45_a_source_leaves_a_dead_relay_worker_for_good: case_45,
    case_47_a_paused_relay_stays_paused_over_a_failover: case_47,
    case_60_a_swap_is_finished_by_the_next_leader: case_60,
    case_78_a_new_leader_knows_what_an_offline_worker_relays: case_78,
    case_94_a_paused_task_stays_paused_over_a_failover: case_94,
    case_95_a_task_is_stopped_while_its_worker_is_dead: case_95,
    cases_103_and_105_a_source_whose_worker_dies_in_a_transfer_fails_over_once: cases_103_and_105,
    case_107_the_next_leader_ends_a_transfer: case_107,
    case_117_a_write_whose_reply_is_lost_is_known: case_117,
}
