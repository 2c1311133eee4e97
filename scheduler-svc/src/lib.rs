//! scheduler-svc.
