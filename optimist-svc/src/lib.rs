//! optimist-svc.
