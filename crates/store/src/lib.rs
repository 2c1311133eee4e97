//! dm-store.
