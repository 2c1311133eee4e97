//! Case 26, and members as JSON.

use serde_json::{Value, json};

use crate::support::{acts, doors, leaderless, leads, one_door, page};

async fn ask(addr: &str, method: &str, path: &str) -> (u16, Value) {
    let (code, text) = page(addr, method, &format!("/apis/v1alpha1/{path}"), "{}").await;
    let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e} in {text}"));
    (code, value)
}

#[tokio::test]
async fn case_26_leader_is_evicted_and_brought_back_over_http() {
    let (_etcd, door) = one_door().await;
    let done = json!({"result": true, "msg": ""});
    assert_eq!(
        ask(&door.addr, "PUT", "leader/1").await,
        (200, done.clone())
    );
    leaderless(&door, "election").await;
    assert_eq!(
        ask(&door.addr, "PUT", "leader/2").await,
        (200, done.clone())
    );
    leads(&door, "election", "door-1").await;
    assert_eq!(
        ask(&door.addr, "PUT", "leader/EvictLeaderOp").await,
        (200, done)
    );
    leaderless(&door, "election").await;
    let (code, refusal) = ask(&door.addr, "PUT", "leader/7").await;
    assert_eq!((code, &refusal["result"]), (200, &json!(false)));
    let (code, refusal) = ask(&door.addr, "PUT", "leader/evict").await;
    assert_eq!((code, &refusal["code"]), (400, &json!(3)));
}

#[tokio::test]
async fn members_are_listed_and_refused_to_go_over_http() {
    let (_etcd, [first, second]) = doors().await;
    let (code, listed) = ask(
        &second.addr,
        "GET",
        "members?leader=true&master=true&names=door-1",
    )
    .await;
    assert_eq!(code, 200);
    assert_eq!(listed["members"][0]["leader"]["addr"], json!(first.addr));
    assert_eq!(
        listed["members"][1]["master"]["masters"][0]["name"],
        json!("door-1")
    );
    assert!(listed["members"][1]["master"]["masters"][0]["memberID"].is_string());
    assert!(listed["members"][2].is_null());
    let (code, refusal) = ask(&second.addr, "DELETE", "members/master/nobody").await;
    assert_eq!((code, &refusal["result"]), (200, &json!(false)));
    let message = refusal["msg"].as_str().unwrap();
    assert!(message.starts_with("[code=38048:"), "{message}");
    acts(&first, true).await;
}
