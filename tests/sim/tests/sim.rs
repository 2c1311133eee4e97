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
