//! The service as its callers see it: real gRPC, real replicas, an etcd in memory, workers that only say what
//! they are told in etcd, and a real MariaDB where a database is asked.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "api/calls.rs"]
mod calls;
#[path = "api/cases.rs"]
mod cases;
#[path = "api/configs.rs"]
mod configs;
#[path = "api/every_key.rs"]
mod every_key;
#[path = "api/faults.rs"]
mod faults;
#[path = "api/hung.rs"]
mod hung;
#[path = "api/kit.rs"]
mod kit;
#[path = "api/precheck.rs"]
mod precheck;
#[path = "api/relay.rs"]
mod relay;
#[path = "api/roles.rs"]
mod roles;
#[path = "api/routes.rs"]
mod routes;
#[path = "api/sources.rs"]
mod sources;
#[path = "api/status.rs"]
mod status;
#[path = "api/tasks.rs"]
mod tasks;
#[path = "api/transfer.rs"]
mod transfer;
#[path = "api/validation.rs"]
mod validation;
#[path = "api/workers.rs"]
mod workers;
