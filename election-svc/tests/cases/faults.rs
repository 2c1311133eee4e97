//! A value that cannot be used, under whatever key, is named and counted, and costs nothing else.

use dm_keyspace::{EvictionKey, LightningKey, Role, TaskCliArgsKey, TaskTemplateKey};

use crate::support::{acts, one_door, page, until};

#[tokio::test]
async fn unusable_values_are_named_on_the_status_page_and_counted() {
    let (etcd, door) = one_door().await;
    let keys = [
        TaskCliArgsKey {
            task: "t".into(),
            source: "s".into(),
        }
        .encode(),
        LightningKey {
            task: "t".into(),
            source: "s".into(),
        }
        .encode(),
        TaskTemplateKey { task: "t".into() }.encode(),
        EvictionKey {
            role: Role::Scheduler,
            name: "x".into(),
        }
        .encode(),
        "/dm-master/leader/election/0000000000000001".to_owned(),
    ];
    for key in &keys {
        etcd.put(key.clone(), "no {JSON");
    }
    let counted = async |faults: usize| {
        until(&format!("{faults} faults are counted"), async || {
            let (_, metrics) = page(&door.addr, "GET", "/metrics", "").await;
            metrics.lines().any(|l| l == format!("dm_faults {faults}"))
        })
        .await;
    };
    counted(keys.len()).await;
    let (_, status) = page(&door.addr, "GET", "/status", "").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let faults = status["state"]["machine"]["faults"].as_array().unwrap();
    for key in &keys {
        assert!(
            faults.iter().any(|fault| fault["key"] == key.as_str()),
            "{key}: {faults:?}"
        );
    }
    for key in keys {
        etcd.delete(key);
    }
    counted(0).await;
    acts(&door, true).await;
}
