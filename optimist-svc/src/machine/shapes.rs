//! Schemas counted: most tables of a lock share one of few, so what is joined and compared are those few.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, Weak};

use dm_schema::lattice::Schema;
use dm_schema::table_info::{TableInfo, counted_text};

/// A schema as it is compared, with its hash, so that unequal ones are told apart at a glance. Equal ones compare as equal
/// and the other way round.
#[derive(Debug)]
pub(super) struct Class {
    hash: u64,
    schema: Schema,
}

impl Class {
    fn new(schema: Schema) -> Self {
        // Its keys are constants: the same in every process.
        let mut hasher = DefaultHasher::new();
        schema.hash(&mut hasher);
        let hash = hasher.finish();
        Self { hash, schema }
    }
}

impl PartialEq for Class {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (self.hash == other.hash && self.schema == other.schema)
    }
}

impl Eq for Class {}

impl Deref for Class {
    type Target = Schema;

    fn deref(&self) -> &Schema {
        &self.schema
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.schema.fmt(f)
    }
}

/// A shared schema.
pub(super) type Shape = Arc<Class>;

/// Texts that are remembered, of a task; the schemas of most of its tables are described by one of a few.
const TEXTS: usize = 256;

/// The one copy of each schema that a task's tables have or had not long ago.
#[derive(Debug, Default)]
pub(super) struct Interner {
    by_hash: BTreeMap<u64, Vec<Weak<Class>>>,
    /// So many entries are there before those are looked for that nobody has any more.
    limit: usize,
    /// What was read already, by the part of a table's JSON that the schema is made of: reading it anew is most of the cost of an info.
    by_text: BTreeMap<String, Weak<Class>>,
}

impl Interner {
    /// What a table's JSON says, without the AUTO_INCREMENT base, which shards do not share.
    pub(super) fn read(&mut self, json: &str) -> Result<Shape, String> {
        let text = counted_text(json).map_err(|e| e.to_string())?;
        if let Some(known) = self.by_text.get(&text).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let shape = self.read_anew(json)?;
        if self.by_text.len() >= TEXTS {
            self.by_text.clear();
        }
        self.by_text.insert(text, Arc::downgrade(&shape));
        Ok(shape)
    }

    fn read_anew(&mut self, json: &str) -> Result<Shape, String> {
        let info = TableInfo::from_json(json).map_err(|e| e.to_string())?;
        let class = Class::new(Schema::of(&info).without_auto_increment_base());
        let known = self.by_hash.entry(class.hash).or_default();
        let same = known
            .iter()
            .filter_map(Weak::upgrade)
            .find(|k| **k == class);
        if let Some(same) = same {
            return Ok(same);
        }
        let shape = Arc::new(class);
        known.push(Arc::downgrade(&shape));
        self.tidy();
        Ok(shape)
    }

    fn tidy(&mut self) {
        if self.by_hash.len() <= self.limit {
            return;
        }
        self.by_hash.retain(|_, known| {
            known.retain(|shape| shape.strong_count() > 0);
            !known.is_empty()
        });
        self.limit = 64.max(2 * self.by_hash.len());
    }
}

/// How many joins of sets of schemas are remembered: before and after the last changes.
const REMEMBERED: usize = 6;

/// The join of a set of schemas, if there is one.
type Joined = Option<Arc<Schema>>;

/// A multiset of schemas.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    by_hash: BTreeMap<u64, Vec<(Shape, usize)>>,
    classes: usize,
    /// Joins of sets that were asked for last.
    remembered: VecDeque<(Vec<Shape>, Joined)>,
    /// Schemas that were looked at so far, to find, to join or to compare.
    pub(super) work: u64,
}

impl Shapes {
    /// Counts one more, and gives the copy that all equal ones share.
    pub(super) fn add(&mut self, shape: &Shape) -> Shape {
        let known = self.by_hash.entry(shape.hash).or_default();
        self.work += 1;
        if let Some((known, count)) = known.iter_mut().find(|(known, _)| known == shape) {
            *count += 1;
            return known.clone();
        }
        known.push((shape.clone(), 1));
        self.classes += 1;
        shape.clone()
    }

