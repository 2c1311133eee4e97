//! Which master is called, and what is said when there is none.

use dm_proto::pb;
use tokio::net::TcpListener;
use tonic::Status;

use crate::server::{Master, pem, run, run_in};

async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

fn no_members() -> pb::ListMemberResponse {
    pb::ListMemberResponse {
        result: true,
        ..Default::default()
    }
}

#[tokio::test]
async fn the_first_address_that_connects_is_used() {
    let (dead, master) = (nobody().await, Master::start().await);
    master.answers("ListMember", &no_members());
    let list = format!("{dead},http://{}", master.addr);
    let ended = run(&["list-member", "--master-addr", &list], "").await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    master.only_call();
}

#[tokio::test]
async fn addresses_come_from_the_environment_or_the_file() {
    let master = Master::start().await;
    master.answers("ListMember", &no_members());
    let addr = master.addr.clone();
    let env = move |name: &str| (name == "DM_MASTER_ADDR").then(|| addr.clone());
    assert_eq!(run_in(&["list-member"], "", env).await.code, 0);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dmctl.toml");
    std::fs::write(&path, format!("master-addr = \"{}\"\n", master.addr)).unwrap();
    let config = path.to_str().unwrap();
    assert_eq!(run(&["list-member", "--config", config], "").await.code, 0);
    assert_eq!(master.calls().len(), 2);

    std::fs::write(&path, "master-adr = \"a:1\"\n").unwrap();
    let ended = run(&["list-member", "--config", config], "").await;
    assert_eq!(ended.code, 1);
    assert!(ended.err.starts_with(
        "Error: the current command parameter: --config is invalid or used incorrectly: "
    ));
    assert!(
        ended.err.contains("master-adr") && ended.err.contains("line 1"),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn without_an_address_the_flag_and_the_variable_are_named() {
    let ended = run(&["list-member"], "").await;
    assert_eq!(ended.code, 1);
    assert_eq!(
        ended.err,
        "Error: --master-addr not provided, this parameter is required when interacting with the dm-master, you can also use environment variable 'DM_MASTER_ADDR' to specify the value. Use `dmctl --help` to see more help messages\n"
    );
}

#[tokio::test]
async fn nobody_at_any_address_is_48001() {
    let list = format!("{},{}", nobody().await, nobody().await);
    let ended = run(&["list-member", "--master-addr", &list], "").await;
    assert_eq!(ended.code, 1);
    let start = format!(
        "Error: [code=48001:class=dmctl:scope=internal:level=high], Message: can't connect to {list}, RawCause: "
    );
    assert!(ended.err.starts_with(&start), "{}", ended.err);
}

#[tokio::test]
async fn wrong_tls_files_are_48002() {
    let args = ["--master-addr", "127.0.0.1:1", "list-member"];
    let start = "Error: [code=48002:class=dmctl:scope=internal:level=medium], Message: invalid TLS config, RawCause: ";
    for (flags, cause) in [
        (&["--ssl-ca", "/no/such.pem"][..], "ssl-ca /no/such.pem: "),
        (
            &["--ssl-cert", "/dev/null"],
            "ssl-cert is given without ssl-key",
        ),
        (
            &["--ssl-cert", "/dev/null", "--ssl-key", "/dev/null"],
            "ssl-cert and ssl-key are given without ssl-ca",
        ),
    ] {
        let ended = run(&[&args[..], flags].concat(), "").await;
        assert_eq!(ended.code, 1);
        assert!(
            ended.err.starts_with(&format!("{start}{cause}")),
            "{}",
            ended.err
        );
    }
}

#[tokio::test]
async fn a_master_that_is_unavailable_is_asked_once_more() {
    let master = Master::start().await;
    let path = "/pb.Master/ListMember";
    master.answer(path, Err(Status::unavailable("no leader")));
    master.answers("ListMember", &no_members());
    assert_eq!(master.run(&["list-member"]).await.code, 0);
    assert_eq!(master.calls().len(), 2);
}

#[tokio::test]
async fn a_second_refusal_and_other_codes_end_the_command() {
    let master = Master::start().await;
    let path = "/pb.Master/ListMember";
    master.answer(path, Err(Status::unavailable("no leader")));
    let ended = master.run(&["list-member"]).await;
    assert_eq!(
        ended.err,
        "Error: rpc error: code = Unavailable desc = no leader\n"
    );
    assert_eq!(master.calls().len(), 2);

    let master = Master::start().await;
    master.answer(path, Err(Status::unknown("broken")));
    assert_eq!(master.run(&["list-member"]).await.code, 1);
    assert_eq!(master.calls().len(), 1);
}

#[tokio::test]
async fn reading_calls_carry_the_limit() {
    let master = Master::start().await;
    master.answers("QueryStatus", &pb::QueryStatusListResponse::default());
    master.run(&["query-status", "--rpc-timeout", "90s"]).await;
    let headers = master.only_call().headers;
    assert_eq!(headers["grpc-timeout"], "90000000u");
}

#[tokio::test]
async fn a_master_that_went_away_is_replaced_by_the_next() {
    let (first, second) = (Master::start().await, Master::start().await);
    first.answers("ListMember", &no_members());
    first.answer("/pb.Master/ListMember", Err(Status::unavailable("going")));
    second.answers("ListMember", &no_members());
    let targets = format!("{},{}", first.addr, second.addr);
    let targets = dmctl::connection::Targets::new(&targets, None).unwrap();
    let connection = dmctl::connection::Connection::open(targets).await.unwrap();
    let list = async || {
        let request = pb::ListMemberRequest::default();
        connection
            .call(request, None, |channel, request| async {
                dmctl::connection::master(channel)
                    .list_member(request)
                    .await
            })
            .await
    };
    list().await.unwrap();
    // On its way down it still answers, but takes no new connection.
    first.stop_listening().await;
    list().await.unwrap();
    assert_eq!(second.calls().len(), 1);
}

#[tokio::test]
async fn tls_is_on_with_the_files_of_the_flags() {
    let master = Master::start_with_tls().await;
    master.answers("ListMember", &no_members());
    let [ca, cert, key] = ["ca.pem", "dm.pem", "dm.key"].map(pem);
    let files = ["--ssl-ca", &ca, "--ssl-cert", &cert, "--ssl-key", &key];
    let ended = master.run(&[&["list-member"][..], &files].concat()).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    master.only_call();

    let ended = master.run(&["list-member"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    master.only_call();
}

#[tokio::test]
async fn keys_are_not_shown() {
    let tls = tonic::transport::ClientTlsConfig::new().identity(
        tonic::transport::Identity::from_pem("certificate", "private key"),
    );
    let targets = dmctl::connection::Targets::new("a:1", Some(tls)).unwrap();
    assert_eq!(
        format!("{targets:?}"),
        "Targets { addresses: [\"a:1\"], tls: true }"
    );
}
