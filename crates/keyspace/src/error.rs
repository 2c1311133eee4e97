//! Why a key or a value could not be read. Texts name the place, never the content of a value.

/// A key that its family cannot decode. The text is DM's, with code 11110.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("fail to decode etcd key: {key}")]
pub struct KeyError {
    /// The key as text; bytes that are not UTF-8 are shown as U+FFFD.
    pub key: String,
    /// What is wrong with it.
    #[source]
    pub fault: KeyFault,
}

impl KeyError {
    /// DM's number for this error, `ErrDecodeEtcdKeyFail`.
    pub const CODE: u32 = 11110;

    pub(crate) fn new(key: &[u8], fault: KeyFault) -> Self {
        Self {
            key: String::from_utf8_lossy(key).into_owned(),
            fault,
        }
    }

    /// DM's number for this error, for callers that ask every error alike.
    pub const fn code(&self) -> u32 {
        Self::CODE
    }
}

/// What keeps a key from being decoded.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyFault {
    /// There is nothing to decode.
    #[error("the key is empty")]
    Empty,
    /// The key belongs to another family.
    #[error("the key does not begin with {0}")]
    Prefix(&'static str),
    /// Too many or too few parts between slashes.
    #[error("segment count {found}, want {expected}")]
    SegmentCount {
        /// How many the key has.
        found: usize,
        /// How many the family has.
        expected: usize,
    },
    /// A part that is not hex digits.
    #[error("segment {0} is not hex")]
    NotHex(usize),
    /// A part that would be hex, with a digit missing.
    #[error("segment {0} is odd length hex")]
    OddHex(usize),
    /// The hex is right but the bytes behind it are no text; a Go program would take them.
    #[error("segment {0} is not UTF-8")]
    NotUtf8(usize),
    /// A name of no length, which cannot be written back under the same key.
    #[error("segment {0} is empty")]
    EmptySegment(usize),
    /// The part that names a service is none of the four.
    #[error(transparent)]
    Role(#[from] crate::UnknownRole),
    /// The part that names a lease is not in the one form that is written.
    #[error("`{0}` is not a lease id in hex")]
    Lease(String),
}

/// A value that its record cannot take.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("bad {record}: {fault}")]
pub struct ValueError {
    /// The kind of record, in DM's words.
    pub record: &'static str,
    /// What is wrong with it.
    pub fault: ValueFault,
}

impl ValueError {
    pub(crate) const fn new(record: &'static str, fault: ValueFault) -> Self {
        Self { record, fault }
    }
}

/// What keeps a value from being decoded.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ValueFault {
    /// No JSON at all; the text says where it stops being JSON.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// JSON, but of another kind than this record is.
    #[error("the value must be {0}")]
    Kind(&'static str),
    /// One member has a value of the wrong kind.
    #[error("member `{member}` must be {expected}")]
    Member {
        /// The member's name.
        member: &'static str,
        /// What may stand there.
        expected: &'static str,
    },
    /// Plain text that is no text.
    #[error("the value is not UTF-8")]
    NotUtf8,
    /// Raw bytes of another length; for the cluster id DM's error 38057.
    #[error("the value has {found} bytes, want {expected}")]
    Length {
        /// How many bytes there are.
        found: usize,
        /// How many there must be.
        expected: usize,
    },
}
