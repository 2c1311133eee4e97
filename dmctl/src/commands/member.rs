//! `list-member`, `offline-member`, `operate-leader`, `transfer-leader`.

use dm_proto::{election, member, pb};
use serde::Serialize;

use super::Job;
use crate::cli::{ListMember, OfflineMember, SEE_OUTPUT, wrong_arguments};
use crate::connection;
use crate::error::Error;
use crate::output::go_json;

pub(super) async fn list(job: &mut Job<'_>, list: &ListMember) -> Result<bool, Error> {
    if !list.args.is_empty() {
        return Err(wrong_arguments(&["list-member"], SEE_OUTPUT));
    }
    let request = pb::ListMemberRequest {
        leader: list.leader,
        master: list.master,
        worker: list.worker,
        names: list.name.clone(),
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.list_member(request).await
        })
        .await?;
    job.print(&answer);
    Ok(answer.result)
}

/// Other than elsewhere, a result of false is an error.
pub(super) async fn offline(job: &mut Job<'_>, offline: &OfflineMember) -> Result<bool, Error> {
    if !offline.args.is_empty() {
        return Err(wrong_arguments(&["offline-member"], SEE_OUTPUT));
    }
    let kind = match (offline.master, offline.worker) {
        (true, false) => "master",
        (false, true) => "worker",
        _ => {
            return Err(Error::Other(
                "should specify either --master or --worker".to_owned(),
            ));
        }
    };
    if offline.name.is_empty() {
        return Err(Error::Other("a member name must be specified".to_owned()));
    }
    let request = pb::OfflineMemberRequest {
        r#type: kind.to_owned(),
        name: offline.name.clone(),
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.offline_member(request).await
        })
        .await?;
    if !answer.result {
        let text = format!("offline member failed:\n{}", answer.msg);
        job.streams.say(&text);
        return Err(Error::Other(SEE_OUTPUT.to_owned()));
    }
    job.print(&answer);
    Ok(true)
}

pub(super) async fn operate_leader(job: &mut Job<'_>, args: &[String]) -> Result<bool, Error> {
    let [word] = args else {
        return Err(wrong_arguments(&["operate-leader"], SEE_OUTPUT));
    };
    let op = match word.as_str() {
        "evict" => pb::LeaderOp::EvictLeaderOp,
        "cancel-evict" => pb::LeaderOp::CancelEvictLeaderOp,
        _ => {
            return Err(Error::Other(format!(
                "invalid operate '{word}' on leader, expected evict or cancel-evict"
            )));
        }
    };
    let request = pb::OperateLeaderRequest { op: op.into() };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.operate_leader(request).await
        })
        .await?;
    job.print(&answer);
    Ok(answer.result)
}

/// The answer in the form of the other commands; the native one says nothing but who leads.
#[derive(Serialize)]
struct Transferred<'a> {
    result: bool,
    msg: &'a str,
    leader: Leader<'a>,
}

#[derive(Serialize)]
struct Leader<'a> {
    role: &'a str,
    name: String,
    addr: String,
}

pub(super) async fn transfer_leader(job: &mut Job<'_>, args: &[String]) -> Result<bool, Error> {
    let [word, to] = args else {
        return Err(wrong_arguments(&["transfer-leader"], SEE_OUTPUT));
    };
    let role = match word.as_str() {
        "election" => member::Role::Election,
        "scheduler" => member::Role::Scheduler,
        "pessimist" => member::Role::Pessimist,
        "optimist" => member::Role::Optimist,
        _ => {
            return Err(Error::Other(format!(
                "invalid role '{word}', expected election, scheduler, pessimist or optimist"
            )));
        }
    };
    let request = election::TransferLeaderRequest {
        role: role.into(),
        to: to.clone(),
    };
    let connection = &job.session.connection;
    let answer = connection
        .call(request, None, |channel, request| async {
            connection::election(channel).transfer_leader(request).await
        })
        .await?;
    let leader = answer.leader.unwrap_or_default();
    let text = go_json(&Transferred {
        result: leader.name == *to,
        msg: "",
        leader: Leader {
            role: word,
            name: leader.name.clone(),
            addr: leader.addr,
        },
    });
    job.streams.say(&text);
    Ok(leader.name == *to)
}
