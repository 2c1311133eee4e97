//! Schemas counted: most tables of a lock share one of few, so what is joined and compared are those few.

use std::sync::Arc;

use dm_schema::lattice::Schema;
use dm_schema::table_info::TableInfo;

/// A schema as it is compared. Equal ones compare as equal and the other way round.
pub(super) type Shape = Arc<Schema>;

/// What a table's JSON says, without the AUTO_INCREMENT base, which shards do not share.
pub(super) fn shape(json: &str) -> Result<Shape, String> {
    let info = TableInfo::from_json(json).map_err(|e| e.to_string())?;
    Ok(Arc::new(Schema::of(&info).without_auto_increment_base()))
}

/// A multiset of schemas.
#[derive(Clone, Debug, Default)]
pub(super) struct Shapes(Vec<(Shape, usize)>);

impl Shapes {
    /// Counts one more, and gives the copy that all equal ones share.
    pub(super) fn add(&mut self, shape: &Shape) -> Shape {
        if let Some((known, count)) = self.0.iter_mut().find(|(known, _)| is_same(known, shape)) {
            *count += 1;
            return known.clone();
        }
        self.0.push((shape.clone(), 1));
        shape.clone()
    }

    /// Counts one less.
    pub(super) fn remove(&mut self, shape: &Shape) {
        if let Some(at) = self.0.iter().position(|(known, _)| is_same(known, shape)) {
            self.0[at].1 -= 1;
            if self.0[at].1 == 0 {
                self.0.swap_remove(at);
            }
        }
    }

    /// The join of all, if there is one.
    pub(super) fn join(&self) -> Option<Schema> {
        join(self.iter().map(Arc::as_ref))
    }

    /// Each distinct schema once.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Shape> {
        self.0.iter().map(|(shape, _)| shape)
    }

    /// How many are equal to `schema`, and how many are not.
    pub(super) fn equal_and_not(&self, schema: &Schema) -> (usize, usize) {
        self.0.iter().fold((0, 0), |(equal, not), (shape, count)| {
            if **shape == *schema {
                (equal + count, not)
            } else {
                (equal, not + count)
            }
        })
    }
}

/// The join of some schemas, if they can be joined and there are any.
pub(super) fn join<'a>(schemas: impl IntoIterator<Item = &'a Schema>) -> Option<Schema> {
    Schema::join_all(schemas).ok().flatten()
}

fn is_same(a: &Shape, b: &Shape) -> bool {
    Arc::ptr_eq(a, b) || a == b
}
