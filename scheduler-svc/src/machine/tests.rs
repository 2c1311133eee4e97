//! What the machine does with the cases of the behaviour list (section 11 of the scheduler's description); each
//! test names the cases that it covers.

mod binding;
mod conflicts;
mod property;
mod recovery;
mod relay;
mod sources;
mod starts;
mod tasks;
mod transfer;
mod workers;
mod world;
