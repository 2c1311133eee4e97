//! The methods of `pb.Master` that concern several roles: members, leadership, the door's own configuration.

use axum::body::Body;
use axum::extract::State;
use dm_errors::{Code, DmError};
use dm_keyspace::Role;
use dm_proto::election::{Health, MemberStatus};
use dm_proto::etcdserverpb;
use dm_proto::optimist::optimist_client::OptimistClient;
use dm_proto::pb;
use dm_proto::pessimist::pessimist_client::PessimistClient;
use dm_proto::scheduler::scheduler_client::SchedulerClient;
use dm_service::Context;
use dm_service::client::{Channel, Channels};
use dm_service::config::Common;
use http::{Request, Response};
use tonic::Status;

use super::route::ToRoles;
use super::unary;
use crate::api;

/// An answer may list everything that a big cluster has.
const MOST_ANSWER_BYTES: usize = 64 << 20;

/// What the merged methods need.
#[derive(Clone)]
pub(crate) struct Door {
    roles: ToRoles,
    election: api::Service,
    channels: Channels,
    scheme: &'static str,
    advertise_addr: String,
    name: String,
    configuration: String,
}

impl Door {
    pub(crate) fn new(
        ctx: &Context,
        common: &Common,
        roles: ToRoles,
        election: api::Service,
    ) -> Self {
        Self {
            roles,
            election,
            channels: ctx.channels().clone(),
            scheme: if common.ssl_ca.is_some() {
                "https"
            } else {
                "http"
            },
            advertise_addr: ctx.advertise_addr().to_owned(),
            name: ctx.name().to_owned(),
            configuration: configuration(common),
        }
    }

    async fn scheduler(&self) -> Result<SchedulerClient<Channel>, Status> {
        let channel = self.roles.channel(Role::Scheduler).await?;
        Ok(SchedulerClient::new(channel).max_decoding_message_size(MOST_ANSWER_BYTES))
    }

    pub(super) async fn pessimist(&self) -> Result<PessimistClient<Channel>, Status> {
        let channel = self.roles.channel(Role::Pessimist).await?;
        Ok(PessimistClient::new(channel).max_decoding_message_size(MOST_ANSWER_BYTES))
    }

    pub(super) async fn optimist(&self) -> Result<OptimistClient<Channel>, Status> {
        let channel = self.roles.channel(Role::Optimist).await?;
        Ok(OptimistClient::new(channel).max_decoding_message_size(MOST_ANSWER_BYTES))
    }

    /// The living doors as members of an etcd; this one at the least, for it is answering.
    pub(super) async fn etcd_members(&self) -> Result<(u64, Vec<etcdserverpb::Member>), Status> {
        let (doors, cluster_id) = self.election.doors().await?;
        let url = |addr: &str| vec![format!("{}://{addr}", self.scheme)];
        let mut members: Vec<etcdserverpb::Member> = doors
            .into_iter()
            .map(|(name, addr)| etcdserverpb::Member {
                id: api::member_id(&name),
                peer_ur_ls: url(&addr),
                client_ur_ls: url(&addr),
                name,
                is_learner: false,
            })
            .collect();
        if members.is_empty() {
            members.push(etcdserverpb::Member {
                id: api::member_id(&self.name),
                name: self.name.clone(),
                peer_ur_ls: url(&self.advertise_addr),
                client_ur_ls: url(&self.advertise_addr),
                is_learner: false,
            });
        }
        Ok((cluster_id, members))
    }

    pub(super) async fn list(
        &self,
        request: pb::ListMemberRequest,
    ) -> Result<pb::ListMemberResponse, Status> {
        let all = !(request.leader || request.master || request.worker);
        let chosen =
            |name: &str| request.names.is_empty() || request.names.iter().any(|n| n == name);
        let doors = self
            .election
            .member_statuses(&[Role::Election], true)
            .await?;
        let mut members = Vec::new();
        if all || request.leader {
            members.push(pb::members::Member::Leader(leader_part(&doors, chosen)));
        }
        if all || request.master {
            members.push(pb::members::Member::Master(
                self.master_part(&doors, chosen),
            ));
        }
        if all || request.worker {
            members.push(pb::members::Member::Worker(
                self.worker_part(request.clone()).await,
            ));
        }
        let members = members.into_iter().map(|member| pb::Members {
            member: Some(member),
        });
        Ok(pb::ListMemberResponse {
            result: true,
            msg: String::new(),
            members: members.collect(),
        })
    }

