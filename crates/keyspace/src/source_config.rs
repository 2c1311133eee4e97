//! Where the configurations of sources lie. The value is TOML text, whose rules are those of task configuration
//! and not of this crate; it holds passwords in clear text and must not be logged.

use crate::{SourceId, macros::key_family};

key_family! {
    /// `/dm-master/v2/upstream/config/<source>` -> the source's configuration, TOML.
    /// Workers read it at the revision of the bound that refers to it.
    SourceConfigKey = "/dm-master/v2/upstream/config/", "UpstreamConfigKeyAdapter", Hex {
        /// The source that is configured.
        source: SourceId,
    }
}

key_family! {
    /// `/dm-master/upstream/config/{source}` -> the same in clusters before version 3, name in plain text.
    SourceConfigV1Key = "/dm-master/upstream/config/", "UpstreamConfigKeyAdapterV1", Plain {
        /// The source that is configured.
        source: SourceId,
    }
}
