//! election-svc.
