//! dmctl.
