//! The contract between the in-memory etcd and a real one: see `tests/etcd`. Every case is run
//! on both; what no case covers, no test may rely on.