    /// Counts one less.
    pub(super) fn remove(&mut self, shape: &Shape) {
        self.work += 1;
        let Some(known) = self.by_hash.get_mut(&shape.hash) else {
            return;
        };
        let Some(at) = known.iter().position(|(known, _)| known == shape) else {
            return;
        };
        known[at].1 -= 1;
        if known[at].1 == 0 {
            known.swap_remove(at);
            self.classes -= 1;
            if known.is_empty() {
                self.by_hash.remove(&shape.hash);
            }
        }
    }

    fn count(&self, shape: &Shape) -> usize {
        let known = self.by_hash.get(&shape.hash).into_iter().flatten();
        let mut same = known.filter(|(known, _)| known == shape);
        same.next().map_or(0, |(_, count)| *count)
    }

    /// Each distinct schema once.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Shape> {
        self.by_hash.values().flatten().map(|(shape, _)| shape)
    }

    /// Whether all are equal, and so equal to their join. There is at least one.
    pub(super) fn is_uniform(&self) -> bool {
        self.classes == 1
    }

    /// The join of all, if there is one.
    pub(super) fn join(&self) -> Joined {
        let set: Vec<Shape> = self.iter().cloned().collect();
        match self
            .remembered
            .iter()
            .find(|(known, _)| is_same(known, &set))
        {
            Some((_, joined)) => joined.clone(),
            None => join(set.iter().map(schema)).map(Arc::new),
        }
    }

    /// The same, remembered for the next time.
    pub(super) fn joined(&mut self) -> Joined {
        let set = self.iter().cloned().collect();
        self.join_of(set)
    }

    /// The join of all, had one that is `own` been `other`.
    pub(super) fn joined_with(&mut self, own: Option<&Shape>, other: &Shape) -> Joined {
        let mut set = self.others(own);
        if let Err(at) = set.binary_search_by_key(&other.hash, |shape| shape.hash) {
            set.insert(at, other.clone());
        } else if !set.contains(other) {
            set.push(other.clone());
        }
        self.join_of(set)
    }

    /// Each distinct schema once, of all but one that is `own`.
    pub(super) fn others(&mut self, own: Option<&Shape>) -> Vec<Shape> {
        self.work += self.classes as u64;
        let alone = own.filter(|own| self.count(own) == 1);
        let others = self.iter().filter(|shape| Some(*shape) != alone);
        others.cloned().collect()
    }

    /// Each distinct schema with its number, in a fixed order.
    #[cfg(test)]
    pub(super) fn counts(&self) -> BTreeMap<u64, usize> {
        let all = self.by_hash.values().flatten();
        all.map(|(shape, count)| (shape.hash, *count)).collect()
    }

    fn join_of(&mut self, set: Vec<Shape>) -> Joined {
        self.work += set.len() as u64;
        let known = self.remembered.iter();
        let at = known
            .into_iter()
            .position(|(known, _)| is_same(known, &set));
        if let Some(found) = at.and_then(|at| self.remembered.remove(at)) {
            let joined = found.1.clone();
            self.remembered.push_front(found);
            return joined;
        }
        self.work += set.len() as u64;
        let joined = join(set.iter().map(schema)).map(Arc::new);
        self.remembered.push_front((set, joined.clone()));
        self.remembered.truncate(REMEMBERED);
        joined
    }
}

fn schema(shape: &Shape) -> &Schema {
    shape
}

/// The join of some schemas, if they can be joined and there are any.
pub(super) fn join<'a>(schemas: impl IntoIterator<Item = &'a Schema>) -> Option<Schema> {
    Schema::join_all(schemas).ok().flatten()
}

/// Whether two sets, each in the same order, are the same.
fn is_same(a: &[Shape], b: &[Shape]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b)
}

/// A pair of schemas, and how often it is there.
type Counted = (Shape, Shape, usize);

/// A multiset of what waiting tables have and want: normal and conflict schema.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    by_hash: BTreeMap<(u64, u64), Vec<Counted>>,
}

