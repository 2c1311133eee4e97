//! Cases 53 to 56, 60, 61, and the other methods that a door answers by asking several.

use dm_keyspace::Role;
use dm_proto::election::{Health, ListMembersRequest};
use dm_proto::etcdserverpb::MemberListRequest;
use dm_proto::etcdserverpb::cluster_client::ClusterClient;
use dm_proto::pb;
use dm_testkit::memory::MemoryEtcd;
use prost::Message;

use crate::evictions::set;
use crate::support::client::{channel, list_member};
use crate::support::stub::Stub;
use crate::support::{
    Plan, Running, acts, doors, elections, leaderless, leaders_key, leads, line_has, master,
    one_door, until,
};

/// A scheduler that knows of one worker and lets anyone go.
fn scheduler() -> Stub {
    Stub::new(|seen| {
        Ok(match seen.path.rsplit('/').next() {
            Some("ListWorkers") => pb::ListWorkerMember {
                msg: String::new(),
                workers: vec![pb::WorkerInfo {
                    name: "worker-1".to_owned(),
                    addr: "127.0.0.1:8262".to_owned(),
                    stage: "bound".to_owned(),
                    source: "mysql-1".to_owned(),
                }],
            }
            .encode_to_vec(),
            Some("OfflineWorker") => pb::OfflineMemberResponse {
                result: true,
                msg: "the scheduler says so".to_owned(),
            }
            .encode_to_vec(),
            Some("GetCfg") => pb::GetCfgResponse {
                result: true,
                msg: String::new(),
                cfg: "a task".to_owned(),
            }
            .encode_to_vec(),
            _ => Vec::new(),
        })
    })
}

async fn with_scheduler(etcd: &MemoryEtcd, door: &Running) -> Running {
    let plan = Plan::new("scheduler-1", &etcd.endpoint());
    let running = scheduler().start(Role::Scheduler, &plan).await;
    leads(door, "scheduler", "scheduler-1").await;
    running
}

fn everything() -> pb::ListMemberRequest {
    pb::ListMemberRequest::default()
}

pub(crate) async fn offline(door: &Running, kind: &str, name: &str) -> pb::OfflineMemberResponse {
    let request = pb::OfflineMemberRequest {
        r#type: kind.to_owned(),
        name: name.to_owned(),
    };
    master(door)
        .offline_member(request)
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test]
async fn case_53_every_door_lists_the_same_leader_masters_and_workers() {
    let (etcd, [first, second]) = doors().await;
    let _scheduler = with_scheduler(&etcd, &first).await;
    for door in [&first, &second] {
        until("all doors are seen to serve", async || {
            let masters = list_member(door, everything())
                .await
                .unwrap()
                .master
                .unwrap();
            masters.masters.len() == 2 && masters.masters.iter().all(|m| m.alive)
        })
        .await;
        leads(door, "scheduler", "scheduler-1").await;
        let listed = list_member(door, everything()).await.unwrap();
        let leader = listed.leader.unwrap();
        assert_eq!(
            (leader.name.as_str(), leader.addr.as_str()),
            ("door-1", first.addr.as_str())
        );
        let masters = listed.master.unwrap().masters;
        let urls: Vec<_> = masters.iter().map(|m| m.client_ur_ls.concat()).collect();
        assert_eq!(
            urls,
            [
                format!("http://{}", first.addr),
                format!("http://{}", second.addr)
            ]
        );
        assert_eq!(masters[0].name, "door-1");
        assert_ne!(masters[0].member_id, masters[1].member_id);
        let workers = listed.worker.unwrap().workers;
        assert_eq!(
            (workers[0].stage.as_str(), workers[0].source.as_str()),
            ("bound", "mysql-1")
        );
    }
}

#[tokio::test]
async fn case_53_list_is_filtered_by_kind_and_by_name() {
    let (etcd, [first, second]) = doors().await;
    let _scheduler = with_scheduler(&etcd, &second).await;
    let only = |leader, master, worker| pb::ListMemberRequest {
        leader,
        master,
        worker,
        ..Default::default()
    };
    let listed = list_member(&second, only(true, false, false))
        .await
        .unwrap();
    assert!(listed.leader.is_some() && listed.master.is_none() && listed.worker.is_none());
    let listed = list_member(&second, only(false, true, true)).await.unwrap();
    assert!(listed.leader.is_none() && listed.master.is_some() && listed.worker.is_some());
    let named = pb::ListMemberRequest {
        names: vec!["door-2".to_owned()],
        ..Default::default()
    };
    let listed = list_member(&first, named).await.unwrap();
    assert_eq!(listed.leader.unwrap(), pb::ListLeaderMember::default());
    let masters = listed.master.unwrap().masters;
    assert_eq!(
        masters.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(),
        ["door-2"]
    );
}

