//! The configuration file that is shipped: what it says is what holds without it, and it leaves nothing out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use dm_service::config::Error;
use dm_service::{Nothing, Settings, config};

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/election-svc.toml")
}

fn load(file: Option<&Path>) -> Result<Settings<Nothing>, Error> {
    let flag = file
        .into_iter()
        .flat_map(|f| [OsString::from("--config"), f.into()]);
    let args = std::iter::once(OsString::from("election-svc")).chain(flag);
    config::load("election-svc", election_svc::DEFAULT_PORT, args, |_| None)
}

#[test]
fn shipped_configuration_states_the_defaults() {
    let mut read = load(Some(&shipped())).unwrap();
    read.common.config = None;
    let defaults = load(None).unwrap();
    assert_eq!(format!("{read:?}"), format!("{defaults:?}"));
}

#[test]
fn shipped_configuration_names_every_key() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = dir.path().join("wrong.toml");
    std::fs::write(&wrong, "no-such-key = 1\n").unwrap();
    let Err(Error::UnknownKey { allowed, .. }) = load(Some(&wrong)) else {
        panic!("the key must be refused");
    };
    let text = std::fs::read_to_string(shipped()).unwrap();
    for key in allowed {
        let line = format!("{key} = ");
        let named = text
            .lines()
            .any(|l| l.trim_start_matches("# ").starts_with(&line));
        assert!(named, "{key} is missing");
    }
}
