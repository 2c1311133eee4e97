//! config, get-config, get-task-config, encrypt.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use dm_keyspace::{RelayWorkerKey, WorkerName};
use dm_proto::{etcdserverpb, mvccpb, pb};
use prost::Message;
use tonic::Status;

use crate::server::{Files, Master, done};

fn config(text: &str) -> pb::GetCfgResponse {
    pb::GetCfgResponse {
        result: true,
        msg: String::new(),
        cfg: text.into(),
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn configurations_are_shown_by_kind_and_name() {
    let master = Master::start().await;
    master.answers("GetCfg", &config("name: t\n"));
    for (args, kind) in [
        (&["config", "task", "n"][..], pb::CfgType::TaskType),
        (&["config", "source", "n"], pb::CfgType::SourceType),
        (&["config", "master", "n"], pb::CfgType::MasterType),
        (&["config", "worker", "n"], pb::CfgType::WorkerType),
        (
            &["config", "task-template", "n"],
            pb::CfgType::TaskTemplateType,
        ),
        (&["get-config", "task", "n"], pb::CfgType::TaskType),
        (&["get-config", "source", "n"], pb::CfgType::SourceType),
        (&["get-config", "master", "n"], pb::CfgType::MasterType),
        (&["get-config", "worker", "n"], pb::CfgType::WorkerType),
        (&["get-task-config", "n"], pb::CfgType::TaskType),
    ] {
        let ended = master.run(args).await;
        let wanted =
            "{\n    \"result\": true,\n    \"msg\": \"\",\n    \"cfg\": \"name: t\\n\"\n}\n";
        assert_eq!((ended.code, ended.out.as_str()), (0, wanted), "{args:?}");
        let call = master.calls().pop().unwrap();
        let sent: pb::GetCfgRequest = call.message();
        assert_eq!((sent.r#type(), sent.name.as_str()), (kind, "n"), "{args:?}");
        assert!(call.headers.contains_key("grpc-timeout"));
    }
}

#[tokio::test]
async fn a_configuration_is_written_to_a_file_that_nobody_else_reads() {
    let (master, files) = (Master::start().await, Files::new());
    master.answers("GetCfg", &config("name: t\n"));
    let path = files.with("t.yaml", "something longer before");
    for args in [
        ["config", "task", "t", "-p", &path],
        ["get-config", "task", "t", "--file", &path],
    ] {
        let ended = master.run(&args).await;
        let wanted = format!(
            "{{\n    \"result\": true,\n    \"msg\": \"write config to file {path} succeed\",\n    \"cfg\": \"\"\n}}\n"
        );
        assert_eq!((ended.code, ended.out), (0, wanted));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "name: t\n");
        assert_eq!(mode(Path::new(&path)), 0o600);
    }
}

#[tokio::test]
async fn a_configuration_that_is_not_found_is_not_written() {
    let (master, files) = (Master::start().await, Files::new());
    let missing = pb::GetCfgResponse {
        msg: "task not found".into(),
        ..Default::default()
    };
    master.answers("GetCfg", &missing);
    let path = files.with("t.yaml", "before");
    let args = ["--strict", "config", "task", "t", "--path", &path];
    let ended = master.run(&args).await;
    assert_eq!(ended.code, 3);
    assert!(ended.out.contains("task not found"), "{}", ended.out);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
}

#[tokio::test]
async fn a_refused_question_is_told_beside_its_error() {
    let master = Master::start().await;
    master.answer("/pb.Master/GetCfg", Err(Status::unknown("no")));
    let ended = master.run(&["config", "source", "a"]).await;
    assert_eq!(ended.code, 1);
    assert_eq!(ended.out, "can not get SourceType config of a\n");
}

#[tokio::test]
async fn wrong_arguments_are_answered_as_dm_answers_them() {
    let master = Master::start().await;
    for args in [
        &["config"][..],
        &["config", "task"],
        &["config", "worker", "a", "b"],
        &["encrypt"],
    ] {
        let ended = master.run(args).await;
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{args:?}");
        assert!(ended.out.contains("\nUsage:\n  dmctl "), "{}", ended.out);
    }
    for (args, text) in [
        (
            &["get-config", "task"][..],
            "please check output to see error",
        ),
        (&["get-task-config"], "please check output to see error"),
        (
            &["config", "export", "x"],
            "please check output to see error",
        ),
        (
            &["get-config", "thing", "n"],
            "invalid config type 'thing', expected task, master, worker or source",
        ),
        (
            &["config", "task", "update"],
            "this function will be supported later",
        ),
        (
            &["config", "source", "update", "x"],
            "this function will be supported later",
        ),
        (
            &["config", "import", "-p", "/no/such"],
            "config directory `/no/such` not exists",
        ),
    ] {
        let ended = master.run(args).await;
        let wanted = format!("Error: {text}\n");
        assert_eq!((ended.code, ended.err), (1, wanted), "{args:?}");
    }
    assert!(master.calls().is_empty());
}

#[tokio::test]
async fn only_the_ciphertext_is_printed() {
    let master = Master::start().await;
    let good = pb::EncryptResponse {
        result: true,
        ciphertext: "aXY=@Y2lwaGVy".into(),
        ..Default::default()
    };
    let bad = pb::EncryptResponse {
        msg: "no secret key".into(),
        ..Default::default()
    };
    master.answers("Encrypt", &good);
    master.answers("Encrypt", &bad);
    let ended = master.run(&["encrypt", "123456"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "aXY=@Y2lwaGVy\n"));
    let sent: pb::EncryptRequest = master.only_call().message();
    assert_eq!(sent.plaintext, "123456");
    let ended = master.run(&["encrypt", "123456"]).await;
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (1, "Error: no secret key\n")
    );
}

/// What etcd holds of workers that relay by name.
fn relay_workers(of: &[(&str, &str)]) -> Vec<u8> {
    let kv = |(worker, source): &(&str, &str)| mvccpb::KeyValue {
        key: RelayWorkerKey {
            worker: WorkerName::from(*worker),
        }
        .encode()
        .into_bytes(),
        value: source.as_bytes().to_vec(),
        ..Default::default()
    };
    let answer = etcdserverpb::RangeResponse {
        kvs: of.iter().map(kv).collect(),
        ..Default::default()
    };
    answer.encode_to_vec()
}

fn listing(master: &Master) {
    let configs = |of: &[(&str, &str)]| {
        let own = of.iter().map(|&(name, text)| (name.into(), text.into()));
        own.collect()
    };
    let sources = pb::ListSourceConfigsResponse {
        result: true,
        source_configs: configs(&[("mysql-a", "source-id: mysql-a\n"), ("mysql-b", "b")]),
        ..Default::default()
    };
    let tasks = pb::ListTaskConfigsResponse {
        result: true,
        task_configs: configs(&[("orders", "name: orders\n")]),
        ..Default::default()
    };
    master.answers("ListSourceConfigs", &sources);
    master.answers("ListTaskConfigs", &tasks);
}

const RANGE: &str = "/etcdserverpb.KV/Range";

#[tokio::test]
async fn what_is_exported_can_be_imported() {
    let (master, dir) = (Master::start().await, tempfile::tempdir().unwrap());
    listing(&master);
    let named = [("w2", "mysql-a"), ("w1", "mysql-a"), ("w3", "mysql-b")];
    master.answer(RANGE, Ok(relay_workers(&named)));
    let root = dir.path().join("deep/configs");
    let path = root.to_str().unwrap();
    let ended = master.run(&["config", "export", "-p", path]).await;
    let wanted = format!("export configs to directory `{path}` succeed\n");
    assert_eq!((ended.code, ended.out), (0, wanted), "{}", ended.err);
    for (name, text) in [
        ("sources/mysql-a.yaml", "source-id: mysql-a\n"),
        ("sources/mysql-b.yaml", "b"),
        ("tasks/orders.yaml", "name: orders\n"),
        (
            "relay_workers.json",
            r#"{"mysql-a":["w1","w2"],"mysql-b":["w3"]}"#,
        ),
    ] {
        let file = root.join(name);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        assert_eq!(mode(&file), 0o600, "{name}");
    }
    assert_eq!(mode(&root.join("sources")), 0o700);

    let created = pb::OperateSourceResponse {
        result: true,
        sources: vec![done("mysql-a", "w1")],
        ..Default::default()
    };
    let exists = pb::OperateSourceResponse {
        msg: "source config with ID mysql-b already exists".into(),
        ..Default::default()
    };
    let started = pb::StartTaskResponse {
        result: true,
        ..Default::default()
    };
    let target = Master::start().await;
    target.answers("OperateSource", &created);
    target.answers("OperateSource", &exists);
    target.answers("StartTask", &started);
    let import = ["--strict", "config", "import", "--dir", path];
    let ended = target.run(&import).await;
    let wanted = format!(
        "start creating sources\nstart creating tasks\n\
         The original relay workers have been exported to `{path}/relay_workers.json`.\n\
         Currently DM doesn't support recover relay workers. You may need to execute `transfer-source` and `start-relay` command manually.\n\
         import configs from directory `{path}` succeed\n"
    );
    assert_eq!((ended.code, ended.out), (0, wanted), "{}", ended.err);
    let calls = target.calls();
    let source: pb::OperateSourceRequest = calls[0].message();
    assert_eq!(source.op(), pb::SourceOp::StartSource);
    assert_eq!(source.config, ["source-id: mysql-a\n"]);
    let source: pb::OperateSourceRequest = calls[1].message();
    assert_eq!(source.config, ["b"]);
    let task: pb::StartTaskRequest = calls[2].message();
    assert_eq!(task.task, "name: orders\n");
}

#[tokio::test]
async fn without_named_relay_workers_there_is_no_file_of_them() {
    let (master, dir) = (Master::start().await, tempfile::tempdir().unwrap());
    listing(&master);
    master.answer(RANGE, Ok(relay_workers(&[])));
    let path = dir.path().to_str().unwrap();
    assert_eq!(master.run(&["config", "export", "-d", path]).await.code, 0);
    assert!(!dir.path().join("relay_workers.json").exists());
    assert!(dir.path().join("tasks/orders.yaml").exists());
}

#[tokio::test]
async fn an_export_that_cannot_be_whole_writes_nothing() {
    let (master, dir) = (Master::start().await, tempfile::tempdir().unwrap());
    listing(&master);
    let path = dir.path().to_str().unwrap();
    // No etcd behind this address.
    let ended = master.run(&["config", "export", "-p", path]).await;
    assert_eq!(ended.code, 1);
    let start = "Error: can not get relay workers from etcd: ";
    assert!(ended.err.starts_with(start), "{}", ended.err);

    let master = Master::start().await;
    let bad = pb::ListSourceConfigsResponse {
        msg: "no leader".into(),
        ..Default::default()
    };
    master.answers("ListSourceConfigs", &bad);
    let ended = master.run(&["config", "export", "-p", path]).await;
    assert_eq!((ended.code, ended.err.as_str()), (1, "Error: no leader\n"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_name_does_not_lead_out_of_the_directory() {
    let (master, dir) = (Master::start().await, tempfile::tempdir().unwrap());
    let sources = pb::ListSourceConfigsResponse {
        result: true,
        source_configs: [("../../a".to_owned(), "b".to_owned())].into(),
        ..Default::default()
    };
    let tasks = pb::ListTaskConfigsResponse {
        result: true,
        ..Default::default()
    };
    master.answers("ListSourceConfigs", &sources);
    master.answers("ListTaskConfigs", &tasks);
    master.answer(RANGE, Ok(relay_workers(&[])));
    let root = dir.path().join("x/configs");
    let ended = master
        .run(&["config", "export", "-p", root.to_str().unwrap()])
        .await;
    assert_eq!(ended.err, "Error: `../../a` is no name for a file\n");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_import_ends_at_the_first_that_fails() {
    let (master, dir) = (Master::start().await, tempfile::tempdir().unwrap());
    let path = dir.path().to_str().unwrap();
    for (name, text) in [("sources", "a"), ("tasks", "t")] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name).join("1.yaml"), text).unwrap();
    }
    let bad = pb::OperateSourceResponse {
        msg: "wrong password".into(),
        ..Default::default()
    };
    let exists = pb::OperateSourceResponse {
        msg: "it already exists".into(),
        ..Default::default()
    };
    master.answers("OperateSource", &bad);
    master.answers("OperateSource", &exists);
    let bad = pb::StartTaskResponse {
        msg: "no such source".into(),
        ..Default::default()
    };
    master.answers("StartTask", &bad);
    let ended = master.run(&["config", "import", "-p", path]).await;
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (1, "Error: fail to create sources\n")
    );
    assert!(
        ended.out.contains("\"msg\": \"wrong password\""),
        "{}",
        ended.out
    );
    master.only_call();
    let ended = master.run(&["config", "import", "-p", path]).await;
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (1, "Error: fail to create tasks\n")
    );
    assert!(
        ended
            .out
            .starts_with("start creating sources\nstart creating tasks\n{\n")
    );
}