#[tokio::test]
async fn case_53_silent_scheduler_costs_the_workers_part_only() {
    let (etcd, _door) = one_door().await;
    let plan = Plan::new("door-2", &etcd.endpoint()).arg("--leader-wait", "200ms");
    let door = plan.door().await;
    leads(&door, "election", "door-1").await;
    let listed = list_member(&door, everything()).await.unwrap();
    assert!(listed.worker.unwrap().msg.starts_with("[code=38043:"));
    assert_eq!(listed.leader.unwrap().name, "door-1");
}

#[tokio::test]
async fn case_54_killed_member_is_listed_as_not_alive_until_it_is_back() {
    let (etcd, first) = one_door().await;
    let plan = Plan::new("door-2", &etcd.endpoint()).on_port_of_its_own();
    let second = plan.door().await;
    line_has(&etcd, "election", 2).await;
    let alive = async || {
        let listed = list_member(&first, everything()).await.unwrap();
        let masters = listed.master.unwrap().masters;
        masters.iter().find(|m| m.name == "door-2").map(|m| m.alive)
    };
    until("it is alive", async || alive().await == Some(true)).await;
    second.kill().await;
    assert_eq!(alive().await, Some(false));
    let request = ListMembersRequest {
        names: vec!["door-2".to_owned()],
        ..Default::default()
    };
    let native = elections(&first)
        .list_members(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(native.members[0].health(), Health::Refused);
    let _again = plan.door().await;
    until("it is alive again", async || alive().await == Some(true)).await;
}

#[tokio::test]
async fn case_55_offline_member_names_what_it_cannot_do() {
    let (_etcd, door) = one_door().await;
    let answer = offline(&door, "nothing", "door-1").await;
    assert!(
        !answer.result && answer.msg.starts_with("[code=38049:"),
        "{answer:?}"
    );
    let answer = offline(&door, "master", "nobody").await;
    assert!(
        !answer.result && answer.msg.starts_with("[code=38048:"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn case_55_what_is_left_of_a_stopped_member_is_removed_and_the_leader_stays() {
    let (etcd, [first, second]) = doors().await;
    set(&first, "election", "door-2", true).await.unwrap();
    second.stop().await;
    until("only its eviction is left", async || {
        etcd.dump("/dm-master/member/election/").len() == 1
    })
    .await;
    let gone = async || {
        let listed = list_member(&first, everything()).await.unwrap();
        listed.master.unwrap().masters.len() == 1
    };
    assert!(!gone().await, "an evicted member is still listed");
    let answer = offline(&first, "master", "door-2").await;
    assert!(answer.result, "{}", answer.msg);
    assert!(gone().await);
    acts(&first, true).await;
    // The name is free, and nothing of the former life holds it back.
    let again = Plan::new("door-2", &etcd.endpoint()).door().await;
    line_has(&etcd, "election", 2).await;
    first.stop().await;
    acts(&again, true).await;
}

#[tokio::test]
async fn case_55_worker_goes_offline_by_the_scheduler() {
    let (etcd, door) = one_door().await;
    let _scheduler = with_scheduler(&etcd, &door).await;
    let answer = offline(&door, "worker", "worker-1").await;
    assert_eq!(
        (answer.result, answer.msg.as_str()),
        (true, "the scheduler says so")
    );
}

#[tokio::test]
async fn case_56_running_member_is_not_taken_offline() {
    let (etcd, [first, second]) = doors().await;
    let records = etcd.dump("/dm-master/");
    for name in ["door-1", "door-2"] {
        let answer = offline(&second, "master", name).await;
        assert!(
            !answer.result && answer.msg.contains("is alive"),
            "{answer:?}"
        );
    }
    assert_eq!(etcd.dump("/dm-master/"), records);
    acts(&first, true).await;
}

async fn etcd_members(door: &Running) -> Vec<(String, String)> {
    let mut cluster = ClusterClient::new(channel(&door.addr));
    let answer = cluster.member_list(MemberListRequest::default()).await;
    let members = answer.unwrap().into_inner().members;
    members
        .into_iter()
        .map(|m| (m.name, m.client_ur_ls.concat()))
        .collect()
}

#[tokio::test]
async fn case_60_every_door_gives_workers_the_addresses_of_all_living_doors() {
    let (_etcd, [first, second]) = doors().await;
    let entry = |door: &Running| (door.name.clone(), format!("http://{}", door.addr));
    for door in [&first, &second] {
        until("both are listed", async || {
            etcd_members(door).await.len() == 2
        })
        .await;
        assert_eq!(etcd_members(door).await, [entry(&first), entry(&second)]);
    }
    first.stop().await;
    until("the stopped one is not listed", async || {
        etcd_members(&second).await == [entry(&second)]
    })
    .await;
}

#[tokio::test]
async fn case_60_door_that_has_lost_its_lease_still_lists_a_door() {
    let (etcd, door) = one_door().await;
    // It can neither register again nor get another lease: the list of doors stays empty.
    for _ in 0..1_000 {
        etcd.fail_next("LeaseGrant", tonic::Status::unavailable("not now"));
    }
    etcd.revoke(leaders_key(&etcd, "election").lease).unwrap();
    until("no door is known", async || {
        list_member(&door, everything())
            .await
            .is_ok_and(|listed| listed.master.is_some_and(|m| m.masters.is_empty()))
    })
    .await;
    let own = [(door.name.clone(), format!("http://{}", door.addr))];
    assert_eq!(etcd_members(&door).await, own);
}

#[tokio::test]
async fn case_61_leaderless_cluster_lists_its_members_and_no_leader() {
    let (_etcd, [first, second]) = doors().await;
    set(&first, "election", "door-1", true).await.unwrap();
    set(&first, "election", "door-2", true).await.unwrap();
    for door in [&first, &second] {
        leaderless(door, "election").await;
        let request = pb::ListMemberRequest {
            leader: true,
            master: true,
            ..Default::default()
        };
        let listed = list_member(door, request).await.unwrap();
        let leader = listed.leader.unwrap();
        assert_eq!((leader.name.as_str(), leader.addr.as_str()), ("", ""));
        assert!(leader.msg.contains("no leader"), "{leader:?}");
        let masters = listed.master.unwrap().masters;
        assert_eq!(masters.len(), 2);
        assert!(masters.iter().all(|m| m.alive), "{masters:?}");
    }
}

#[tokio::test]
async fn configuration_of_a_master_is_asked_of_that_master() {
    let (_etcd, [first, second]) = doors().await;
    let ask = async |name: &str| {
        let request = pb::GetCfgRequest {
            name: name.to_owned(),
            r#type: pb::CfgType::MasterType.into(),
        };
        master(&second).get_cfg(request).await.unwrap().into_inner()
    };
    for door in [&first, &second] {
        let answer = ask(&door.name).await;
        assert!(answer.result, "{}", answer.msg);
        let own = format!("advertise-addr = \"{}\"", door.addr);
        assert!(answer.cfg.contains(&own), "{}", answer.cfg);
        let direct = master(door)
            .get_master_cfg(pb::GetMasterCfgRequest {})
            .await;
        assert_eq!(direct.unwrap().into_inner().cfg, answer.cfg);
    }
    let answer = ask("nobody").await;
    assert!(
        !answer.result && answer.msg.starts_with("[code=38048:"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn configuration_of_a_task_is_the_schedulers() {
    let (etcd, door) = one_door().await;
    let _scheduler = with_scheduler(&etcd, &door).await;
    let request = pb::GetCfgRequest {
        name: "t".to_owned(),
        r#type: pb::CfgType::TaskType.into(),
    };
    let answer = master(&door).get_cfg(request).await.unwrap().into_inner();
    assert_eq!(answer.cfg, "a task");
}

/// A coordinator with one lock.
fn coordinator(id: &'static str) -> Stub {
    Stub::new(move |seen| {
        Ok(match seen.path.rsplit('/').next() {
            Some("ShowDDLLocks") => pb::ShowDdlLocksResponse {
                result: true,
                msg: String::new(),
                locks: vec![pb::DdlLock {
                    id: id.to_owned(),
                    ..Default::default()
                }],
            }
            .encode_to_vec(),
            Some("UnlockDDLLock") => pb::UnlockDdlLockResponse {
                result: true,
                msg: format!("{id} is resolved"),
            }
            .encode_to_vec(),
            _ => Vec::new(),
        })
    })
}

#[tokio::test]
async fn locks_of_both_coordinators_are_shown_and_each_is_unlocked_where_it_is() {
    let (etcd, door) = one_door().await;
    let plan = |name| Plan::new(name, &etcd.endpoint());
    let (pessimist, optimist) = (coordinator("lock-p"), coordinator("lock-o"));
    let _p = pessimist.start(Role::Pessimist, &plan("pessimist-1")).await;
    let _o = optimist.start(Role::Optimist, &plan("optimist-1")).await;
    leads(&door, "pessimist", "pessimist-1").await;
    leads(&door, "optimist", "optimist-1").await;
    let everything = pb::ShowDdlLocksRequest::default();
    let shown = master(&door).show_ddl_locks(everything).await;
    let shown = shown.unwrap().into_inner();
    let ids: Vec<_> = shown.locks.iter().map(|lock| lock.id.as_str()).collect();
    assert_eq!((shown.result, ids), (true, vec!["lock-p", "lock-o"]));
    for (id, message) in [
        ("lock-o", "lock-o is resolved"),
        ("lock-p", "lock-p is resolved"),
        ("unknown", "lock-p is resolved"),
    ] {
        let request = pb::UnlockDdlLockRequest {
            id: id.to_owned(),
            ..Default::default()
        };
        let answer = master(&door).unlock_ddl_lock(request).await.unwrap();
        assert_eq!(answer.into_inner().msg, message, "{id}");
    }
}
