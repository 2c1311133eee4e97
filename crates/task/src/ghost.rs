//! Tables that tools for online schema changes (gh-ost, pt-online-schema-change) make beside the one that they change, known by their names.

use regex::Regex;

use crate::SubtaskConfig;
use crate::pattern::regex_of;

/// What a table's name says about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Part {
    /// An ordinary table.
    Real,
    /// The copy that is changed and takes the place of the real table, whose name this is, in the end.
    Shadow(String),
    /// What remains of the real table, or helps the tool; nothing of it counts.
    Trash,
}

/// The rules of one subtask; without `online-ddl` every table is a real one.
#[derive(Clone, Debug, Default)]
pub struct Ghosts {
    shadow: Vec<Regex>,
    trash: Vec<Regex>,
}

impl Ghosts {
    /// Compiles the rules of a subtask that was adjusted; bad ones were refused then.
    pub fn new(config: &SubtaskConfig) -> Self {
        if !config.online_ddl {
            return Self::default();
        }
        let compiled = |rules: &[String]| {
            let regexes = rules.iter().filter_map(|rule| regex_of(rule, true).ok());
            regexes.collect()
        };
        Self {
            shadow: compiled(&config.shadow_table_rules),
            trash: compiled(&config.trash_table_rules),
        }
    }

    /// What a table is.
    pub fn part(&self, table: &str) -> Part {
        if self.trash.iter().any(|rule| rule.is_match(table)) {
            return Part::Trash;
        }
        let mut shadows = self.shadow.iter().filter_map(|rule| rule.captures(table));
        let real = shadows.find_map(|found| Some(found.get(1)?.as_str().to_owned()));
        real.map_or(Part::Real, Part::Shadow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_the_tools_give_are_known_unless_it_is_switched_off() {
        let mut config = SubtaskConfig {
            name: "t".into(),
            source_id: "s".into(),
            online_ddl: true,
            ..SubtaskConfig::default()
        };
        config.adjust().unwrap();
        let ghosts = Ghosts::new(&config);
        for (table, part) in [
            ("t", Part::Real),
            ("t_new", Part::Real),
            ("_t_gho", Part::Shadow("t".to_owned())),
            ("_t_new", Part::Shadow("t".to_owned())),
            ("__t_new", Part::Shadow("_t".to_owned())),
            ("_t_ghc", Part::Trash),
            ("_t_del", Part::Trash),
            ("_t_old", Part::Trash),
        ] {
            assert_eq!(ghosts.part(table), part, "{table}");
        }
        config.online_ddl = false;
        assert_eq!(Ghosts::new(&config).part("_t_gho"), Part::Real);
    }
}
