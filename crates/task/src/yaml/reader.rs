//! Reading a mapping into a struct, field by field: every problem is collected with its line, so that a user sees
//! all of them at once, and the keys asked for are what an unknown key is answered with.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Entry, Node, Value, parse_bool, parse_int};

/// Problems found so far, and the line of every key read, by its path (`mysql-instances[0].source-id`).
#[derive(Debug, Default)]
pub(crate) struct Issues {
    problems: Vec<(usize, String)>,
    pub(crate) lines: BTreeMap<String, usize>,
}

impl Issues {
    /// Notes a problem at a line.
    pub(crate) fn add(&mut self, line: usize, text: impl Into<String>) {
        self.problems.push((line, text.into()));
    }

    /// All problems in one text, by line, or none.
    pub(crate) fn report(&self) -> Option<String> {
        let mut sorted: Vec<&(usize, String)> = self.problems.iter().collect();
        sorted.sort();
        sorted.dedup();
        let lines: Vec<String> = sorted
            .iter()
            .map(|(line, text)| format!("\n  line {line}: {text}"))
            .collect();
        (!lines.is_empty()).then(|| format!("yaml: unmarshal errors:{}", lines.concat()))
    }
}

/// A mapping that is read into the Go type `type_name`.
pub(crate) struct Map<'a> {
    entries: &'a [Entry],
    type_name: &'static str,
    path: String,
    asked: Vec<&'static str>,
    pub(crate) issues: &'a mut Issues,
}

impl<'a> Map<'a> {
    /// Reads `node` with `read` if it is a mapping; a null is an empty one, anything else is a problem. Afterwards
    /// every key that `read` has not asked for is one, too.
    pub(crate) fn read<T: Default>(
        node: &'a Node,
        path: String,
        type_name: &'static str,
        issues: &'a mut Issues,
        read: impl FnOnce(&mut Map<'_>) -> T,
    ) -> T {
        let entries: &[Entry] = match &node.value {
            Value::Map(entries) => entries,
            _ if node.is_null() => &[],
            _ => {
                issues.add(
                    node.line,
                    format!("cannot unmarshal {} into {type_name}", node.describe()),
                );
                return T::default();
            }
        };
        let mut map = Map {
            entries,
            type_name,
            path,
            asked: Vec::new(),
            issues,
        };
        let value = read(&mut map);
        map.finish();
        value
    }

    fn finish(self) {
        let mut seen = BTreeSet::new();
        for Entry { key, line, .. } in self.entries {
            if !self.asked.contains(&key.as_str()) {
                let allowed = self.asked.join(", ");
                let text = format!(
                    "field {key} not found in type {} (allowed: {allowed})",
                    self.type_name
                );
                self.issues.add(*line, text);
            } else if !seen.insert(key) {
                self.issues.add(
                    *line,
                    format!("field {key} already set in type {}", self.type_name),
                );
            }
        }
    }

    fn child_path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The value of a key, if it is there.
    fn get(&mut self, key: &'static str) -> Option<Rc<Node>> {
        self.asked.push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        let path = self.child_path(key);
        self.issues.lines.insert(path, entry.line);
        Some(Rc::clone(&entry.value))
    }

    fn wrong(&mut self, node: &Node, into: &str) {
        self.issues.add(
            node.line,
            format!("cannot unmarshal {} into {into}", node.describe()),
        );
    }

    /// A key read by `parse`; null gives the zero value, a refused text is a problem that names what is expected.
    fn scalar<T: Default>(
        &mut self,
        key: &'static str,
        slot: &mut T,
        into: &str,
        parse: impl Fn(&str, bool) -> Option<T>,
    ) {
        let Some(node) = self.get(key) else { return };
        match &node.value {
            _ if node.is_null() => *slot = T::default(),
            Value::Scalar { text, plain } => match parse(text, *plain) {
                Some(value) => *slot = value,
                None => self.wrong(&node, &format!("{into} (key {key})")),
            },
            _ => self.wrong(&node, &format!("{into} (key {key})")),
        }
    }

    /// A text; any scalar is taken with its source text.
    pub(crate) fn string(&mut self, key: &'static str, slot: &mut String) {
        self.scalar(key, slot, "string", |text, _| Some(text.to_owned()));
    }

    /// A text wrapped in a type of ours.
    pub(crate) fn text<T: Default + From<String>>(&mut self, key: &'static str, slot: &mut T) {
        self.scalar(key, slot, "string", |text, _| {
            Some(T::from(text.to_owned()))
        });
    }

    /// A boolean in the spellings of YAML 1.1, unquoted.
    pub(crate) fn bool(&mut self, key: &'static str, slot: &mut bool) {
        self.scalar(
            key,
            slot,
            "bool, one of true, false, yes, no, on, off",
            |text, plain| parse_bool(text).filter(|_| plain),
        );
    }

    /// An unquoted whole number that fits its type.
    pub(crate) fn int<T: Default + TryFrom<i128>>(&mut self, key: &'static str, slot: &mut T) {
        let into = std::any::type_name::<T>();
        self.scalar(key, slot, into, |text, plain| {
            parse_int(text)
                .filter(|_| plain)
                .and_then(|n| T::try_from(n).ok())
        });
    }

    /// A whole number that may be null.
    pub(crate) fn optional_int(&mut self, key: &'static str, slot: &mut Option<i64>) {
        self.scalar(key, slot, "int", |text, plain| {
            parse_int(text)
                .filter(|_| plain)
                .and_then(|n| i64::try_from(n).ok())
                .map(Some)
        });
    }

    /// An unquoted number.
    pub(crate) fn float(&mut self, key: &'static str, slot: &mut f64) {
        self.scalar(key, slot, "float64", |text, plain| {
            text.replace('_', "").parse().ok().filter(|_| plain)
        });
    }

    /// A text with a form of its own, such as a duration.
    pub(crate) fn parsed<T: Default>(
        &mut self,
        key: &'static str,
        slot: &mut T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) {
        let Some(node) = self.get(key) else { return };
        match &node.value {
            _ if node.is_null() => *slot = T::default(),
            Value::Scalar { text, .. } => match parse(text) {
                Ok(value) => *slot = value,
                Err(error) => self.issues.add(node.line, format!("key {key}: {error}")),
            },
            _ => self.wrong(&node, &format!("string (key {key})")),
        }
    }

    /// A list, whose elements `item` reads; null gives none.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        into: &str,
        mut item: impl FnMut(&Node, String, &mut Issues) -> Option<T>,
    ) -> Option<Vec<T>> {
        let node = self.get(key)?;
        let Value::List(nodes) = &node.value else {
            if !node.is_null() {
                self.wrong(&node, &format!("{into} (key {key})"));
            }
            return None;
        };
        let path = self.child_path(key);
        let read = |(i, node): (usize, &Rc<Node>)| {
            let path = format!("{path}[{i}]");
            self.issues.lines.insert(path.clone(), node.line);
            item(node, path, self.issues)
        };
        Some(nodes.iter().enumerate().filter_map(read).collect())
    }

