//! The whole system, of the real programs: what a user does, and what may happen to it meanwhile.
//!
//! Starting a cluster takes seconds, so a test is a story of several steps on one cluster, and clusters run one at a time.

#![expect(
    clippy::unwrap_used,
    reason = "a test says that it cannot go on by failing"
)]

#[path = "e2e/bad_input.rs"]
mod bad_input;
#[path = "e2e/demo.rs"]
mod demo;
#[path = "e2e/failover.rs"]
mod failover;
#[path = "e2e/network.rs"]
mod network;
#[path = "e2e/optimist.rs"]
mod optimist;
#[path = "e2e/pessimist.rs"]
mod pessimist;
#[path = "e2e/ten_ddls.rs"]
mod ten_ddls;
#[path = "e2e/unlock.rs"]
mod unlock;
