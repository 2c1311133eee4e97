//! A downstream that wants TLS, and what a task's file holds for it.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dm_proto::pb;
use dm_task::db::Security;

use crate::harness::Site;

fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/service/tests/pem")
        .join(name)
}

fn base64(name: &str) -> String {
    STANDARD.encode(std::fs::read(pem(name)).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_holds_for_tls_is_used_and_never_left_out() {
    let flags = [("ca", "ca.pem"), ("cert", "dm.pem"), ("key", "dm.key")];
    let flags = flags.map(|(flag, file)| format!("--ssl-{flag}={}", pem(file).display()));
    let site = Site::start_with(flags.to_vec()).await;
    let users = "CREATE USER secure@'%' IDENTIFIED BY 'secret' REQUIRE X509; GRANT ALL ON *.* TO secure@'%'";
    site.down.exec(users).await.unwrap();
    let rows = "CREATE DATABASE shop; CREATE TABLE shop.t1 (id INT PRIMARY KEY); INSERT INTO shop.t1 VALUES (1)";
    site.up.exec(rows).await.unwrap();
    let mut config = site.subtask("all", false);
    config.to.user = "secure".to_owned();
    config.to.password = "secret".into();
    config.to.security = Some(Security {
        ssl_ca_base64: base64("ca.pem"),
        ssl_cert_base64: base64("dm.pem"),
        ssl_key_base64: base64("dm.key"),
        ..Security::default()
    });
    let worker = site.run(&config).await;
    site.same("shop.t1").await;
    worker.stop().await;

    // A certificate without its key is no reason to go on without either.
    if let Some(security) = &mut config.to.security {
        security.ssl_key_base64.clear();
    }
    config.to.user = dm_testkit::mariadb::USER.to_owned();
    config.to.password = site.down.password().into();
    let worker = site.run(&config).await;
    worker.await_stage(pb::Stage::Paused).await;
    let error = &worker.errors()[0];
    assert!(
        error.raw_cause.contains("code=48003")
            && error
                .raw_cause
                .contains("there is an ssl-cert and no ssl-key"),
        "{error:?}"
    );
    worker.stop().await;
}
