//! A cursor over bytes that answers an error, and never panics, when they end too early.

/// Why bytes could not be decoded.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes ended inside a value.
    #[error("binlog event ends inside {0}")]
    Short(&'static str),
    /// The bytes are of a kind that is not supported.
    #[error("binlog event is not supported: {0}")]
    Unsupported(String),
    /// The rows were written under another structure than the one that is tracked.
    #[error("Column count doesn't match value count: {columns} (columns) vs {values} (values)")]
    ColumnCount {
        /// Columns of the tracked structure.
        columns: usize,
        /// Values of each row.
        values: usize,
    },
    /// The bytes contradict themselves or the tracked structure.
    #[error("binlog event does not fit: {0}")]
    Mismatch(String),
}

/// Bytes not yet read.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the beginning.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all is read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        if len > self.rest.len() {
            return Err(DecodeError::Short(what));
        }
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(taken)
    }

    /// One byte.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(self.take(1, what)?[0])
    }

    /// An unsigned number of `len` bytes (8 at most), lowest first.
    pub fn le(&mut self, len: usize, what: &'static str) -> Result<u64, DecodeError> {
        let bytes = self.take(len, what)?;
        Ok(bytes.iter().rev().fold(0, |n, b| (n << 8) | u64::from(*b)))
    }

    /// An unsigned number of `len` bytes (8 at most), highest first.
    pub fn be(&mut self, len: usize, what: &'static str) -> Result<u64, DecodeError> {
        let bytes = self.take(len, what)?;
        Ok(bytes.iter().fold(0, |n, b| (n << 8) | u64::from(*b)))
    }

    /// A number of the protocol's variable length.
    pub fn length_encoded(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        match self.u8(what)? {
            0xfc => self.le(2, what),
            0xfd => self.le(3, what),
            0xfe => self.le(8, what),
            small => Ok(u64::from(small)),
        }
    }

    /// A length of the protocol's variable form, as a size in memory.
    pub fn length(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        usize::try_from(self.length_encoded(what)?).map_err(|_| DecodeError::Short(what))
    }
}

/// Bit `at` of a bitmap, lowest bit of the lowest byte first; `false` beyond its end.
pub fn bit(bitmap: &[u8], at: usize) -> bool {
    bitmap
        .get(at / 8)
        .is_some_and(|byte| byte & (1 << (at % 8)) != 0)
}
