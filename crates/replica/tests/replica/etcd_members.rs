//! An etcd of three members, one of which keeps silent: whichever it is, the replicas go on.

use std::time::Duration;

use dm_store::{Options, Store};
use dm_testkit::etcd::{self, RealEtcd};
use dm_testkit::wait_until;

use crate::common::{ANSWER, ASK, Running};
use crate::{Alive, LIMIT};

#[tokio::test]
async fn any_member_of_etcd_may_freeze() {
    let mut cluster = RealEtcd::start_cluster(3, &etcd::Options::default())
        .await
        .unwrap();
    let all: Vec<String> = cluster.iter().map(RealEtcd::endpoint).collect();
    let all = all.join(",");
    let (x, y) = (Alive::new(), Alive::new());
    let first = Running::start(&all, "a", &x.addr()).await;
    let second = Running::start(&all, "b", &y.addr()).await;
    let options = Options {
        endpoints: all.split(',').map(str::to_owned).collect(),
        call_timeout: Duration::from_secs(2),
        ..Options::default()
    };
    let store = Store::connect(&options).await.unwrap();
    for (number, member) in cluster.iter_mut().enumerate() {
        member.process().pause().unwrap();
        // A client does not know whether a put that got no answer was made; this one may be made twice.
        let name = number.to_string();
        let asked = async || store.put(format!("{ASK}{name}"), "x", None).await.is_ok();
        wait_until(LIMIT, "etcd takes a put", asked).await.unwrap();
        let answered = async || {
            let answer = store.get(format!("{ANSWER}{name}")).await;
            answer.is_ok_and(|kv| kv.is_some_and(|kv| kv.value == "x"))
        };
        wait_until(LIMIT, "whoever leads answers", answered)
            .await
            .unwrap();
        member.process().resume().unwrap();
    }
    first.stop().await;
    second.stop().await;
}
