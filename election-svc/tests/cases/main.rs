//! The behaviour cases of an election that DM's clients can tell apart, numbered 1 to 61.
//!
//! A test is named for its case. Where the rule lives below this service, the test stands there:
//!
//! | case | what | test |
//! |---|---|---|
//! | 3 | takeover after a graceful stop | `dm-replica`: `takeover_after_a_graceful_stop_reads_nothing_again`; here too |
//! | 4 | key of a member that is gone for good | `dm-replica`: `restarted_process_replaces_its_former_life_at_once`, `what_a_dead_leader_left_undone_is_done_by_the_next`; here too |
//! | 6 | stopping twice | `dm-replica`: `replica_that_is_stopped_twice_ends_once_and_leaves_no_key`; here too |
//! | 8, 22 | a follower leaves the line | `dm-replica`: the moves in `line/tests.rs`; here too |
//! | 16 | foreign keys | `dm-replica`: `foreign_keys_beside_the_election_change_nothing` |
//! | 18 | compaction | `dm-replica`: `compaction_under_the_watch_does_not_cost_the_lead`; here too |
//! | 28 | resigning twice | `dm-replica`: `resigning_twice_moves_the_lead_once`; here with an eviction |
//! | 38 | deposed leader, write in flight | `dm-replica`: `deposed_leader_that_has_not_noticed_cannot_commit` |
//! | 43, 44 | keys of the old layout | also the machine's own tests, `machine/tests.rs` |
//! | 52 | a list of masters | `dmctl`: `the_first_address_that_connects_is_used`, `a_master_that_went_away_is_replaced_by_the_next`; here the masters' side |
//!
//! Not here, since they are about what this service does not have:
//!
//! | case | why |
//! |---|---|
//! | 40 | the worker gauges are the scheduler's; terms and lead of each role are in `case_40` |
//! | 57 | joining an embedded etcd: members register under a lease, there is nothing to join and no 38040 |
//! | 59 | quorum of an embedded etcd: it is etcd's own, which stands outside |
//!
//! Read in this project's terms: 7 is an etcd that is away at the start; 31 and 33 are about the whole replica, since scheduler, pessimist and
//! optimist are processes of their own and no component is started with the lead; 51 pins that no door serves the OpenAPI
//! (of the JSON gateway there are members and leadership, `gateway`); 58 is a list of etcd's members, some of them dead.
//!
//! Told apart from DM on purpose: `OperateLeader` concerns the leaders of all four roles and not the member
//! that is asked (21, 23, 24, 27 are tested by name through `dm.election.v1`), and a member that was stopped is no member any
//! more, so that `offline-member` has nothing to remove (55).

#![expect(
    clippy::unwrap_used,
    reason = "a test helper that cannot go on fails its test"
)]

mod bootstrap;
mod deployed;
mod evictions;
mod faults;
mod gateway;
mod leadership;
mod lifecycle;
mod members;
mod passed;
mod routing;
mod support;
mod tls;
mod traced;
