//! The configuration file that is delivered is one that the service takes, and names every key of its own.

use pessimist_svc::settings::Limits;

fn load(args: &[&str]) -> Result<Limits, String> {
    let args = args.iter().map(|a| (*a).into());
    dm_service::config::load::<Limits>("pessimist-svc", 8281, args, |_| None)
        .map(|settings| settings.own)
        .map_err(|e| e.to_string())
}

#[test]
fn the_delivered_configuration_is_complete_and_has_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/pessimist-svc.toml");
    let delivered = load(&["pessimist-svc", "--config", path]).map(|own| format!("{own:?}"));
    assert_eq!(
        delivered,
        load(&["pessimist-svc"]).map(|own| format!("{own:?}"))
    );
    let text = std::fs::read_to_string(path).unwrap_or_default();
    for name in ["unlock-wait", "unlock-call-wait"] {
        assert!(text.contains(&format!("\n{name} = ")), "{name}");
    }
}

#[test]
fn a_wait_of_nothing_is_refused_by_name() {
    for name in ["unlock-wait", "unlock-call-wait"] {
        let error = load(&["pessimist-svc", &format!("--{name}"), "0s"])
            .map(|_| ())
            .err()
            .unwrap_or_default();
        assert!(error.contains(name), "{error}");
    }
}
