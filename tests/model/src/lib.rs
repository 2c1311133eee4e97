//! Exhaustive exploration of the services' machines: the machines themselves, in a small world whose every order of
//! steps, within a stated bound, is tried.
//!
//! - [`pessimist`]: sources that bring the same DDLs to a coordinator that is replaced, loses its watch, and whose
//!   transactions come late or twice; that leave and join meanwhile, and whose locks an operator unlocks.
//! - [`election`]: members that queue for a lead, pause, lose their lease, and write with the fence of a term.

pub mod digest;
pub mod election;
pub mod etcd;
pub mod pessimist;
