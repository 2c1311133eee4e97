//! A record that cannot be read.

use dm_keyspace::SourceConfigKey;
use dm_testkit::{pages, wait_until};

use crate::kit::{Cluster, LIMIT};

#[tokio::test]
async fn record_that_cannot_be_read_is_named_on_the_status_page_and_counted() {
    let cluster = Cluster::start().await;
    let etcd = &cluster.etcd;
    let key = SourceConfigKey {
        source: "s1".into(),
    }
    .encode();
    etcd.put(key.clone(), "no {record");
    for (path, words) in [("/metrics", "\ndm_faults 1\n"), ("/status", key.as_str())] {
        wait_until(LIMIT, &format!("{path} tells of it"), || {
            pages::says(etcd, "scheduler", path, std::slice::from_ref(&words))
        })
        .await
        .unwrap();
    }
    etcd.delete(key);
    wait_until(LIMIT, "it is gone", || {
        pages::says(etcd, "scheduler", "/metrics", &["\ndm_faults 0\n"])
    })
    .await
    .unwrap();
}
