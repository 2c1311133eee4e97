//! Simulated workers: all that a master can see of a DM worker, and nothing else. They have no database behind them; a
//! statement is executed in no time.

mod fleet;
mod participant;

pub use fleet::Fleet;
pub use participant::{Participant, Reported, Told};
