//! Whether the configuration file that is delivered is one that its service takes, has the defaults, and names every key.
//!
//! Shared by test programs that include it by path; the kit itself knows nothing of services.

use std::fmt::Debug;

use dm_service::config::load;
use dm_service::{Section, Settings};

/// The settings of a service by its flags, or what is wrong with them.
pub(crate) fn settings<S: Section>(
    service: &'static str,
    flags: &[&str],
) -> Result<Settings<S>, String> {
    let args = std::iter::once(service).chain(flags.iter().copied());
    load::<S>(service, 0, args.map(Into::into), |_| None).map_err(|error| error.to_string())
}

/// Fails unless the file in `deploy/` says what holds without it, and names the service's own keys: those that are set, and
/// those that have no default and are commented out.
pub(crate) fn check_delivered<S: Section + Debug>(
    service: &'static str,
    set: &[&str],
    unset: &[&str],
) {
    let path = format!("{}/../deploy/{service}.toml", env!("CARGO_MANIFEST_DIR"));
    let own = |flags: &[&str]| settings::<S>(service, flags).map(|s| format!("{:?}", s.own));
    assert_eq!(own(&["--config", &path]), own(&[]));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    for key in set {
        assert!(text.contains(&format!("\n{key} = ")), "{key} is missing");
    }
    for key in unset {
        assert!(text.contains(&format!("\n# {key} = ")), "{key} is missing");
    }
}

/// Fails unless the flag's value is refused with the name of the flag.
pub(crate) fn check_refused<S: Section>(service: &'static str, flag: &str, value: &str) {
    let refused = settings::<S>(service, &[flag, value]).map(|_| ()).err();
    let error = refused.unwrap_or_else(|| panic!("{flag} {value} is accepted"));
    assert!(error.contains(&flag[2..]), "{error}");
}