impl Pairs {
    pub(super) fn add(&mut self, normal: &Shape, conflict: &Shape) {
        let same = self
            .by_hash
            .entry((normal.hash, conflict.hash))
            .or_default();
        match same
            .iter_mut()
            .find(|(n, c, _)| n == normal && c == conflict)
        {
            Some((_, _, count)) => *count += 1,
            None => same.push((normal.clone(), conflict.clone(), 1)),
        }
    }

    pub(super) fn remove(&mut self, normal: &Shape, conflict: &Shape) {
        let key = (normal.hash, conflict.hash);
        let Some(same) = self.by_hash.get_mut(&key) else {
            return;
        };
        if let Some(at) = same
            .iter()
            .position(|(n, c, _)| n == normal && c == conflict)
        {
            same[at].2 -= 1;
            if same[at].2 == 0 {
                same.swap_remove(at);
            }
        }
        if same.is_empty() {
            self.by_hash.remove(&key);
        }
    }

    /// Each distinct pair with its number, in a fixed order.
    #[cfg(test)]
    pub(super) fn counts(&self) -> BTreeMap<(u64, u64), usize> {
        let all = self.by_hash.values().flatten();
        all.map(|(n, c, count)| ((n.hash, c.hash), *count))
            .collect()
    }

    /// Each distinct pair once.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Shape, &Shape)> {
        let pairs = self.by_hash.values().flatten();
        pairs.map(|(normal, conflict, _)| (normal, conflict))
    }
}

#[cfg(test)]
mod tests {
    use dm_schema::Options;
    use dm_schema::create_table::{Defaults, read_create_table};

    use super::*;

    fn json(columns: &str) -> String {
        let create = format!("CREATE TABLE t (id INT PRIMARY KEY{columns})");
        let info = read_create_table(&create, &Options::default(), &Defaults::default());
        info.unwrap().to_json()
    }

    #[test]
    fn equal_schemas_are_kept_once_and_none_that_nobody_has() {
        let mut interner = Interner::default();
        let one = interner.read(&json(", a INT")).unwrap();
        let same = interner.read(&json(", a INT")).unwrap();
        assert!(Arc::ptr_eq(&one, &same));
        for number in 0..1_000 {
            interner.read(&json(&format!(", c{number} INT"))).unwrap();
        }
        assert!(interner.by_hash.len() < 200, "{}", interner.by_hash.len());
        assert!(interner.by_text.len() <= TEXTS);
        let again = interner.read(&json(", a INT")).unwrap();
        assert!(Arc::ptr_eq(&one, &again));
    }

    #[test]
    fn two_descriptions_of_one_schema_are_one() {
        let mut interner = Interner::default();
        let json = json(", a INT");
        let one = interner.read(&json).unwrap();
        // An id counts for nothing, yet stands in the text of a column.
        let other = json.replacen(r#""id":1"#, r#""id":7"#, 1);
        assert_ne!(json, other);
        assert!(Arc::ptr_eq(&one, &interner.read(&other).unwrap()));
    }

    #[test]
    fn remembered_join_is_that_of_the_set_at_hand() {
        let mut interner = Interner::default();
        let mut read = |columns: &str| interner.read(&json(columns)).unwrap();
        let (none, a, b) = (read(""), read(", a INT"), read(", a TEXT"));
        let mut shapes = Shapes::default();
        shapes.add(&none);
        shapes.add(&a);
        let both = shapes.joined();
        assert_eq!(both.as_deref(), Some(schema(&a)));
        assert_eq!(shapes.joined_with(Some(&none), &b), None);
        assert_eq!(
            shapes.joined_with(Some(&a), &b).as_deref(),
            Some(schema(&b))
        );
        assert_eq!(shapes.joined(), both);
        let before = shapes.work;
        shapes.joined();
        assert_eq!(
            shapes.work - before,
            2,
            "the two are found to be known, and not joined"
        );
        shapes.remove(&a);
        assert_eq!(
            (shapes.joined().as_deref(), shapes.is_uniform()),
            (Some(schema(&none)), true)
        );
    }
}
