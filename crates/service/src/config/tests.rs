//! Layers, and what every refusal says: file, line, key, reason.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use super::*;

#[derive(Args, Clone, Debug)]
struct Own {
    /// Lines in a batch
    #[arg(long, default_value_t = 100)]
    batch: u32,
    /// Whether to hurry
    #[arg(long)]
    hurry: bool,
    /// Something without a default
    #[arg(long)]
    join: String,
}

impl Section for Own {
    fn check(&self, _: &Common, origins: &Origins) -> Result<(), Error> {
        if self.batch == 0 {
            Err(Error::invalid(origins, "batch", "must not be 0"))
        } else {
            Ok(())
        }
    }
}

/// A file that is there as long as the test.
struct Toml(tempfile::TempDir);

impl Toml {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("dm.toml"), text).unwrap();
        Self(dir)
    }
    fn path(&self) -> String {
        self.0.path().join("dm.toml").display().to_string()
    }
}

fn load_with(args: &[&str], env: &[(&str, &str)]) -> Result<Settings<Own>, Error> {
    let env: HashMap<&str, &str> = env.iter().copied().collect();
    let args = std::iter::once("test-svc")
        .chain(args.iter().copied())
        .map(OsString::from);
    load("test-svc", 8271, args, |name| {
        env.get(name).map(|v| (*v).to_owned())
    })
}

/// The refusal of a file, with its path cut down to `dm.toml`.
fn refusal(text: &str) -> String {
    let toml = Toml::new(text);
    let error = load_with(&["--config", &toml.path(), "--join", "x"], &[]).unwrap_err();
    let dir = Path::new(&toml.path())
        .parent()
        .unwrap()
        .display()
        .to_string();
    error.to_string().replace(&format!("{dir}/"), "")
}

#[test]
fn each_layer_overrides_the_one_below() {
    let toml = Toml::new("lease-ttl = \"20s\"\nbatch = 7\njoin = \"file\"\nmax-txn-ops = 256\n");
    let args = ["--config", &toml.path(), "--lease-ttl", "40s"];
    let settings = load_with(&args, &[("DM_LEASE_TTL", "30s"), ("DM_BATCH", "8")]).unwrap();
    assert_eq!(settings.common.lease_ttl, Duration::from_secs(40));
    assert_eq!(settings.own.batch, 8);
    assert_eq!(settings.own.join, "file");
    assert_eq!(settings.common.max_txn_ops, 256);
    assert_eq!(settings.common.connect_timeout, Duration::from_secs(3));
    assert_eq!(settings.common.listen, "127.0.0.1:8271");
}

#[test]
fn the_file_can_be_named_by_the_environment() {
    let toml = Toml::new("join = \"file\"\nhurry = true\n");
    let settings = load_with(&[], &[("DM_CONFIG", &toml.path())]).unwrap();
    assert!(settings.own.hurry);
}

#[test]
fn lists_are_lists_or_texts_with_commas() {
    let expected = ["http://a:1", "b:2"];
    let toml = Toml::new("etcd-endpoints = [\"http://a:1\", \"b:2\"]\njoin = \"x\"\n");
    assert_eq!(
        load_with(&["--config", &toml.path()], &[])
            .unwrap()
            .common
            .etcd_endpoints,
        expected
    );
    let toml = Toml::new("endpoints = \"http://a:1,b:2\"\njoin = \"x\"\n");
    assert_eq!(
        load_with(&["--config", &toml.path()], &[])
            .unwrap()
            .common
            .etcd_endpoints,
        expected
    );
    let env = [("DM_ETCD_ENDPOINTS", "http://a:1,b:2"), ("DM_JOIN", "x")];
    assert_eq!(
        load_with(&[], &env).unwrap().common.etcd_endpoints,
        expected
    );
}

#[test]
fn an_unknown_key_is_named_with_file_line_and_what_is_allowed() {
    let text = refusal("# comment\n\nlease-tl = \"20s\"\n");
    assert!(
        text.starts_with(
            "dm.toml:3: unknown key \"lease-tl\"; allowed keys: advertise-addr, batch,"
        ),
        "{text}"
    );
    assert!(
        text.contains("lease-ttl") && !text.contains("config,"),
        "{text}"
    );
    let text = refusal("[batch-of]\nx = 1\n");
    assert!(
        text.starts_with("dm.toml:1: unknown key \"batch-of\""),
        "{text}"
    );
}

#[test]
fn a_wrong_type_is_named_with_file_line_and_key() {
    for (toml, expected) in [
        (
            "\nbatch = \"many\"\n",
            "dm.toml:2: batch: is a string, must be an integer",
        ),
        (
            "hurry = 1\n",
            "dm.toml:1: hurry: is an integer, must be a boolean",
        ),
        (
            "name = 5\n",
            "dm.toml:1: name: is an integer, must be a string",
        ),
        (
            "lease-ttl = 1.5\n",
            "dm.toml:1: lease-ttl: is a float, must be a string",
        ),
        (
            "etcd-endpoints = [1]\n",
            "dm.toml:1: etcd-endpoints: is a list with something else than strings in it, must be a list of strings",
        ),
    ] {
        assert_eq!(refusal(toml), expected);
    }
}

