//! The configuration file that is delivered is one that the service takes, and names every key.

use scheduler_svc::Limits;

#[test]
fn the_delivered_configuration_is_complete_and_has_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/scheduler-svc.toml");
    let load = |args: &[&str]| {
        let args = args.iter().map(|a| (*a).into());
        dm_service::config::load::<Limits>("scheduler-svc", 8271, args, |_| None)
    };
    let delivered = load(&["scheduler-svc", "--config", path]).map_err(|e| e.to_string());
    let defaults = load(&["scheduler-svc"]).map_err(|e| e.to_string());
    let own = |settings: Result<dm_service::Settings<Limits>, String>| {
        settings.map(|s| format!("{:?}", s.own))
    };
    assert_eq!(own(delivered), own(defaults));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    for key in [
        "rpc-timeout",
        "rpc-concurrency",
        "wait-rounds",
        "wait-interval",
        "database-timeout",
        "precheck-timeout",
        "bind-wait",
    ] {
        assert!(text.contains(&format!("\n{key} = ")), "{key} is missing");
    }
}

#[test]
fn limits_that_make_no_sense_are_refused_by_name() {
    for (flag, value) in [
        ("--rpc-concurrency", "0"),
        ("--wait-rounds", "0"),
        ("--rpc-timeout", "0s"),
    ] {
        let args = ["scheduler-svc", flag, value].map(Into::into);
        let error =
            dm_service::config::load::<Limits>("scheduler-svc", 8271, args, |_| None).map(|_| ());
        let error = error.map_err(|e| e.to_string()).err().unwrap_or_default();
        assert!(error.contains(&flag[2..]), "{error}");
    }
}
