//! Answers of `dmctl` cut down to what a reader needs.

use serde_json::Value;

/// `query-status`: a few lines for each source.
pub fn statuses(answer: &Value) -> String {
    let mut text = String::new();
    for source in answer["sources"].as_array().into_iter().flatten() {
        let (name, worker) = (
            plain(&source["sourceStatus"]["source"]),
            plain(&source["sourceStatus"]["worker"]),
        );
        for task in source["subTaskStatus"].as_array().into_iter().flatten() {
            let sync = &task["sync"];
            text += &format!(
                "source {name}  worker {worker}  task {}  stage {}  unit {}  synced {}\n",
                plain(&task["name"]),
                plain(&task["stage"]),
                plain(&task["unit"]),
                plain(&sync["synced"]),
            );
            text += &format!(
                "    source is at {}, worker is at {}\n",
                plain(&sync["masterBinlog"]),
                plain(&sync["syncerBinlog"])
            );
            if let Some(lock) = task["unresolvedDDLLockID"]
                .as_str()
                .filter(|lock| !lock.is_empty())
            {
                text += &format!("    waits for the lock {lock}\n");
            }
        }
    }
    text
}

/// The stage of every subtask, as `source: stage unit`; empty when there is none.
pub fn stages(answer: &Value) -> Vec<String> {
    let sources = answer["sources"].as_array().into_iter().flatten();
    let stages = sources.flat_map(|source| {
        let name = plain(&source["sourceStatus"]["source"]);
        let tasks = source["subTaskStatus"].as_array().into_iter().flatten();
        tasks.map(move |task| format!("{name}: {} {}", plain(&task["stage"]), plain(&task["unit"])))
    });
    stages.collect()
}

/// `list-member --worker`: the worker that a source is bound to.
pub fn bound_worker(answer: &Value, source: &str) -> Option<String> {
    let worker =
        workers(answer).find(|worker| worker["source"] == source && worker["stage"] == "bound")?;
    Some(plain(&worker["name"]))
}

/// `list-member --worker`: whether a worker is `offline`, `free` or `bound`.
pub fn worker_stage(answer: &Value, worker: &str) -> Option<String> {
    let worker = workers(answer).find(|entry| entry["name"] == worker)?;
    Some(plain(&worker["stage"]))
}

fn workers(answer: &Value) -> impl Iterator<Item = &Value> {
    let members = answer["members"].as_array().into_iter().flatten();
    members.flat_map(|member| member["worker"]["workers"].as_array().into_iter().flatten())
}

/// Text without its quotes.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_becomes_one_line_per_source() {
        let answer = json!({ "sources": [{
            "sourceStatus": { "source": "mysql-01", "worker": "worker-1" },
            "subTaskStatus": [{ "name": "orders", "stage": "Running", "unit": "Sync", "unresolvedDDLLockID": "L",
                "sync": { "synced": true, "masterBinlog": "(b, 4)", "syncerBinlog": "(b, 4)" } }],
        }] });
        assert_eq!(stages(&answer), ["mysql-01: Running Sync"]);
        let text = statuses(&answer);
        assert!(text.starts_with("source mysql-01  worker worker-1  task orders  stage Running  unit Sync  synced true\n"), "{text}");
        assert!(text.contains("waits for the lock L"), "{text}");
    }
}
