//! Every case of `etcd-keys.json`, `etcd-values.json` and the `unit` part of `pessimism.json`.
//! `DM_VECTORS` names another folder to take them from.

mod vectors {
    mod keys;
    mod pessimism;
    mod support;
    mod values;
}
