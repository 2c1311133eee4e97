//! Key ranges as etcd's requests write them: a key, and an end that may be empty or one zero byte.

use std::collections::BTreeMap;
use std::ops::Bound;

/// A single key, or all keys from one up to another, or all from one on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: Vec<u8>,
    end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Single,
    Before(Vec<u8>),
    Open,
}

impl Span {
    /// Reads the two fields of a request.
    pub(crate) fn new(key: &[u8], range_end: &[u8]) -> Self {
        let end = match range_end {
            [] => End::Single,
            [0] => End::Open,
            end => End::Before(end.to_vec()),
        };
        Self {
            start: key.to_vec(),
            end,
        }
    }

    /// Whether the key lies in the range.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Single => key == self.start,
            End::Before(end) => key >= self.start.as_slice() && key < end.as_slice(),
            End::Open => key >= self.start.as_slice(),
        }
    }

    /// Whether no key at all can lie in the range.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.end, End::Before(end) if *end <= self.start)
    }

    /// The entries of a map whose keys lie in the range, in order.
    pub(crate) fn of<'a, V>(
        &self,
        map: &'a BTreeMap<Vec<u8>, V>,
    ) -> impl Iterator<Item = (&'a Vec<u8>, &'a V)> {
        let end = match &self.end {
            // An inverted range makes BTreeMap::range panic; one that ends where it starts does not.
            _ if self.is_empty() => Bound::Excluded(&self.start),
            End::Single => Bound::Included(&self.start),
            End::Before(end) => Bound::Excluded(end),
            End::Open => Bound::Unbounded,
        };
        map.range::<Vec<u8>, _>((Bound::Included(&self.start), end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(span: &Span) -> Vec<u8> {
        let map: BTreeMap<Vec<u8>, ()> = [b"a", b"b", b"c"].map(|key| (key.to_vec(), ())).into();
        span.of(&map).map(|(key, ())| key[0]).collect()
    }

    #[test]
    fn the_end_decides_what_a_range_is() {
        assert_eq!(keys(&Span::new(b"b", b"")), b"b");
        assert_eq!(keys(&Span::new(b"a", b"c")), b"ab");
        assert_eq!(keys(&Span::new(b"b", b"\0")), b"bc");
        assert_eq!(keys(&Span::new(b"c", b"a")), b"");
        assert_eq!(keys(&Span::new(b"b", b"b")), b"");
    }
}
