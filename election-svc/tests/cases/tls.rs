//! A cluster in which everything speaks TLS: a real etcd, doors, and the leader that they route to.

use std::path::{Path, PathBuf};

use dm_keyspace::Role;
use dm_proto::etcdserverpb::kv_client::KvClient;
use dm_proto::etcdserverpb::{PutRequest, RangeRequest};
use dm_proto::member::DescribeRequest;
use dm_proto::member::member_client::MemberClient;
use dm_proto::pb;
use dm_proto::pb::master_client::MasterClient;
use dm_testkit::etcd::{self, RealEtcd};
use prost::Message;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::support::stub::Stub;
use crate::support::{Plan, Running, until};

fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/service/tests/pem")
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

fn plan(name: &str, etcd: &RealEtcd) -> Plan {
    let file = |name: &str| pem(name).to_str().unwrap().to_owned();
    Plan::new(name, &etcd.endpoint())
        .arg("--ssl-ca", &file("ca.pem"))
        .arg("--ssl-cert", &file("dm.pem"))
        .arg("--ssl-key", &file("dm.key"))
}

fn channel(service: &Running) -> Channel {
    let read = |name: &str| std::fs::read(pem(name)).unwrap();
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read("ca.pem")))
        .identity(Identity::from_pem(read("dm.pem"), read("dm.key")));
    Endpoint::from_shared(format!("https://{}", service.addr))
        .unwrap()
        .tls_config(tls)
        .unwrap()
        .connect_lazy()
}

/// Waits until this is so of what a replica says of itself.
async fn describes(
    service: &Running,
    what: &str,
    is_so: impl Fn(&dm_proto::member::DescribeResponse) -> bool,
) {
    until(&format!("{}: {what}", service.name), async || {
        let mut member = MemberClient::new(channel(service));
        let said = member.describe(DescribeRequest {}).await;
        said.is_ok_and(|said| is_so(said.get_ref()))
    })
    .await;
}

/// The scheduler's answer, recognisable.
fn scheduler() -> Stub {
    Stub::new(|_| {
        Ok(pb::StartTaskResponse {
            result: true,
            msg: "served under TLS".to_owned(),
            ..Default::default()
        }
        .encode_to_vec())
    })
}

#[tokio::test]
async fn doors_pass_etcd_through_and_route_and_standbys_forward_under_tls() {
    let etcd = etcd().await;
    let door = plan("door-1", &etcd).door().await;
    describes(&door, "leads", |said| said.is_leader).await;
    let leader = scheduler()
        .start(Role::Scheduler, &plan("scheduler-1", &etcd))
        .await;
    describes(&leader, "leads", |said| said.is_leader).await;
    let standby = Stub::saying("the standby itself")
        .start(Role::Scheduler, &plan("scheduler-2", &etcd))
        .await;
    describes(&standby, "follows", |said| {
        said.position == 2
            && said
                .leader
                .as_ref()
                .is_some_and(|l| l.name == "scheduler-1")
    })
    .await;

    let mut kv = KvClient::new(channel(&door));
    let put = PutRequest {
        key: b"/dm-worker/r/w".to_vec(),
        value: b"{}".to_vec(),
        ..Default::default()
    };
    kv.put(put).await.unwrap();
    let range = RangeRequest {
        key: b"/dm-worker/r/w".to_vec(),
        ..Default::default()
    };
    let read = kv.range(range).await.unwrap().into_inner();
    assert_eq!(read.kvs[0].value, b"{}");

    let mut master = MasterClient::new(channel(&door));
    let routed = master.start_task(pb::StartTaskRequest::default()).await;
    let routed = routed.unwrap();
    assert!(routed.metadata().contains_key("dm-revision"));
    assert_eq!(routed.into_inner().msg, "served under TLS");
    let mut native = dm_proto::scheduler::scheduler_client::SchedulerClient::new(channel(&standby));
    let forwarded = native.start_task(pb::StartTaskRequest::default()).await;
    assert_eq!(forwarded.unwrap().into_inner().msg, "served under TLS");

    let listed = master.list_member(pb::ListMemberRequest::default()).await;
    let text = format!("{:?}", listed.unwrap().into_inner());
    assert!(text.contains(&format!("https://{}", door.addr)), "{text}");
}
