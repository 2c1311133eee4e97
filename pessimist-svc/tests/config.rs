//! The configuration file that is delivered is one that the service takes, and names every key of its own.

#[path = "../../tests/kit/shared/config.rs"]
mod shared;

use pessimist_svc::settings::Limits;

#[test]
fn the_delivered_configuration_is_complete_and_has_the_defaults() {
    shared::check_delivered::<Limits>("pessimist-svc", &["unlock-wait", "unlock-call-wait"], &[]);
}

#[test]
fn a_wait_of_nothing_is_refused_by_name() {
    for name in ["--unlock-wait", "--unlock-call-wait"] {
        shared::check_refused::<Limits>("pessimist-svc", name, "0s");
    }
}
