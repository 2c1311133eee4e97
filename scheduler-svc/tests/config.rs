//! The configuration file that is delivered is one that the service takes, and names every key.

#[path = "../../tests/kit/shared/config.rs"]
mod shared;

use scheduler_svc::Limits;

#[test]
fn the_delivered_configuration_is_complete_and_has_the_defaults() {
    let set = [
        "rpc-timeout",
        "rpc-concurrency",
        "wait-rounds",
        "wait-interval",
        "database-timeout",
        "precheck-timeout",
        "bind-wait",
    ];
    shared::check_delivered::<Limits>("scheduler-svc", &set, &["secret-key-path"]);
}

#[test]
fn limits_that_make_no_sense_are_refused_by_name() {
    shared::check_refused::<Limits>("scheduler-svc", "--rpc-concurrency", "0");
    shared::check_refused::<Limits>("scheduler-svc", "--wait-rounds", "0");
    shared::check_refused::<Limits>("scheduler-svc", "--rpc-timeout", "0s");
}
