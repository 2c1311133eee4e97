//! The service as its callers see it: real gRPC, real replicas, an etcd in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/cluster.rs"]
mod cluster;

use cluster::{Client, Cluster, LIMIT};
use dm_keyspace::{SubtaskKey, TaskStartKey};
use dm_proto::pb;
use dm_proto::pessimist::{
    Phase, RemoveMetaRequest, ShowDdlLocksResponse, SourceState, WatchLocksRequest,
};
use dm_testkit::{wait_for, wait_until};

const D1: &str = "ALTER TABLE `foo`.`bar` ADD COLUMN `c1` INT";
const ID: &str = "t1-`foo`.`bar`";

async fn show(client: &Client) -> ShowDdlLocksResponse {
    client
        .clone()
        .show_ddl_locks(pb::ShowDdlLocksRequest::default())
        .await
        .unwrap()
        .into_inner()
}

/// Waits until the lock is in this phase.
async fn shown(client: &Client, phase: Phase) -> ShowDdlLocksResponse {
    let look = || async {
        let answer = show(client).await;
        answer
            .details
            .first()
            .is_some_and(|detail| detail.phase() == phase)
            .then_some(answer)
    };
    wait_for(LIMIT, "the phase", look).await.unwrap()
}

/// Waits until the order to the first source shows.
async fn executing(client: &Client) {
    let is_told = || async {
        let answer = show(client).await;
        let sources = answer
            .details
            .first()
            .map(|detail| detail.sources.clone())
            .unwrap_or_default();
        sources
            .first()
            .is_some_and(|source| source.state() == SourceState::Executing)
    };
    wait_until(LIMIT, "the order to the owner", is_told)
        .await
        .unwrap();
}

async fn unlock(client: &Client, id: &str, force_remove: bool) -> (bool, String) {
    let request = pb::UnlockDdlLockRequest {
        id: id.to_owned(),
        force_remove,
        ..Default::default()
    };
    let answer = client
        .clone()
        .unlock_ddl_lock(request)
        .await
        .unwrap()
        .into_inner();
    (answer.result, answer.msg)
}

#[tokio::test]
async fn case_69_a_lock_goes_from_the_first_report_to_its_end_and_every_replica_shows_it() {
    let mut cluster = Cluster::new(&["s1", "s2"]).await;
    let leader = cluster.start_replica().await;
    let standby = cluster.start_replica().await;
    assert_eq!(show(&leader).await.msg, "no DDL lock exists");
    cluster.report("s1", D1);
    let seen = shown(&standby, Phase::Collecting).await;
    let lock = &seen.locks[0];
    assert_eq!(
        (
            lock.id.as_str(),
            lock.task.as_str(),
            lock.mode.as_str(),
            lock.owner.as_str()
        ),
        (ID, "t1", "pessimistic", "s1")
    );
    assert_eq!(
        (
            lock.dd_ls.as_slice(),
            lock.synced.as_slice(),
            lock.unsynced.as_slice()
        ),
        (
            [D1.to_owned()].as_slice(),
            ["s1".to_owned()].as_slice(),
            ["s2".to_owned()].as_slice()
        )
    );
    assert_eq!(
        seen.details[0].reasons[0],
        "Source s2 has not reported the statements."
    );
    cluster.report("s2", D1);
    cluster.told("s1", true).await;
    executing(&leader).await;
    cluster.done("s1");
    cluster.told("s2", false).await;
    cluster.done("s2");
    cluster.resolved().await;
    let is_gone = || async { show(&leader).await.locks.is_empty() };
    wait_until(LIMIT, "the lock to go", is_gone).await.unwrap();
}

#[tokio::test]
async fn the_other_replica_finishes_what_a_leader_has_begun() {
    let mut cluster = Cluster::new(&["s1", "s2"]).await;
    cluster.start_replica().await;
    let standby = cluster.start_replica().await;
    cluster.report("s1", D1);
    cluster.report("s2", D1);
    cluster.told("s1", true).await;
    cluster.stop_first_replica();
    cluster.done("s1");
    cluster.told("s2", false).await;
    cluster.done("s2");
    cluster.resolved().await;
    let is_gone = || async {
        standby
            .clone()
            .show_ddl_locks(pb::ShowDdlLocksRequest::default())
            .await
            .is_ok_and(|a| a.get_ref().locks.is_empty())
    };
    wait_until(LIMIT, "the lock to go", is_gone).await.unwrap();
}

