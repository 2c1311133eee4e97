//! Which worker serves which source.

use crate::{
    SourceId, WorkerName,
    macros::{key_family, record},
};

key_family! {
    /// `/dm-master/bound-worker/<worker>` -> the source that the worker serves.
    /// Written by the scheduler, read by workers. A worker refuses a put over a different bound: the delete
    /// comes at an earlier revision.
    BoundKey = "/dm-master/bound-worker/", "UpstreamBoundWorkerKeyAdapter", Hex {
        /// The worker that serves.
        worker: WorkerName,
    }
}

key_family! {
    /// `/dm-master/last-bound-worker/<worker>` -> the source that the worker served last. Stays when the
    /// bound goes, so that the source can come back to a worker that still has its files.
    LastBoundKey = "/dm-master/last-bound-worker/", "UpstreamLastBoundWorkerKeyAdapter", Hex {
        /// The worker that served.
        worker: WorkerName,
    }
}

record! {
    /// The value of both keys, put in one transaction.
    Bound as "source bound" {
        /// What is served.
        source: SourceId = "source",
        /// Who serves it; the same name as in the key.
        worker: WorkerName = "worker",
    }
}

impl Bound {
    /// A record without members of others.
    pub fn new(source: impl Into<SourceId>, worker: impl Into<WorkerName>) -> Self {
        Self {
            source: source.into(),
            worker: worker.into(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_members_survive_a_read_and_a_write() {
        let value = br#"{"Source":"s","hint":{"b":1.50,"a":[ ]},"worker":"w","x":"<","hint":2}"#;
        let bound = Bound::from_bytes(value).unwrap();
        assert_eq!(bound.extra.get("hint").map(|json| json.get()), Some("2"));
        assert_eq!(
            String::from_utf8_lossy(&bound.to_bytes()),
            r#"{"source":"s","worker":"w","hint":2,"x":"\u003c"}"#
        );
        assert_eq!(
            bound.to_canonical_bytes(),
            br#"{"source":"s","worker":"w"}"#
        );
    }

    #[test]
    fn a_later_null_does_not_undo_a_name() {
        let bound = Bound::from_bytes(br#"{"source":"s","source":null}"#).unwrap();
        assert_eq!(bound, Bound::new("s", ""));
    }

    #[test]
    fn a_member_of_the_wrong_kind_is_named() {
        let error = Bound::from_bytes(br#"{"worker":7}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bad source bound: member `worker` must be a string"
        );
    }
}
