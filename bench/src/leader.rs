//! Who leads a role, above all the coordination of shard DDLs, and how it is asked to stop: natively where the leader is of this project,
//! by `OperateLeader` where it is a master of DM's own.

use dm_keyspace::{Campaign, DmCampaignKey, LeaderKey, Member, MemberKey, Role};
use dm_proto::member::member_client::MemberClient;
use dm_proto::member::{DescribeRequest, DescribeResponse, ResignRequest};
use dm_proto::pb;
use dm_proto::pb::master_client::MasterClient;
use dm_store::{KeyRange, KeyValue, Store};

use crate::world::channel;
use crate::{Error, Result};

/// A leader as its key in etcd names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The key, which goes with the lead.
    pub key: Vec<u8>,
    /// Its name.
    pub name: String,
    /// Its address.
    pub addr: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A service with this role.
    Ours(Role),
    /// A master that does everything.
    Dm,
}

impl Leader {
    /// The present one of the pessimistic locks.
    ///
    /// # Errors
    /// When nobody leads.
    pub async fn find(store: &Store) -> Result<Self> {
        Self::find_of(store, Role::Pessimist).await
    }

    /// The present one of a role.
    ///
    /// # Errors
    /// When nobody leads.
    pub async fn find_of(store: &Store, role: Role) -> Result<Self> {
        let lines = [
            (LeaderKey::prefix_of_role(role), Kind::Ours(role)),
            (DmCampaignKey::PREFIX.to_owned(), Kind::Dm),
        ];
        for (prefix, kind) in lines {
            let line = store.snapshot(&KeyRange::prefix(prefix)).await;
            let mut line = line.map_err(Error::etcd("look for the leader"))?.entries;
            line.retain(|kv| kind != Kind::Dm || DmCampaignKey::parse(&kv.key).is_ok());
            if let Some(first) = line.iter().min_by_key(|kv| kv.create_revision) {
                return Self::of(first, kind);
            }
        }
        Err(Error::Wrong("nobody leads".to_owned()))
    }

    fn of(kv: &KeyValue, kind: Kind) -> Result<Self> {
        let campaign = Campaign::from_bytes(&kv.value)
            .map_err(|e| Error::Wrong(format!("the leader's record: {e}")))?;
        Ok(Self {
            key: kv.key.to_vec(),
            name: campaign.id.as_str().to_owned(),
            addr: bare_addr(&campaign.addr),
            kind,
        })
    }

    /// What all keys of the line begin with.
    #[must_use]
    pub fn line(&self) -> KeyRange {
        KeyRange::prefix(match self.kind {
            Kind::Ours(role) => LeaderKey::prefix_of_role(role),
            Kind::Dm => DmCampaignKey::PREFIX.to_owned(),
        })
    }

    /// Asks it to give the lead up.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn resign(&self) -> Result<()> {
        match self.kind {
            Kind::Ours(_) => {
                let mut member = MemberClient::new(channel(&self.addr)?);
                let answer = member.resign(ResignRequest {}).await;
                let was_leader = answer
                    .map_err(Error::call("Resign"))?
                    .into_inner()
                    .was_leader;
                was_leader
                    .then_some(())
                    .ok_or_else(|| Error::Wrong(format!("{} says that it did not lead", self.name)))
            }
            Kind::Dm => self.operate(pb::LeaderOp::EvictLeaderOp).await,
        }
    }

    /// Lets it stand in line again after [`Leader::resign`]; one of ours does so by itself.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn rejoin(&self) -> Result<()> {
        match self.kind {
            Kind::Ours(_) => Ok(()),
            Kind::Dm => self.operate(pb::LeaderOp::CancelEvictLeaderOp).await,
        }
    }

    async fn operate(&self, op: pb::LeaderOp) -> Result<()> {
        let mut master = MasterClient::new(channel(&self.addr)?);
        let request = pb::OperateLeaderRequest { op: op.into() };
        let answer = master.operate_leader(request).await;
        let answer = answer.map_err(Error::call("OperateLeader"))?.into_inner();
        if answer.result {
            Ok(())
        } else {
            Err(Error::call("OperateLeader")(answer.msg))
        }
    }
}

/// The replicas of a role that have registered; none where the master is DM's own.
///
/// # Errors
/// When etcd does not answer, or a record cannot be read.
pub async fn members(store: &Store, role: Role) -> Result<Vec<Member>> {
    let found = store
        .snapshot(&KeyRange::prefix(MemberKey::prefix_of_role(role)))
        .await;
    let found = found.map_err(Error::etcd("look for members"))?;
    let read = |kv: &KeyValue| Member::from_bytes(&kv.value);
    let members = found
        .entries
        .iter()
        .map(read)
        .collect::<std::result::Result<_, _>>();
    members.map_err(|e| Error::Wrong(format!("a member's record: {e}")))
}

/// What a replica says of itself.
///
/// # Errors
/// When it does not answer.
pub async fn describe(addr: &str) -> Result<DescribeResponse> {
    let mut member = MemberClient::new(channel(addr)?);
    let answer = member.describe(DescribeRequest {}).await;
    Ok(answer
        .map_err(Error::call(format!("describe {addr}")))?
        .into_inner())
}

/// DM's campaigns may name their addresses with a scheme.
fn bare_addr(addr: &str) -> String {
    let without = addr.split_once("://").map_or(addr, |(_, rest)| rest);
    without.to_owned()
}