#[test]
fn a_value_out_of_range_is_named_with_file_line_and_key() {
    for (toml, expected) in [
        (
            "lease-ttl = \"1s\"\n",
            "dm.toml:1: lease-ttl: must be at least 2s",
        ),
        (
            "lease-ttl = \"soon\"\n",
            "dm.toml:1: lease-ttl: \"soon\" is no duration; write a whole number with ms, s, m or h, such as 10s",
        ),
        (
            "listen = \"here\"\n",
            "dm.toml:1: listen: \"here\" has no port; write host:port, such as 127.0.0.1:8261",
        ),
        (
            "listen = \":1\"\n",
            "default: advertise-addr: must be given, since listen (0.0.0.0:1) is no address that others can call",
        ),
        (
            "advertise-addr = \"0.0.0.0:1\"\n",
            "dm.toml:1: advertise-addr: \"0.0.0.0:1\" is no address that others can call",
        ),
        (
            "drain-timeout = \"60s\"\n",
            "dm.toml:1: drain-timeout: must not be longer than shutdown-timeout",
        ),
    ] {
        assert_eq!(refusal(toml), expected);
    }
    assert!(
        refusal("batch = -1\n").starts_with("dm.toml:1: batch: -1 is not in"),
        "{}",
        refusal("batch = -1\n")
    );
    assert!(
        refusal("log-format = \"xml\"\n").contains("[possible values: text, json]"),
        "{}",
        refusal("log-format = \"xml\"\n")
    );
}

#[test]
fn a_file_that_is_no_toml_is_named_with_its_line() {
    assert!(refusal("name = \"a\"\nlisten = = 1\n").starts_with("dm.toml:2: "));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load_with(&["--config", "/nowhere/dm.toml"], &[]).unwrap_err();
    assert!(
        error.to_string().starts_with("/nowhere/dm.toml: "),
        "{error}"
    );
}

#[test]
fn the_origin_of_a_bad_value_is_named_whatever_the_layer() {
    let error = load_with(&["--join", "x"], &[("DM_LEASE_TTL", "1s")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "environment variable DM_LEASE_TTL: lease-ttl: must be at least 2s"
    );
    let error = load_with(&["--join", "x", "--batch", "0"], &[]).unwrap_err();
    assert_eq!(error.to_string(), "flag --batch: batch: must not be 0");
}

#[test]
fn a_setting_given_nowhere_and_help_are_told_apart() {
    let error = load_with(&[], &[]).unwrap_err();
    assert!(
        error.to_string().contains("--join") && !error.is_help(),
        "{error}"
    );
    assert!(load_with(&["--help"], &[]).unwrap_err().is_help());
    assert!(load_with(&["--version"], &[]).unwrap_err().is_help());
}

#[test]
fn half_tls_is_refused() {
    assert_eq!(
        refusal("\nssl-cert = \"c.pem\"\nssl-key = \"k.pem\"\n"),
        "dm.toml:2: ssl-cert: ssl-ca is missing: TLS needs ssl-ca, ssl-cert and ssl-key, all three or none"
    );
    assert_eq!(
        refusal("cert-allowed-cn = [\"dm\"]\n"),
        "dm.toml:1: cert-allowed-cn: needs ssl-ca, ssl-cert and ssl-key"
    );
    assert!(
        refusal("etcd-endpoints = [\"https://a:1\"]\n").contains("TLS is on everywhere or nowhere")
    );
}

#[test]
fn missing_and_malformed_pem_files_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let junk = dir.path().join("junk.pem");
    std::fs::write(&junk, "junk").unwrap();
    let toml = |ca: &Path| {
        let junk = junk.display();
        format!(
            "ssl-ca = \"{}\"\nssl-cert = \"{junk}\"\nssl-key = \"{junk}\"\n",
            ca.display()
        )
    };
    let text = refusal(&toml(Path::new("/nowhere/ca.pem")));
    assert!(
        text.starts_with("dm.toml:1: ssl-ca: cannot read /nowhere/ca.pem: "),
        "{text}"
    );
    let text = refusal(&toml(&junk));
    assert!(text.ends_with("no certificate in PEM form found"), "{text}");
}

#[test]
fn name_and_address_follow_the_port_that_was_bound() {
    let common = load_with(&["--join", "x", "--listen", "127.0.0.1:0"], &[])
        .unwrap()
        .common
        .settled(4711);
    assert_eq!(
        (common.name.as_str(), common.advertise_addr.as_str()),
        ("127.0.0.1:4711", "127.0.0.1:4711")
    );
    let args = [
        "--join",
        "x",
        "--listen",
        ":8271",
        "--advertise-addr",
        "me:9",
        "--name",
        "s1",
    ];
    let common = load_with(&args, &[]).unwrap().common.settled(8271);
    assert_eq!(
        (common.name.as_str(), common.advertise_addr.as_str()),
        ("s1", "me:9")
    );
}
