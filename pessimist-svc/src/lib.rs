//! pessimist-svc.