    fn master_part(
        &self,
        doors: &[MemberStatus],
        chosen: impl Fn(&str) -> bool,
    ) -> pb::ListMasterMember {
        let master = |door: &MemberStatus| {
            let urls: Vec<String> = (!door.addr.is_empty())
                .then(|| format!("{}://{}", self.scheme, door.addr))
                .into_iter()
                .collect();
            pb::MasterInfo {
                name: door.name.clone(),
                member_id: door.member_id,
                alive: door.health() == Health::Serving,
                peer_ur_ls: urls.clone(),
                client_ur_ls: urls,
            }
        };
        let masters = doors.iter().filter(|door| chosen(&door.name)).map(master);
        pb::ListMasterMember {
            msg: String::new(),
            masters: masters.collect(),
        }
    }

    /// A scheduler that does not answer costs this part only.
    async fn worker_part(&self, request: pb::ListMemberRequest) -> pb::ListWorkerMember {
        let listed = async { self.scheduler().await?.list_workers(request).await };
        match listed.await {
            Ok(workers) => workers.into_inner(),
            Err(status) => pb::ListWorkerMember {
                msg: status.message().to_owned(),
                workers: Vec::new(),
            },
        }
    }

    pub(super) async fn offline(
        &self,
        request: pb::OfflineMemberRequest,
    ) -> Result<pb::OfflineMemberResponse, Status> {
        match request.r#type.as_str() {
            "worker" => {
                let mut scheduler = self.scheduler().await?;
                Ok(scheduler.offline_worker(request).await?.into_inner())
            }
            "master" => Ok(offline_answer(self.offline_master(&request.name).await?)),
            other => Ok(offline_answer(Err(DmError::new(
                Code::MASTER_INVALID_OFFLINE_TYPE,
                &[&other],
            )))),
        }
    }

    /// One that lives is not removed: it would only come back. Of a dead one there may be left the keys on its lease, until that
    /// runs out, and its eviction.
    async fn offline_master(&self, name: &str) -> Result<Result<(), DmError>, Status> {
        let doors = self
            .election
            .member_statuses(&[Role::Election], true)
            .await?;
        let Some(door) = doors.iter().find(|door| door.name == name) else {
            return Ok(Err(DmError::new(
                Code::MASTER_MASTER_NAME_NOT_EXIST,
                &[&name],
            )));
        };
        if door.health() != Health::Refused {
            let text = match door.health() {
                Health::TimedOut => format!(
                    "member {name} at {} may be alive: {}; its lease runs out by itself if it is not",
                    door.addr, door.reason
                ),
                _ => format!(
                    "member {name} at {} is alive; stop its process first, or use operate-leader evict",
                    door.addr
                ),
            };
            return Ok(Err(DmError::uncoded(text)));
        }
        self.election.end_lease(Role::Election, name).await?;
        self.election
            .set_evicted(Role::Election, name, false)
            .await?;
        Ok(Ok(()))
    }

    pub(super) async fn operate_leader(
        &self,
        request: pb::OperateLeaderRequest,
    ) -> Result<pb::OperateLeaderResponse, Status> {
        let done = match request.op() {
            pb::LeaderOp::EvictLeaderOp => self.election.evict_all_leaders().await,
            pb::LeaderOp::CancelEvictLeaderOp => self.election.cancel_all_evictions().await,
            pb::LeaderOp::InvalidLeaderOp => Err(Status::invalid_argument(format!(
                "operate {} is not supported; allowed are EvictLeaderOp and CancelEvictLeaderOp",
                request.op
            ))),
        };
        let msg = done.err().map(|status| status.message().to_owned());
        Ok(pb::OperateLeaderResponse {
            result: msg.is_none(),
            msg: msg.unwrap_or_default(),
        })
    }

    /// The configuration of the door called `name`, asked of that door.
    async fn master_cfg(&self, name: &str) -> Result<pb::GetCfgResponse, Status> {
        let (doors, _) = self.election.doors().await?;
        let Some((_, addr)) = doors.into_iter().find(|(door, _)| door == name) else {
            let msg = DmError::new(Code::MASTER_MASTER_NAME_NOT_EXIST, &[&name]).to_string();
            return Ok(pb::GetCfgResponse {
                result: false,
                msg,
                cfg: String::new(),
            });
        };
        let cfg = if name == self.name {
            self.configuration.clone()
        } else {
            let mut other = pb::master_client::MasterClient::new(self.channels.to(&addr)?);
            other
                .get_master_cfg(pb::GetMasterCfgRequest {})
                .await?
                .into_inner()
                .cfg
        };
        Ok(pb::GetCfgResponse {
            result: true,
            msg: String::new(),
            cfg,
        })
    }
}

