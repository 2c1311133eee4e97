//! Where the content of TLS files goes.

use super::*;

fn security(ca: &str) -> Security {
    Security {
        ssl_ca_base64: ca.into(),
        ..Default::default()
    }
}

fn embedded(text: &str) -> Option<String> {
    embed(text, "from", Some(&security("YWI="))).unwrap()
}

#[test]
fn a_block_keeps_its_indent_and_comments() {
    let text = "security: no\nfrom:\n  host: h # security: x\n  security: # files\n    # here\n    ssl-ca-base64: YWI=\n  port: 1\n";
    let wanted = "security: no\nfrom:\n  host: h # security: x\n  security: # files\n    # here\n    ssl-ca-bytes: [97, 98]\n    ssl-ca-base64: YWI=\n  port: 1\n";
    assert_eq!(embedded(text).unwrap(), wanted);
}

#[test]
fn a_mapping_in_braces_keeps_its_style() {
    let text = "from: {host: h, security: {ssl-ca-base64: YWI=}}\n";
    let wanted = "from: {host: h, security: {ssl-ca-bytes: [97, 98], ssl-ca-base64: YWI=}}\n";
    assert_eq!(embedded(text).unwrap(), wanted);
}

#[test]
fn a_place_that_is_not_found_is_an_error() {
    let error = embed("from: *anchor\nother: 1\n", "from", Some(&security("YWI="))).unwrap_err();
    assert!(error.to_string().starts_with("[code=48003:"), "{error}");
}

#[test]
fn nothing_is_added_to_what_is_there_or_when_there_is_no_tls() {
    let known = Security {
        ssl_ca_bytes: Some(vec![1]),
        ..security("YWI=")
    };
    assert_eq!(embed("from:\n", "from", Some(&known)), Ok(None));
    assert_eq!(embed("from:\n", "from", None), Ok(None));
    assert_eq!(
        embed("from:\n", "from", Some(&Security::default())),
        Ok(None)
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let missing = Security {
        ssl_key: "/no/such/key.pem".into(),
        ..Default::default()
    };
    let error = embed("from:\n", "from", Some(&missing))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("[code=48003:"), "{error}");
    assert!(error.contains("ssl-key /no/such/key.pem: "), "{error}");
}
