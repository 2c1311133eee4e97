//! A real etcd that speaks TLS and wants to see a certificate.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_store::{Error, Event, FeedItem, KeyRange, Options, Store, TlsFiles};
use dm_testkit::etcd::{self, RealEtcd};

const LIMIT: Duration = Duration::from_secs(20);

fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../service/tests/pem")
        .join(name)
}

async fn etcd() -> RealEtcd {
    let tls = etcd::Tls {
        ca: pem("ca.pem"),
        cert: pem("dm.pem"),
        key: pem("dm.key"),
    };
    let options = etcd::Options {
        tls: Some(tls),
        ..etcd::Options::default()
    };
    RealEtcd::start_temp_with(options).await.unwrap()
}

fn options(etcd: &RealEtcd, tls: Option<TlsFiles>) -> Options {
    Options {
        endpoints: vec![etcd.endpoint()],
        tls,
        call_timeout: Duration::from_secs(5),
        ..Options::default()
    }
}

fn ours() -> TlsFiles {
    TlsFiles {
        ca: pem("ca.pem"),
        cert: pem("dm.pem"),
        key: pem("dm.key"),
    }
}

#[tokio::test]
async fn all_that_a_store_does_goes_over_tls() {
    let mut etcd = etcd().await;
    let store = Store::connect(&options(&etcd, Some(ours()))).await.unwrap();
    let range = KeyRange::prefix("/dm-test/");
    let mut feed = store.feed(range.clone());
    let loaded = tokio::time::timeout(LIMIT, feed.next()).await.unwrap();
    assert!(matches!(loaded, FeedItem::Reset(snapshot) if snapshot.entries.is_empty()));
    let lease = store.grant(Duration::from_secs(10)).await.unwrap();
    store.put("/dm-test/a", "1", Some(lease.id)).await.unwrap();
    let item = tokio::time::timeout(LIMIT, feed.next()).await.unwrap();
    assert!(
        matches!(item, FeedItem::Batch(batch) if matches!(&batch.events[..], [Event::Put(kv)] if kv.value == "1"))
    );
    store.keep_alive_once(lease.id).await.unwrap();
    assert_eq!(store.snapshot(&range).await.unwrap().entries.len(), 1);
    // The connections come back by themselves, handshake and all.
    etcd.restart().await.unwrap();
    store.put("/dm-test/b", "2", None).await.unwrap();
    let keys = async {
        loop {
            let seen = match feed.next().await {
                FeedItem::Reset(snapshot) => {
                    snapshot.entries.iter().any(|kv| kv.key == "/dm-test/b")
                }
                FeedItem::Batch(batch) => batch.events.iter().any(|e| e.key() == "/dm-test/b"),
            };
            if seen {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, keys).await.unwrap();
    store.revoke(lease.id).await.unwrap();
}

#[tokio::test]
async fn who_shows_no_certificate_is_not_served_and_learns_that_etcd_is_not_available() {
    let etcd = etcd().await;
    let plain = Options {
        endpoints: vec![etcd.endpoint().replace("https", "http")],
        ..options(&etcd, None)
    };
    let store = Store::connect(&plain).await.unwrap();
    let refused = store.get("/dm-test/a").await;
    assert!(
        matches!(
            refused,
            Err(Error::Unavailable { .. } | Error::Timeout { .. })
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn file_that_is_not_there_is_named() {
    let etcd = etcd().await;
    let tls = TlsFiles {
        key: pem("no-such.key"),
        ..ours()
    };
    let refused = Store::connect(&options(&etcd, Some(tls)))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("no-such.key"), "{refused}");
}
