//! scheduler-svc: binds every source to a living worker, and keeps subtasks and their stages where they belong.
//!
//! - [`machine`]: what is known and what it calls for; pure.

pub mod machine;
