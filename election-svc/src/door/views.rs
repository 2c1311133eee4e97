//! Who leads each role, as this door's own fold sees it, in the form that routing takes.

use std::collections::BTreeMap;

use dm_keyspace::Role;
use dm_replica::Handle;
use dm_service::{Context, LeaderView, OnExit};
use tokio::sync::watch;

use crate::machine::Cluster;

/// The leader of each role, as it changes.
#[derive(Clone, Debug)]
pub(crate) struct Views {
    leaders: BTreeMap<Role, watch::Receiver<LeaderView>>,
    handle: Handle<Cluster>,
}

impl Views {
    /// Follows the fold of `handle` until the process stops.
    pub(crate) fn follow(ctx: &Context, handle: Handle<Cluster>) -> Self {
        let (senders, receivers): (BTreeMap<_, _>, BTreeMap<_, _>) = Role::ALL
            .into_iter()
            .map(|role| {
                let (sender, receiver) = watch::channel(LeaderView::Unknown);
                ((role, sender), (role, receiver))
            })
            .unzip();
        let views = Self {
            leaders: receivers,
            handle: handle.clone(),
        };
        ctx.spawn("follow the leaders", OnExit::Fatal, async move {
            let mut status = handle.status();
            loop {
                status.borrow_and_update();
                if let Ok(leaders) = handle.read_stale(|cluster, _| leaders(cluster)).await {
                    for (role, view) in leaders {
                        if let Some(sender) = senders.get(&role) {
                            sender.send_if_modified(|old| {
                                std::mem::replace(old, view.clone()) != view
                            });
                        }
                    }
                }
                if status.changed().await.is_err() {
                    return;
                }
            }
        });
        views
    }

    /// The leader of one role.
    pub(crate) fn of(&self, role: Role) -> watch::Receiver<LeaderView> {
        self.leaders
            .get(&role)
            .cloned()
            .unwrap_or_else(|| watch::channel(LeaderView::Unknown).1)
    }
}

impl Views {
    /// The address of any living replica of a role, the leader's if there is one.
    pub(crate) async fn anyone(&self, role: Role) -> Option<String> {
        let found = self.handle.read_stale(move |cluster, _| {
            let line = cluster.line(role)?;
            let leader = line.leader().map(|leader| leader.campaign.addr.clone());
            let member = || Some(line.members().next()?.1.member.addr.clone());
            leader.or_else(member)
        });
        found.await.ok().flatten()
    }
}

/// A door never takes itself for the goal: what it routes belongs to another service.
fn leaders(cluster: &Cluster) -> Vec<(Role, LeaderView)> {
    let view = |line: &dm_replica::Line| match line.leader() {
        Some(leader) => LeaderView::Other {
            addr: leader.campaign.addr.clone(),
        },
        None => LeaderView::Unknown,
    };
    cluster
        .lines()
        .map(|line| (line.role(), view(line)))
        .collect()
}
