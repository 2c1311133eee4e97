//! Cases 34 to 37 and 41 to 44: the cluster's id, its version, and keys of the old layout.

use dm_proto::election::{GetClusterRequest, GetClusterResponse};
use dm_testkit::memory::MemoryEtcd;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::support::{Plan, Running, acts, elections, line_has, page, until};

const ID: &str = "/dm-cluster/id";
const VERSION: &str = "/dm-cluster/version";

async fn cluster(door: &Running) -> Result<GetClusterResponse, Status> {
    let answer = elections(door).get_cluster(GetClusterRequest {}).await?;
    Ok(answer.into_inner())
}

async fn start(etcd: &MemoryEtcd, name: &str) -> Running {
    Plan::new(name, &etcd.endpoint()).door().await
}

/// Waits until the cluster has come up: version 4 and an id.
async fn is_up(door: &Running) -> GetClusterResponse {
    until("the cluster has an id and version 4", async || {
        cluster(door).await.is_ok_and(|c| c.version == "4")
    })
    .await;
    cluster(door).await.unwrap()
}

fn version(etcd: &MemoryEtcd) -> Value {
    let kv = etcd.dump(VERSION);
    kv.first()
        .map_or(Value::Null, |kv| serde_json::from_slice(&kv.value).unwrap())
}

#[tokio::test]
async fn case_36_cluster_id_is_made_once_and_is_the_same_for_all_later_leaders() {
    let etcd = MemoryEtcd::start().await.unwrap();
    // Neither has an id in sight when it starts, and each has one ready.
    let (first, second) = tokio::join!(start(&etcd, "door-1"), start(&etcd, "door-2"));
    let id = is_up(&first).await.cluster_id;
    assert_eq!(is_up(&second).await.cluster_id, id);
    line_has(&etcd, "election", 2).await;
    let record = etcd.dump(ID);
    assert_eq!(
        (record[0].value.as_slice(), record[0].version),
        (id.to_be_bytes().as_slice(), 1)
    );
    first.stop().await;
    acts(&second, true).await;
    assert_eq!(is_up(&second).await.cluster_id, id);
    assert_eq!(etcd.dump(ID), record);
}

#[tokio::test]
async fn case_34_37_cluster_id_of_a_wrong_length_is_told_as_38057_and_costs_nothing_else() {
    let etcd = MemoryEtcd::start().await.unwrap();
    etcd.put(ID, "seven b");
    let (first, second) = tokio::join!(start(&etcd, "door-1"), start(&etcd, "door-2"));
    line_has(&etcd, "election", 2).await;
    for door in [&first, &second] {
        until("the refusal names the code", async || {
            cluster(door).await.is_err_and(|refusal| {
                refusal.code() == Code::FailedPrecondition
                    && refusal.message().starts_with("[code=38057:")
            })
        })
        .await;
        until("the status page shows the record", async || {
            page(&door.addr, "GET", "/status", "")
                .await
                .1
                .contains("the value has 7 bytes, want 8")
        })
        .await;
    }
    // Nobody repairs it, nobody resigns over it, and the other records are written.
    until("the version is there", async || {
        version(&etcd)["internal-no"] == json!(4)
    })
    .await;
    assert_eq!(etcd.dump(ID)[0].value, b"seven b");
    let terms = async |door: &Running| {
        let (_, status) = page(&door.addr, "GET", "/status", "").await;
        let status: Value = serde_json::from_str(&status).unwrap();
        status["state"]["loop"]["terms"].as_u64().unwrap()
    };
    assert_eq!(terms(&first).await + terms(&second).await, 1);
    // Taken away by hand, it is made anew.
    etcd.delete(ID);
    is_up(&first).await;
}

#[tokio::test]
async fn case_41_empty_cluster_gets_version_4_and_a_second_start_writes_nothing() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let first = start(&etcd, "door-1").await;
    is_up(&first).await;
    let records = etcd.dump("/dm-cluster/");
    assert_eq!(version(&etcd)["internal-no"], json!(4));
    first.stop().await;
    let second = start(&etcd, "door-1").await;
    acts(&second, true).await;
    is_up(&second).await;
    assert_eq!(etcd.dump("/dm-cluster/"), records);
}

#[tokio::test]
async fn case_42_older_version_is_raised_once_and_a_newer_one_is_left_alone() {
    for (before, after, writes) in [(0, 4, 2), (2, 4, 2), (4, 4, 1), (9, 9, 1)] {
        let etcd = MemoryEtcd::start().await.unwrap();
        let record = json!({"internal-no": before, "release-ver": "v1"});
        etcd.put(VERSION, record.to_string());
        let door = start(&etcd, "door-1").await;
        until("the cluster has come up", async || {
            etcd.dump(ID).len() == 1 && version(&etcd)["internal-no"] == json!(after)
        })
        .await;
        acts(&door, true).await;
        assert_eq!(etcd.dump(VERSION)[0].version, writes, "from {before}");
    }
}

/// The present key of a source, as the old layout's plain name becomes it.
fn moved(family: &str, source: &str) -> String {
    let hex: String = source.bytes().map(|b| format!("{b:02x}")).collect();
    format!("/dm-master/v2/{family}/{hex}")
}

#[tokio::test]
async fn case_43_old_keys_move_to_their_place_and_newer_records_win() {
    let etcd = MemoryEtcd::start().await.unwrap();
    etcd.put("/dm-master/upstream/config/one", "source-id: one");
    etcd.put("/dm-master/upstream/config/two", "old");
    etcd.put(
        "/dm-master/stage/relay/one",
        r#"{"expect":2,"source":"one"}"#,
    );
    let config = |source| moved("upstream/config", source);
    etcd.put(config("two"), "new");
    let door = start(&etcd, "door-1").await;
    is_up(&door).await;
    assert!(etcd.dump("/dm-master/upstream/config/").is_empty());
    assert!(etcd.dump("/dm-master/stage/relay/").is_empty());
    assert_eq!(etcd.dump(&config("one"))[0].value, b"source-id: one");
    assert_eq!(etcd.dump(&config("two"))[0].value, b"new");
    assert_eq!(
        etcd.dump(&moved("stage/relay", "one"))[0].value,
        br#"{"expect":2,"source":"one"}"#
    );
}

#[tokio::test]
async fn case_35_44_more_old_keys_than_a_transaction_holds_move_in_parts_across_leaders() {
    let etcd = MemoryEtcd::start().await.unwrap();
    for n in 0..500 {
        etcd.put(
            format!("/dm-master/upstream/config/source-{n:03}"),
            format!("{n}"),
        );
    }
    let first = start(&etcd, "door-1").await;
    let second = start(&etcd, "door-2").await;
    until("the move has begun", async || {
        etcd.dump("/dm-master/upstream/config/").len() < 500
    })
    .await;
    first.kill().await;
    is_up(&second).await;
    assert!(etcd.dump("/dm-master/upstream/config/").is_empty());
    for n in 0..500 {
        let key = moved("upstream/config", &format!("source-{n:03}"));
        let record = &etcd.dump(&key)[0];
        assert_eq!(
            (record.value.as_slice(), record.version),
            (n.to_string().as_bytes(), 1)
        );
    }
}
