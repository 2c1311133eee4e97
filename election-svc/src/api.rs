//! `dm.election.v1.Election`: who is there, who leads, and how to change it, for all four roles.
//!
//! Any replica answers, from its own fold: a cluster without a leader can be looked at and repaired. Orders
//! (evictions, transfers) are keys that each member acts on by itself, so they are put without a fence.

use std::collections::BTreeSet;
use std::time::Duration;

use dm_keyspace::{Eviction, EvictionKey, MemberName, Role, Transfer, TransferKey};
use dm_proto::election as pb;
use dm_proto::member::Leader;
use dm_replica::{Handle, Line};
use dm_service::client::Channels;
use dm_service::replicated::{role_of_proto, role_to_proto};
use dm_store::{KeyRange, Store};
use futures::future::join_all;
use tonic::{Request, Response, Status};

use crate::health;
use crate::machine::Cluster;

/// How long a caller waits for its order to show.
const SEEN_LIMIT: Duration = Duration::from_secs(10);

/// Answers from the fold of this replica.
#[derive(Clone)]
pub(crate) struct Service {
    handle: Handle<Cluster>,
    store: Store,
    channels: Channels,
}

/// A stable number for a name, as DM's clients know masters by (64-bit FNV-1a).
pub(crate) fn member_id(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn unavailable(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

fn role(number: i32) -> Result<Role, Status> {
    role_of_proto(number).ok_or_else(|| {
        let allowed = Role::ALL
            .map(|role| format!("{} = {role}", role_to_proto(role) as i32))
            .join(", ");
        Status::invalid_argument(format!(
            "role {number} does not exist; allowed are {allowed}"
        ))
    })
}

fn roles(numbers: &[i32]) -> Result<Vec<Role>, Status> {
    if numbers.is_empty() {
        Ok(Role::ALL.to_vec())
    } else {
        numbers.iter().map(|n| role(*n)).collect()
    }
}

impl Service {
    pub(crate) fn new(handle: Handle<Cluster>, store: Store, channels: Channels) -> Self {
        Self {
            handle,
            store,
            channels,
        }
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Cluster) -> T + Send + 'static,
    ) -> Result<T, Status> {
        self.handle
            .read_stale(|cluster, _| look(cluster))
            .await
            .map_err(unavailable)
    }

    /// Name and address of every living door, and the cluster's id (0 while it has none).
    pub(crate) async fn doors(&self) -> Result<(Vec<(String, String)>, u64), Status> {
        self.look(|cluster| {
            let members = cluster
                .line(Role::Election)
                .into_iter()
                .flat_map(Line::members);
            let doors = members
                .map(|(name, entry)| (name.to_string(), entry.member.addr.clone()))
                .collect();
            (doors, cluster.id().map_or(0, |id| id.0))
        })
        .await
    }

    /// Members of the roles, by role and name, with their health if `probe`.
    pub(crate) async fn member_statuses(
        &self,
        roles: &[Role],
        probe: bool,
    ) -> Result<Vec<pb::MemberStatus>, Status> {
        let roles = roles.to_vec();
        let known = self.look(move |cluster| {
            roles
                .iter()
                .filter_map(|r| cluster.line(*r))
                .flat_map(statuses)
                .collect::<Vec<_>>()
        });
        let mut members = known.await?;
        if probe {
            let answers = join_all(
                members
                    .iter()
                    .map(|member| health::probe(&self.channels, &member.addr)),
            )
            .await;
            for (member, (health, reason)) in members.iter_mut().zip(answers) {
                member.set_health(health);
                member.reason = reason;
            }
        }
        Ok(members)
    }

    /// Puts or deletes an eviction; answers whether that changed anything.
    pub(crate) async fn set_evicted(
        &self,
        role: Role,
        name: &str,
        evict: bool,
    ) -> Result<bool, Status> {
        let name = MemberName::from(name);
        let key = EvictionKey {
            role,
            name: name.clone(),
        }
        .encode();
        let seen = name.clone();
        let (was, known) = self
            .look(move |c| (is_evicted(c, role, &seen), members_of(c, role)))
            .await?;
        if evict && !was && !known.contains(name.as_str()) {
            let known: Vec<String> = known.into_iter().collect();
            return Err(Status::not_found(format!(
                "no member {name} of {role}; its members are: {}",
                known.join(", ")
            )));
        }
        if evict {
            self.store
                .put(key, Eviction::new(name.clone()).to_bytes(), None)
                .await
                .map_err(unavailable)?;
        } else {
            self.store
                .delete(KeyRange::key(key))
                .await
                .map_err(unavailable)?;
        }
        let shown = move |c: &Cluster| {
            let line = c.line(role)?;
            let out = !evict
                || line
                    .candidates()
                    .all(|candidate| candidate.campaign.id != name);
            (line.evicted().contains(&name) == evict && out).then_some(())
        };
        match self
            .handle
            .wait_until(SEEN_LIMIT, shown)
            .await
            .map_err(unavailable)?
        {
            Some(()) => Ok(was != evict),
            None => Err(Status::deadline_exceeded(
                "the order is in etcd, but the member has not followed it yet",
            )),
        }
    }

    /// Ends the lease of a member whose process is gone, and waits until none of its keys is left. One that has none is no error.
    pub(crate) async fn end_lease(&self, role: Role, name: &str) -> Result<(), Status> {
        let name = MemberName::from(name);
        let lease_of = {
            let name = name.clone();
            move |c: &Cluster| {
                let mut members = c.line(role)?.members();
                members
                    .find(|(member, _)| **member == name)
                    .map(|(_, entry)| entry.lease)
            }
        };
        let Some(lease) = self.look(lease_of.clone()).await? else {
            return Ok(());
        };
        tracing::info!(%name, %lease, "ending the lease of a member that is gone");
        self.store.revoke(lease).await.map_err(unavailable)?;
        let gone = move |c: &Cluster| (lease_of(c) != Some(lease)).then_some(());
        let seen = self.handle.wait_until(SEEN_LIMIT, gone).await;
        seen.map_err(unavailable)?.ok_or_else(|| {
            Status::deadline_exceeded("the lease is ended, but its keys are still to be seen")
        })
    }

    /// Evicts whoever leads any of the roles.
    pub(crate) async fn evict_all_leaders(&self) -> Result<(), Status> {
        let leaders = self.look(|c| {
            let leader = |line: &Line| Some((line.role(), line.leader()?.campaign.id.clone()));
            c.lines().filter_map(leader).collect::<Vec<_>>()
        });
        self.set_all(leaders.await?, true).await
    }

    /// Takes back every eviction.
    pub(crate) async fn cancel_all_evictions(&self) -> Result<(), Status> {
        let evicted = self.look(|c| {
            let of = |line: &Line| {
                line.evicted()
                    .iter()
                    .map(|name| (line.role(), name.clone()))
                    .collect::<Vec<_>>()
            };
            c.lines().flat_map(of).collect::<Vec<_>>()
        });
        self.set_all(evicted.await?, false).await
    }

    async fn set_all(&self, members: Vec<(Role, MemberName)>, evict: bool) -> Result<(), Status> {
        let orders = members
            .iter()
            .map(|(role, name)| self.set_evicted(*role, name.as_str(), evict));
        join_all(orders)
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map(drop)
    }

    /// Makes a member of the line its head.
    async fn transfer(&self, role: Role, to: MemberName) -> Result<Leader, Status> {
        let line = self.look(move |c| names_in_line(c, role)).await?;
        if !line.contains(to.as_str()) {
            let line: Vec<String> = line.into_iter().collect();
            return Err(Status::not_found(format!(
                "no member {to} in the line of {role}; in line are: {}",
                line.join(", ")
            )));
        }
        let key = TransferKey { role }.encode();
        self.store
            .put(key, Transfer::new(to.clone()).to_bytes(), None)
            .await
            .map_err(unavailable)?;
        let leads =
            move |c: &Cluster| leader_of(c.line(role)?).filter(|leader| leader.name == to.as_str());
        match self
            .handle
            .wait_until(SEEN_LIMIT, leads)
            .await
            .map_err(unavailable)?
        {
            Some(leader) => Ok(leader),
            None => Err(Status::deadline_exceeded(
                "the order is in etcd, but the chosen member does not lead yet",
            )),
        }
    }
}

fn names_in_line(cluster: &Cluster, role: Role) -> BTreeSet<String> {
    let line = cluster.line(role).into_iter().flat_map(Line::candidates);
    line.map(|candidate| candidate.campaign.id.to_string())
        .collect()
}

fn is_evicted(cluster: &Cluster, role: Role, name: &MemberName) -> bool {
    let line = cluster.line(role);
    line.is_some_and(|line| line.evicted().contains(name))
}

/// The registered and those in line, by name.
fn members_of(cluster: &Cluster, role: Role) -> BTreeSet<String> {
    let members = cluster.line(role).into_iter().flat_map(Line::members);
    let mut names = names_in_line(cluster, role);
    names.extend(members.map(|(name, _)| name.to_string()));
    names
}

fn leader_of(line: &Line) -> Option<Leader> {
    let leader = line.leader()?;
    let term = line.term().map(|term| dm_proto::member::Term {
        key: String::from_utf8_lossy(&term.key).into_owned(),
        create_revision: term.create_revision.0,
    });
    Some(Leader {
        role: role_to_proto(line.role()).into(),
        name: leader.campaign.id.to_string(),
        addr: leader.campaign.addr.clone(),
        term,
    })
}

/// The members of one line, and those who are evicted and not there.
fn statuses(line: &Line) -> Vec<pb::MemberStatus> {
    let names: BTreeSet<&MemberName> = line
        .members()
        .map(|(name, _)| name)
        .chain(line.evicted())
        .collect();
    let status = |name: &&MemberName| {
        let entry = line
            .members()
            .find(|(member, _)| member == name)
            .map(|(_, entry)| entry);
        let place = line
            .candidates()
            .position(|candidate| candidate.campaign.id == **name);
        pb::MemberStatus {
            role: role_to_proto(line.role()).into(),
            name: name.to_string(),
            addr: entry.map(|e| e.member.addr.clone()).unwrap_or_default(),
            is_leader: place == Some(0),
            evicted: line.evicted().contains(*name),
            health: pb::Health::Unspecified.into(),
            reason: String::new(),
            position: place.map_or(0, |p| u32::try_from(p + 1).unwrap_or(u32::MAX)),
            member_id: member_id(name.as_str()),
            version: entry.map(|e| e.member.version.clone()).unwrap_or_default(),
        }
    };
    names.iter().map(status).collect()
}

#[tonic::async_trait]
impl pb::election_server::Election for Service {
    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        let request = request.into_inner();
        let mut members = self
            .member_statuses(&roles(&request.roles)?, !request.skip_health)
            .await?;
        members.retain(|member| request.names.is_empty() || request.names.contains(&member.name));
        let revision = self.handle.status().borrow().applied.0;
        Ok(Response::new(pb::ListMembersResponse { members, revision }))
    }

    async fn get_leaders(
        &self,
        request: Request<pb::GetLeadersRequest>,
    ) -> Result<Response<pb::GetLeadersResponse>, Status> {
        let roles = roles(&request.into_inner().roles)?;
        let read = self.handle.read_stale(move |cluster, at| {
            let leaders = roles
                .iter()
                .filter_map(|role| leader_of(cluster.line(*role)?))
                .collect();
            pb::GetLeadersResponse {
                leaders,
                revision: at.0,
            }
        });
        read.await.map(Response::new).map_err(unavailable)
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        let request = request.into_inner();
        let leader = self
            .transfer(role(request.role)?, MemberName::from(request.to))
            .await?;
        Ok(Response::new(pb::TransferLeaderResponse {
            leader: Some(leader),
        }))
    }

    async fn evict(
        &self,
        request: Request<pb::EvictRequest>,
    ) -> Result<Response<pb::EvictResponse>, Status> {
        let request = request.into_inner();
        let changed = self
            .set_evicted(role(request.role)?, &request.name, true)
            .await?;
        Ok(Response::new(pb::EvictResponse { changed }))
    }

    async fn cancel_evict(
        &self,
        request: Request<pb::CancelEvictRequest>,
    ) -> Result<Response<pb::CancelEvictResponse>, Status> {
        let request = request.into_inner();
        let changed = self
            .set_evicted(role(request.role)?, &request.name, false)
            .await?;
        Ok(Response::new(pb::CancelEvictResponse { changed }))
    }

    async fn get_cluster(
        &self,
        _: Request<pb::GetClusterRequest>,
    ) -> Result<Response<pb::GetClusterResponse>, Status> {
        let (id, version) = self
            .look(|c| (c.id(), c.version().map(|v| v.internal_no)))
            .await?;
        let cluster_id = id.map_err(|reason| {
            Status::failed_precondition(
                dm_errors::DmError::new(dm_errors::Code::MASTER_INVALID_CLUSTER_ID, &[&reason])
                    .to_string(),
            )
        })?;
        let version = version.map(|v| v.to_string()).unwrap_or_default();
        Ok(Response::new(pb::GetClusterResponse {
            cluster_id: cluster_id.0,
            version,
        }))
    }
}
