//! The name of a shard-DDL lock: the task and the downstream table, as one text.

use crate::TaskName;

/// `<task>-` and the downstream table in backticks, those inside of names doubled: ``t-`db`.`tbl` ``.
pub fn lock_id(task: &TaskName, schema: &str, table: &str) -> String {
    let (schema, table) = (schema.replace('`', "``"), table.replace('`', "``"));
    format!("{task}-`{schema}`.`{table}`")
}

/// The task in a lock id as DM finds it, or empty text: what stands before the last `` -` `` that a quoted
/// table follows. A task name with such a text in it is not recovered; this is for requests that name a lock
/// only, all others know the task.
pub fn task_of_lock_id(id: &str) -> &str {
    split(id).map_or("", |(task, _, _)| task)
}

/// Schema and table in a lock id as DM finds them, or empty texts. Doubled backticks stay doubled.
pub fn table_of_lock_id(id: &str) -> (&str, &str) {
    split(id).map_or(("", ""), |(_, schema, table)| (schema, table))
}

/// DM matches line by line: a line break is not part of any name.
fn split(id: &str) -> Option<(&str, &str, &str)> {
    id.split('\n').find_map(split_line)
}

/// Takes the last closing backtick, the last separator before it and the last opening before that. The
/// separator is two backticks with any character between them, not only a dot.
fn split_line(line: &str) -> Option<(&str, &str, &str)> {
    let (rest, _) = line.rsplit_once('`')?;
    let (left, table) = rest.rmatch_indices('`').find_map(|(end, _)| {
        let between = rest[..end].chars().next_back()?;
        let left = rest[..end - between.len_utf8()].strip_suffix('`')?;
        left.contains("-`").then_some((left, &rest[end + 1..]))
    })?;
    let (task, schema) = left.rsplit_once("-`")?;
    Some((task, schema, table))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The expected values are what DM's pattern, greedy and without anchors, gives for these texts.
    #[test]
    fn odd_lock_ids_are_taken_apart_as_dm_does() {
        let cases = [
            ("", "", "", ""),
            ("t", "", "", ""),
            ("t-`a`.`b", "", "", ""),
            ("t-`a`x`b`tail", "t", "a", "b"),
            ("t-`a`任`b`", "t", "a", "b"),
            ("t-`x`.`y`-`a`.`b`", "t-`x`.`y`", "a", "b"),
            ("t-`a`.`b`.`c`", "t", "a`.`b", "c"),
            ("t-`a`.``", "t", "a", ""),
            ("t-`````", "t", "", ""),
            ("t-`````.`b`", "t", "```", "b"),
            ("x\nt-`a`.`b`\nu-`c`.`d`", "t", "a", "b"),
            ("a-`x`.`y` -`z`", "a", "x`.", " -`z"),
        ];
        for (id, task, schema, table) in cases {
            assert_eq!(task_of_lock_id(id), task, "{id}");
            assert_eq!(table_of_lock_id(id), (schema, table), "{id}");
        }
    }
}
