//! One replica of the service, called as its clients call it, and what workers write.

use std::time::Duration;

use dm_keyspace::OpaqueJson;
use dm_keyspace::optimism::{ConflictStage, Info, Operation, OperationKey};
use dm_proto::optimist::optimist_client::OptimistClient;
use dm_proto::pb;
use dm_schema::Options;
use dm_schema::create_table::{Defaults, read_create_table};
use dm_testkit::memory::MemoryEtcd;
use dm_testkit::wait_for;
use optimist_svc::settings::Limits;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A replica with further flags, its client, and what ends it.
pub(crate) async fn start(
    etcd: &MemoryEtcd,
    flags: &[&str],
) -> (OptimistClient<Channel>, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let endpoint = etcd.endpoint();
    let args = ["optimist-svc", "--etcd-endpoints", &endpoint];
    let args = args.iter().chain(flags).map(|arg| (*arg).into());
    let settings = dm_service::config::load::<Limits>("optimist-svc", 0, args, |_| None).unwrap();
    let stop = CancellationToken::new();
    let until = stop.clone().cancelled_owned();
    tokio::spawn(async move {
        dm_service::run(
            "optimist-svc",
            settings,
            listener,
            until,
            optimist_svc::serve,
        )
        .await
        .unwrap();
    });
    let answer = || async {
        let mut client = OptimistClient::connect(url.clone()).await.ok()?;
        client
            .show_ddl_locks(pb::ShowDdlLocksRequest::default())
            .await
            .ok()?;
        Some(client)
    };
    (
        wait_for(LIMIT, "an answer of the optimist", answer)
            .await
            .unwrap(),
        stop.drop_guard(),
    )
}

/// A structure as workers write it.
pub(crate) fn json(create: &str) -> String {
    let info = read_create_table(create, &Options::default(), &Defaults::default());
    info.unwrap().to_json()
}

/// An info of one source's table `foo`.`bar`, whose schema was and is as given.
pub(crate) fn info(source: &str, ddl: &str, before: &str, after: &str) -> Info {
    let json = |create: &str| OpaqueJson::parse(&json(create)).unwrap();
    Info {
        task: "t1".into(),
        source: source.into(),
        up_schema: "foo".to_owned(),
        up_table: "bar".to_owned(),
        down_schema: "foo".to_owned(),
        down_table: "bar".to_owned(),
        ddls: Some(vec![ddl.to_owned()]),
        table_info_before: Some(json(before)),
        table_info_after: Some(vec![json(after)]),
        ..Info::default()
    }
}

pub(crate) fn put_info(etcd: &MemoryEtcd, info: &Info) {
    etcd.put(info.key().encode(), info.to_bytes());
}

pub(crate) async fn operation_of(
    etcd: &MemoryEtcd,
    source: &str,
    stage: ConflictStage,
) -> Operation {
    let find = || async {
        let operations = etcd.dump(OperationKey::PREFIX);
        let mut operations = operations
            .iter()
            .map(|kv| Operation::from_bytes(&kv.value).unwrap());
        operations.find(|o| o.source.as_str() == source && o.conflict_stage == stage)
    };
    wait_for(LIMIT, "an operation of the stage", find)
        .await
        .unwrap()
}
