//! dm-replica.