#[tokio::test]
async fn a_lock_that_nobody_answers_is_unlocked_by_force_only() {
    let mut cluster = Cluster::new(&["s1", "s2", "s3"]).await;
    let client = cluster.start_replica().await;
    cluster.report("s1", D1);
    cluster.report("s2", D1);
    let is_seen = || async {
        show(&client)
            .await
            .locks
            .first()
            .is_some_and(|lock| lock.synced.len() == 2)
    };
    wait_until(LIMIT, "both reports", is_seen).await.unwrap();
    let silent = "[code=38024:class=dm-master:scope=internal:level=high], Message: the owner s1 of the lock t1-`foo`.`bar` has not done the operation";
    let (result, msg) = unlock(&client, ID, false).await;
    assert!(!result && msg.starts_with(silent), "{msg}");
    assert!(
        msg.contains("; it may still be executing: its order stands"),
        "{msg}"
    );
    cluster.told("s1", true).await;
    assert_eq!(show(&client).await.locks[0].unsynced, ["s3"]);
    let (result, msg) = unlock(&client, ID, true).await;
    assert!(result && msg.contains("[s2]"), "{msg}");
    cluster.resolved().await;
}

#[tokio::test]
async fn case_65_a_lock_of_a_stopped_task_is_unlocked_by_force_without_being_asked_to() {
    let mut cluster = Cluster::new(&["s1", "s2"]).await;
    let client = cluster.start_replica().await;
    cluster.report("s1", D1);
    shown(&client, Phase::Collecting).await;
    // Stopped in two transactions, between which one source less must not look like a smaller task.
    let record = TaskStartKey { task: "t1".into() }.encode();
    let stop = r#"{"term":1,"batch":1,"kind":"stop","sources":["s1","s2"]}"#;
    cluster.etcd.put(record.clone(), stop);
    for source in ["s1", "s2"] {
        let (source, task) = (source.into(), "t1".into());
        cluster.etcd.delete(SubtaskKey { source, task }.encode());
    }
    cluster.etcd.delete(record);
    let is_seen = || async {
        let reasons = show(&client).await.details[0].reasons.clone();
        reasons[0].starts_with("The task has no subtask now")
    };
    wait_until(LIMIT, "the stop", is_seen).await.unwrap();
    assert_eq!(unlock(&client, ID, false).await, (true, String::new()));
    cluster.resolved().await;
}

#[tokio::test]
async fn what_a_source_is_at_is_told_as_it_is() {
    let mut cluster = Cluster::new(&["s1", "s2", "s3"]).await;
    let client = cluster.start_replica().await;
    cluster.report("s1", D1);
    cluster.report("s2", "ALTER TABLE `foo`.`bar` ADD COLUMN `c9` INT");
    let states = || async {
        let details = show(&client).await.details;
        let sources = details.first().map(|detail| detail.sources.clone());
        let sources = sources.unwrap_or_default().into_iter();
        sources.map(|source| source.state()).collect::<Vec<_>>()
    };
    let expected = [
        SourceState::Reported,
        SourceState::Mismatched,
        SourceState::Offline,
    ];
    let is_so = || async { states().await == expected };
    wait_until(LIMIT, "the states", is_so).await.unwrap();
}

#[tokio::test]
async fn an_unlock_ends_well_when_the_workers_answer() {
    let mut cluster = Cluster::new(&["s1", "s2"]).await;
    let client = cluster.start_replica().await;
    cluster.report("s1", D1);
    shown(&client, Phase::Collecting).await;
    let worker = async {
        cluster.told("s1", true).await;
        cluster.done("s1");
    };
    let (ended, ()) = tokio::join!(unlock(&client, ID, false), worker);
    assert_eq!(ended, (true, String::new()));
    cluster.resolved().await;
}

#[tokio::test]
async fn cases_53_and_64_locks_that_do_not_exist_are_refused_as_dm_does() {
    let mut cluster = Cluster::new(&["s1"]).await;
    let client = cluster.start_replica().await;
    assert_eq!(
        unlock(&client, "lock_id", false).await,
        (false, "can't find task name from lock-ID".to_owned())
    );
    let unknown = "[code=38019:class=dm-master:scope=internal:level=high], Message: lock with ID t1-`foo`.`bar` not found, \
                   Workaround: Please use show-ddl-locks command to see lock id.";
    assert_eq!(
        unlock(&client, ID, false).await,
        (false, unknown.to_owned())
    );
}

