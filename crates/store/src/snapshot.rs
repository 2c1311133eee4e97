//! Reading: one key, or a whole range at one revision.

use bytes::Bytes;
use dm_keyspace::LeaseId;
use etcd_client::{GetOptions, GetResponse};

use crate::connect::{PAUSE, Store, TRIES};
use crate::error::Error;
use crate::types::{KeyRange, KeyValue, Revision, Snapshot};

impl Store {
    /// The present state of one key.
    ///
    /// # Errors
    /// When etcd does not answer.
    pub async fn get(&self, key: impl Into<Vec<u8>>) -> Result<Option<KeyValue>, Error> {
        self.get_at(key, Revision::ZERO).await
    }

    /// The state that one key had at `revision` (now, if zero).
    ///
    /// # Errors
    /// [`Error::Compacted`] when the history does not reach back that far.
    pub async fn get_at(
        &self,
        key: impl Into<Vec<u8>>,
        revision: Revision,
    ) -> Result<Option<KeyValue>, Error> {
        let options = GetOptions::new().with_revision(revision.0);
        let (snapshot, _) = self.page(key.into(), options, revision).await?;
        Ok(snapshot.entries.into_iter().next())
    }

    /// Everything in `range`, read in pages that all show the same revision.
    ///
    /// # Errors
    /// [`Error::Compacted`] when the history was cut while paging; asking again starts at a newer revision.
    pub async fn snapshot(&self, range: &KeyRange) -> Result<Snapshot, Error> {
        self.snapshot_at(range, Revision::ZERO).await
    }

    /// Everything that was in `range` at `revision` (now, if zero).
    ///
    /// # Errors
    /// [`Error::Compacted`] when the history does not reach back that far, or was cut while paging.
    pub async fn snapshot_at(
        &self,
        range: &KeyRange,
        revision: Revision,
    ) -> Result<Snapshot, Error> {
        let mut start = range.start().to_vec();
        let mut all = Snapshot {
            revision,
            entries: Vec::new(),
        };
        loop {
            let mut options = GetOptions::new()
                .with_limit(self.options.page)
                .with_revision(all.revision.0);
            if let Some(end) = range.end() {
                options = options.with_range(end);
            }
            let (page, more) = self.page(start, options, all.revision).await?;
            // Later pages answer with the store's newest revision; the first one names the snapshot's.
            if all.revision == Revision::ZERO {
                all.revision = page.revision;
            }
            all.entries.extend(page.entries);
            match all.entries.last() {
                Some(last) if more => {
                    start = last.key.to_vec();
                    start.push(0);
                }
                _ => return Ok(all),
            }
        }
    }

    /// Forgets the history before `revision`.
    ///
    /// # Errors
    /// When etcd does not answer, or has forgotten it already.
    pub async fn compact(&self, revision: Revision) -> Result<(), Error> {
        let mut kv = self.kv.clone();
        self.call("Compact", kv.compact(revision.0, None))
            .await
            .map(drop)
    }

    async fn page(
        &self,
        key: Vec<u8>,
        options: GetOptions,
        asked: Revision,
    ) -> Result<(Snapshot, bool), Error> {
        let answer = self.range(&key, &options).await;
        let mut answer = answer.map_err(|e| match e {
            Error::Unavailable { message, .. } | Error::Refused { message, .. }
                if message.contains("compacted") =>
            {
                Error::Compacted { asked }
            }
            other => other,
        })?;
        let more = answer.more();
        let revision = Revision(
            answer
                .header()
                .map_or(0, etcd_client::ResponseHeader::revision),
        );
        let entries = answer.take_kvs().into_iter().map(from_client).collect();
        Ok((Snapshot { revision, entries }, more))
    }
}

impl Store {
    /// One page; a read may be repeated when the connection was not there.
    async fn range(&self, key: &[u8], options: &GetOptions) -> Result<GetResponse, Error> {
        for _ in 1..TRIES {
            let mut kv = self.kv.clone();
            match self.call("Range", kv.get(key, Some(options.clone()))).await {
                Err(Error::Unavailable { message, .. }) if !message.contains("compacted") => {
                    tracing::debug!(message, "repeated");
                }
                answer => return answer,
            }
            tokio::time::sleep(PAUSE).await;
        }
        let mut kv = self.kv.clone();
        self.call("Range", kv.get(key, Some(options.clone()))).await
    }
}

/// The client's key-value in our terms.
pub(crate) fn from_client(kv: etcd_client::KeyValue) -> KeyValue {
    let create_revision = Revision(kv.create_revision());
    let mod_revision = Revision(kv.mod_revision());
    let version = kv.version();
    let lease = LeaseId(kv.lease());
    let (key, value) = kv.into_key_value();
    KeyValue {
        key: Bytes::from(key),
        value: Bytes::from(value),
        create_revision,
        mod_revision,
        version,
        lease,
    }
}
