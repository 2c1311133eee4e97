//! The behaviour of shard-DDL locks, case by case. The numbers in the names are those of the list of cases that the
//! behaviour vectors were made from; 53 (not
//! leading), 64, 65 and 69 are answers of the API and are tested with it, 70 belongs to query-status and so to the scheduler.

mod crossing;
mod joining;
mod odd;
mod recovery;
mod rounds;
mod showing;
mod stage;
mod starting;
mod unlocking;
#[path = "../support/world.rs"]
mod world;
