//! The configuration file that is delivered, and values that make no sense.

#[path = "../../tests/kit/shared/config.rs"]
mod shared;

use optimist_svc::settings::Limits;

#[test]
fn the_delivered_configuration_is_complete_and_has_the_defaults() {
    let set = ["checkpoint-timeout", "checkpoint-wait"];
    shared::check_delivered::<Limits>("optimist-svc", &set, &["secret-key-path"]);
}

#[test]
fn limits_that_make_no_sense_are_refused_by_name() {
    shared::check_refused::<Limits>("optimist-svc", "--checkpoint-timeout", "0s");
    shared::check_refused::<Limits>("optimist-svc", "--checkpoint-wait", "soon");
}
