//! The loop that every service is: feed, fold, decide, commit.
//!
//! A [`Replica`] owns a pure [`Machine`]. It folds the feed of `/dm-` into it, asks it what the state
//! calls for, and, if and only if it leads its role, commits that, fenced by its [`Term`]. Standbys
//! do everything but the commit, so a takeover needs no reload: the proposals are already there.
//!
//! ```text
//!   etcd ──feed──▶ fold ──▶ Machine::decide ──▶ wanted ──(leads?)──▶ commit, fenced ──▶ etcd
//!                   │                                                   ▲
//!                   └──▶ Line (who leads, who is next) ──▶ Term ────────┘
//! ```
//!
//! Handlers talk to it through a [`Handle`]: reads see the fold, writes are validated against it,
//! committed, and answered when the feed has brought them back.
//!
//! What is deliberately absent: a flag that says "I am the leader" which somebody could read late.
//! Leadership is a [`Term`] to present with each write, and a local deadline for everything else.

mod audit;
mod commit;
mod handle;
mod line;
mod machine;
mod pack;
mod probe;
mod replica;
mod session;
mod status;

pub use handle::{Handle, Plan, Refused, WriteError};
pub use line::{Candidate, Line, LineFault, MemberEntry, Term};
pub use machine::{Decision, Machine, Proposal, ProposedPut, ProposedValue, Subject, TracedValue};
pub use replica::{Replica, Settings};
pub use status::{Observer, Stats, Status};
