//! The process harness that all services share: configuration, telemetry, TLS, gRPC and HTTP on one port, health, ordered shutdown.
//!
//! A service's `main.rs` is one call of [`main`]; what the service does stands in the closure it gives. Nothing here knows what any service is for;
//! only [`replicated`] knows that the four of the control plane are replicas of a role on one etcd.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | defaults, file, environment, flags; refusals that name their origin |
//! | [`clock`] | the only place that reads a clock |
//! | [`telemetry`], [`metrics`], [`trace`] | logs, spans, figures; trace context between processes |
//! | [`server`] | one port: routes, health, reflection, TLS, accept loop |
//! | [`layers`] | what every request passes through, and in which order |
//! | [`client`] | channels to other services and to workers |
//! | [`context`] | what a running service holds: tasks, hooks, readiness |
//! | [`process`], [`shutdown`] | from arguments to exit code |

pub mod client;
pub mod clock;
pub mod config;
pub mod context;
pub mod layers;
pub mod metrics;
pub mod process;
pub mod readiness;
pub mod replicated;
pub mod server;
pub mod shutdown;
pub mod telemetry;
pub mod tls;

/// Trace context between processes; usable without this crate as `dm-trace`.
pub use dm_trace as trace;

pub use config::{Common, Nothing, Section, Settings};
pub use context::{Context, OnExit};
pub use layers::forward::LeaderView;
pub use process::{BoxError, main, run};
pub use server::App;