    /// A list of texts.
    pub(crate) fn strings(&mut self, key: &'static str, slot: &mut Option<Vec<String>>) {
        *slot = self
            .list(key, "[]string", |node, _, issues| scalar_text(node, issues))
            .or(slot.take());
    }

    /// A list of numbers from 0 to 255.
    pub(crate) fn bytes(&mut self, key: &'static str, slot: &mut Option<Vec<u8>>) {
        let read = self.list(key, "[]uint8", |node, _, issues| {
            let byte = match &node.value {
                Value::Scalar { text, plain: true } => {
                    parse_int(text).and_then(|n| u8::try_from(n).ok())
                }
                _ => None,
            };
            if byte.is_none() {
                issues.add(
                    node.line,
                    format!("cannot unmarshal {} into uint8", node.describe()),
                );
            }
            byte
        });
        *slot = read.or(slot.take());
    }

    /// A mapping read by `item`; absent and null give none.
    pub(crate) fn table<T: Default>(
        &mut self,
        key: &'static str,
        type_name: &'static str,
        read: impl FnOnce(&mut Map<'_>) -> T,
    ) -> Option<T> {
        let node = self.get(key)?;
        if node.is_null() {
            return None;
        }
        let path = self.child_path(key);
        Some(Map::read(&node, path, type_name, self.issues, read))
    }

    /// A mapping that always exists: it is left as it is when absent and zeroed by null.
    pub(crate) fn section<T: Default>(
        &mut self,
        key: &'static str,
        type_name: &'static str,
        slot: &mut T,
        read: impl FnOnce(&mut Map<'_>, &mut T),
    ) {
        let Some(node) = self.get(key) else { return };
        if node.is_null() {
            *slot = T::default();
            return;
        }
        let path = self.child_path(key);
        let mut value = std::mem::take(slot);
        Map::read(&node, path, type_name, self.issues, |map| {
            read(map, &mut value)
        });
        *slot = value;
    }

    /// A mapping from names to values that `item` reads, in the order of the file.
    pub(crate) fn named<T>(
        &mut self,
        key: &'static str,
        into: &str,
        mut item: impl FnMut(&Node, String, &mut Issues) -> Option<T>,
    ) -> Option<BTreeMap<String, T>> {
        let node = self.get(key)?;
        let Value::Map(entries) = &node.value else {
            if !node.is_null() {
                self.wrong(&node, &format!("{into} (key {key})"));
            }
            return None;
        };
        let path = self.child_path(key);
        let mut all = BTreeMap::new();
        for Entry {
            key: name,
            line,
            value,
        } in entries
        {
            let path = format!("{path}.{name}");
            self.issues.lines.insert(path.clone(), *line);
            let Some(read) = item(value, path, self.issues) else {
                continue;
            };
            if all.insert(name.clone(), read).is_some() {
                self.issues
                    .add(*line, format!("key \"{name}\" already set in map"));
            }
        }
        Some(all)
    }

    /// A mapping from names to texts.
    pub(crate) fn string_map(
        &mut self,
        key: &'static str,
        slot: &mut Option<BTreeMap<String, String>>,
    ) {
        *slot = self
            .named(key, "map[string]string", |node, _, issues| {
                scalar_text(node, issues)
            })
            .or(slot.take());
    }

    /// A key that is looked at as it stands.
    pub(crate) fn raw(&mut self, key: &'static str) -> Option<Rc<Node>> {
        self.get(key)
    }
}

fn scalar_text(node: &Node, issues: &mut Issues) -> Option<String> {
    match &node.value {
        _ if node.is_null() => Some(String::new()),
        Value::Scalar { text, .. } => Some(text.clone()),
        _ => {
            issues.add(
                node.line,
                format!("cannot unmarshal {} into string", node.describe()),
            );
            None
        }
    }
}