#[tokio::test]
async fn remove_meta_removes_everything_of_the_task_and_says_how_much_it_was() {
    let mut cluster = Cluster::new(&["s1", "s2"]).await;
    let mut client = cluster.start_replica().await;
    cluster.report("s1", D1);
    cluster.report("s2", D1);
    executing(&client).await;
    let removed = client
        .remove_meta(RemoveMetaRequest {
            task: "t1".to_owned(),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(removed.deleted, 3);
    assert!(
        cluster
            .etcd
            .dump("/dm-master/shardddl-pessimism/")
            .is_empty()
            && show(&client).await.locks.is_empty()
    );
    let again = client
        .remove_meta(RemoveMetaRequest {
            task: "t1".to_owned(),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((again.deleted, again.revision), (0, 0));
    assert!(
        client
            .remove_meta(RemoveMetaRequest::default())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_watcher_sees_a_lock_come_change_and_go() {
    let mut cluster = Cluster::new(&["s1"]).await;
    let mut client = cluster.start_replica().await;
    let mut changes = client
        .watch_locks(WatchLocksRequest::default())
        .await
        .unwrap()
        .into_inner();
    cluster.report("s1", D1);
    cluster.told("s1", true).await;
    let seen = tokio::time::timeout(LIMIT, changes.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!((seen.lock.unwrap().id.as_str(), seen.gone), (ID, false));
    cluster.done("s1");
    loop {
        let seen = tokio::time::timeout(LIMIT, changes.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        if seen.gone {
            break;
        }
    }
}

#[tokio::test]
async fn a_watch_ends_with_the_lead_and_the_next_leader_tells_all_there_is() {
    let mut cluster = Cluster::new(&["s1", "s2"]).await;
    let mut first = cluster.start_replica().await;
    let second = cluster.start_replica().await;
    let watched = first.watch_locks(WatchLocksRequest::default()).await;
    let mut changes = watched.unwrap().into_inner();
    cluster.report("s1", D1);
    let seen = tokio::time::timeout(LIMIT, changes.message()).await;
    assert!(seen.unwrap().unwrap().is_some());
    cluster.stop_first_replica();
    while let Ok(Some(_)) = tokio::time::timeout(LIMIT, changes.message())
        .await
        .unwrap()
    {}
    let look = || async {
        let mut next = second.clone();
        let watched = next.watch_locks(WatchLocksRequest::default()).await.ok()?;
        watched.into_inner().message().await.ok()?
    };
    let seen = wait_for(LIMIT, "the lock, told by the next leader", look).await;
    assert_eq!(seen.unwrap().lock.unwrap().id, ID);
}

#[tokio::test]
async fn a_slow_watcher_is_told_of_every_end_of_what_it_was_told() {
    const LOCKS: usize = 1_000;
    let mut cluster = Cluster::new(&["s1", "s2"]).await;
    let mut client = cluster.start_replica().await;
    let keys: Vec<String> = (0..LOCKS)
        .map(|number| {
            let task = format!("many{number}");
            let info = dm_keyspace::pessimism::Info::new(
                task.as_str(),
                "s1",
                "foo",
                "bar",
                vec![D1.to_owned()],
            );
            cluster.etcd.put(info.key().encode(), info.to_bytes());
            info.key().encode()
        })
        .collect();
    let are_shown = || async { show(&client).await.locks.len() == LOCKS };
    wait_until(LIMIT, "the locks", are_shown).await.unwrap();
    let watched = client.watch_locks(WatchLocksRequest::default()).await;
    let mut changes = watched.unwrap().into_inner();
    // It reads nothing until all of them are gone.
    for key in keys {
        cluster.etcd.delete(key);
    }
    let are_gone = || async { show(&client).await.locks.is_empty() };
    wait_until(LIMIT, "their end", are_gone).await.unwrap();
    cluster.report("s1", D1);
    let mut present = std::collections::BTreeSet::new();
    loop {
        let seen = tokio::time::timeout(LIMIT, changes.message()).await;
        let seen = seen.unwrap().unwrap().unwrap();
        let lock = seen.lock.unwrap();
        match seen.gone {
            true => assert!(present.remove(&lock.id), "{} was never told", lock.id),
            false => {
                present.insert(lock.id);
            }
        }
        if present.len() == 1 && present.contains(ID) {
            return;
        }
    }
}

#[tokio::test]
async fn record_that_cannot_be_read_is_named_on_the_status_page_and_counted() {
    let mut cluster = Cluster::new(&["s1"]).await;
    let _client = cluster.start_replica().await;
    let key = dm_keyspace::pessimism::InfoKey {
        task: "t1".into(),
        source: "s1".into(),
    }
    .encode();
    cluster.etcd.put(key.clone(), "no {record");
    for (path, words) in [("/metrics", "\ndm_faults 1\n"), ("/status", key.as_str())] {
        wait_until(LIMIT, &format!("{path} tells of it"), || {
            dm_testkit::pages::says(
                &cluster.etcd,
                "pessimist",
                path,
                std::slice::from_ref(&words),
            )
        })
        .await
        .unwrap();
    }
    cluster.etcd.delete(key);
    wait_until(LIMIT, "it is gone", || {
        dm_testkit::pages::says(&cluster.etcd, "pessimist", "/metrics", &["\ndm_faults 0\n"])
    })
    .await
    .unwrap();
}
