//! One port: gRPC over HTTP/2, plain HTTP over HTTP/1 or 2, with or without TLS.
//!
//! The port is open from the start, before the service has connected to anything, so that `/healthz` and `/readyz` tell what it is waiting for.
//! Its own routes come later, with [`App`]; until then gRPC calls get `UNAVAILABLE`.

mod accept;
mod app;
mod routes;

pub use app::App;

pub(crate) use accept::Acceptor;
pub(crate) use routes::{Front, Status};