fn leader_part(doors: &[MemberStatus], chosen: impl Fn(&str) -> bool) -> pb::ListLeaderMember {
    match doors.iter().find(|door| door.is_leader) {
        Some(leader) if chosen(&leader.name) => pb::ListLeaderMember {
            msg: String::new(),
            name: leader.name.clone(),
            addr: leader.addr.clone(),
        },
        Some(_) => pb::ListLeaderMember::default(),
        None => pb::ListLeaderMember {
            msg: "there is no leader at the moment".to_owned(),
            ..Default::default()
        },
    }
}

fn offline_answer(outcome: Result<(), DmError>) -> pb::OfflineMemberResponse {
    match outcome {
        Ok(()) => pb::OfflineMemberResponse {
            result: true,
            msg: String::new(),
        },
        Err(e) => pb::OfflineMemberResponse {
            result: false,
            msg: e.to_string(),
        },
    }
}

/// The settings in force, as TOML. There is no secret among them: keys are named by file.
fn configuration(common: &Common) -> String {
    let list = |items: &[String]| {
        items
            .iter()
            .map(|item| format!("{item:?}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    format!(
        "name = {:?}\nlisten = {:?}\nadvertise-addr = {:?}\netcd-endpoints = [{}]\nlease-ttl = \"{:?}\"\nmax-txn-ops = {}\nlog-level = {:?}\n",
        common.name,
        common.listen,
        common.advertise_addr,
        list(&common.etcd_endpoints),
        common.lease_ttl,
        common.max_txn_ops,
        common.log_level,
    )
}

/// `pb.Master/ListMember`.
pub(super) async fn list_member(
    State(door): State<Door>,
    request: Request<Body>,
) -> Response<Body> {
    unary::answer(request, move |message| {
        let door = door.clone();
        async move { door.list(message).await }
    })
    .await
}

/// `pb.Master/OfflineMember`.
pub(super) async fn offline_member(
    State(door): State<Door>,
    request: Request<Body>,
) -> Response<Body> {
    unary::answer(request, move |message| {
        let door = door.clone();
        async move { door.offline(message).await }
    })
    .await
}

/// `pb.Master/OperateLeader`.
pub(super) async fn operate_leader(
    State(door): State<Door>,
    request: Request<Body>,
) -> Response<Body> {
    unary::answer(request, move |message| {
        let door = door.clone();
        async move { door.operate_leader(message).await }
    })
    .await
}

/// `pb.Master/GetMasterCfg`: this door's own.
pub(super) async fn get_master_cfg(
    State(door): State<Door>,
    request: Request<Body>,
) -> Response<Body> {
    unary::answer(request, move |_: pb::GetMasterCfgRequest| {
        let cfg = door.configuration.clone();
        async move { Ok(pb::GetMasterCfgResponse { cfg }) }
    })
    .await
}

/// `pb.Master/GetCfg`: a master's from that master, everything else from the scheduler.
pub(super) async fn get_cfg(State(door): State<Door>, request: Request<Body>) -> Response<Body> {
    unary::answer(request, move |message: pb::GetCfgRequest| {
        let door = door.clone();
        async move {
            if message.r#type() == pb::CfgType::MasterType {
                return door.master_cfg(&message.name).await;
            }
            let mut scheduler = door.scheduler().await?;
            Ok(scheduler.get_cfg(message).await?.into_inner())
        }
    })
    .await
}
