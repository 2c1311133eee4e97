//! Configurations as users see them, and the key for passwords.

use dm_proto::pb::{self, CfgType};
use dm_task::secret::SecretKey;
use dm_task::{Secret, SourceConfig, TaskConfig};

use crate::kit::{Cluster, LIMIT};

/// A cluster with task t on s1, bound to w1, and s2 without a worker.
async fn cluster(flags: &[&str]) -> (Cluster, crate::kit::Fake) {
    let cluster = Cluster::start_with(flags).await;
    cluster.source("s1");
    cluster.subtask("t", "s1");
    let w1 = cluster.worker("w1").await;
    cluster.bounds("w1-s1").await;
    cluster.source("s2");
    let is_folded = || {
        let mut client = cluster.client.clone();
        async move {
            let listed = client.list_source_configs(()).await.unwrap().into_inner();
            listed.source_configs.len() == 2
        }
    };
    dm_testkit::wait_until(LIMIT, "the second source", is_folded)
        .await
        .unwrap();
    (cluster, w1)
}

async fn get(cluster: &mut Cluster, kind: CfgType, name: &str) -> pb::GetCfgResponse {
    let request = pb::GetCfgRequest {
        r#type: kind.into(),
        name: name.into(),
    };
    cluster.client.get_cfg(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn configurations_are_shown_without_passwords_and_unknown_ones_are_named() {
    let (mut cluster, _w1) = cluster(&[]).await;
    let task = get(&mut cluster, CfgType::TaskType, "t").await;
    assert!(task.result && task.cfg.starts_with("name: t\ntask-mode: all\n"));
    assert!(
        task.cfg.contains("password: '******'") && !task.cfg.contains("s3cret"),
        "{}",
        task.cfg
    );
    let source = get(&mut cluster, CfgType::SourceType, "s1").await;
    assert!(source.result && source.cfg.starts_with("enable: true\n"));
    let worker = get(&mut cluster, CfgType::WorkerType, "w1").await;
    assert_eq!(worker.cfg, "name = \"w1\"\n");
    for (kind, text) in [
        (CfgType::TaskType, "task not found"),
        (CfgType::TaskTemplateType, "task not found"),
        (CfgType::SourceType, "source not found"),
        (CfgType::WorkerType, "worker not found"),
        (CfgType::InvalidType, "invalid config op 'InvalidType'"),
    ] {
        let answer = get(&mut cluster, kind, "x").await;
        assert_eq!((answer.result, answer.msg.as_str()), (false, text));
    }
    let request = pb::GetSubTaskCfgRequest { name: "t".into() };
    let subtasks = cluster.client.get_sub_task_cfg(request).await.unwrap();
    assert!(subtasks.metadata().contains_key("dm-revision"));
    assert_eq!(subtasks.into_inner().cfgs.len(), 1);
}

#[tokio::test]
async fn a_worker_that_is_down_cannot_show_its_configuration() {
    let mut cluster = Cluster::start().await;
    cluster.register("w1", "127.0.0.1:1");
    let known = || async { is_known(cluster.client.clone()).await };
    dm_testkit::wait_until(LIMIT, "the worker", known)
        .await
        .unwrap();
    let answer = get(&mut cluster, CfgType::WorkerType, "w1").await;
    assert!(
        !answer.result && answer.msg.starts_with("[code=38008:"),
        "{}",
        answer.msg
    );
}

#[tokio::test]
async fn exported_files_can_be_imported_and_hold_plain_passwords_without_a_key() {
    let (mut cluster, _w1) = cluster(&[]).await;
    let tasks = cluster
        .client
        .list_task_configs(())
        .await
        .unwrap()
        .into_inner();
    let file = &tasks.task_configs["t"];
    let task = TaskConfig::from_yaml("", file).unwrap();
    assert_eq!(task.target_database.password.expose(), "s3cret");
    let sources = cluster
        .client
        .list_source_configs(())
        .await
        .unwrap()
        .into_inner();
    let ids: Vec<&String> = sources.source_configs.keys().collect();
    assert_eq!(ids, ["s1", "s2"]);
    assert_eq!(
        SourceConfig::from_yaml("", &sources.source_configs["s1"])
            .unwrap()
            .source_id,
        "s1"
    );
    let request = pb::EncryptRequest {
        plaintext: "x".into(),
    };
    let refused = cluster.client.encrypt(request).await.unwrap().into_inner();
    assert_eq!(
        (refused.result, refused.msg.as_str()),
        (
            false,
            "secret key not initialized. To enable encryption:\n\
             1. Create a file containing a 32-byte (64-character) hexadecimal AES-256 secret key.\n\
             2. Set 'secret-key-path' in DM-master's configuration file to point to this key file.\n\
             3. Restart DM-master to apply the configuration.\n\
             For details, see: https://docs.pingcap.com/tidb/stable/dm-customized-secret-key"
        )
    );
}

#[tokio::test]
async fn with_a_key_passwords_are_encrypted_in_files_and_workers_are_given_it() {
    let digits = "0f".repeat(32);
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("secret.key");
    std::fs::write(&file, &digits).unwrap();
    let (mut cluster, _w1) = cluster(&["--secret-key-path", file.to_str().unwrap()]).await;
    let key = SecretKey::from_hex(&digits).unwrap();
    let request = pb::EncryptRequest {
        plaintext: "hunter2".into(),
    };
    let one = cluster
        .client
        .encrypt(request.clone())
        .await
        .unwrap()
        .into_inner();
    let two = cluster.client.encrypt(request).await.unwrap().into_inner();
    assert_ne!(one.ciphertext, two.ciphertext);
    let clear = |text: &str| Secret::from(text).decrypted(&key).expose().to_owned();
    assert_eq!(
        (one.result, clear(&one.ciphertext)),
        (true, "hunter2".to_owned())
    );
    let tasks = cluster
        .client
        .list_task_configs(())
        .await
        .unwrap()
        .into_inner();
    let task = TaskConfig::from_yaml("", &tasks.task_configs["t"]).unwrap();
    assert_ne!(task.target_database.password.expose(), "s3cret");
    assert_eq!(clear(task.target_database.password.expose()), "s3cret");
    let request = pb::RegisterWorkerRequest {
        name: "w2".into(),
        address: "h:1".into(),
    };
    let registered = cluster
        .client
        .register_worker(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(registered.secret_key, [15; 32]);
}

async fn is_known(mut client: crate::kit::Client) -> bool {
    let request = pb::GetCfgRequest {
        r#type: CfgType::WorkerType.into(),
        name: "w1".into(),
    };
    let answer = client.get_cfg(request).await.unwrap().into_inner();
    answer.msg != "worker not found"
}
