//! What the machine does with the cases of the scheduler's behaviour list, numbered 1 to 118; each test names the cases that
//! it covers. Where the rule lives elsewhere, the test stands there:
//!
//! | case | what | test |
//! |---|---|---|
//! | 1 | a replica that does not lead | `dm-replica`: `standby_refuses_and_still_reads_its_own_fold` |
//! | 20 | a deposed leader's bind | `dm-replica`: `deposed_leader_that_has_not_noticed_cannot_commit` |
//! | 32, 33 | compaction, a watch that ends | `dm-replica`: `compaction_under_the_watch_does_not_cost_the_lead`, `event_that_the_watch_has_lost_is_found_and_healed`; `dm-store`: the feed's own tests |
//! | 34, 117 | etcd takes no write, or does not say that it did | `dm-replica`: `unreachable_etcd_is_told_and_waited_for`, `lost_reply_of_a_commit_is_resolved_by_reading`; `tests/sim`, `placement` |
//! | 60, 107, 118 | crashes between two steps | also `tests/sim`, `placement` |
//! | 67, 90, 101 to 104, 108 to 113, 115 | what calls workers or takes several requests | `tests/api` |
//!
//! Not here, since they are about what this service does not have:
//!
//! | case | why |
//! |---|---|
//! | 2, 3, 11 | a scheduler that is started twice, closed twice, or fails to start: nothing is started or closed with the lead, the fold goes on |
//! | 64, 92, 93 | changing a source or a subtask: DM offers that through its OpenAPI only; `UpdateSource` and `UpdateTask` of `pb.Master` change nothing, here as there |
//! | 68 | a bind that fails after the source was added: with a named worker both are one transaction, without one the bind is the loop's |
//! | 88 | a status read that holds a latch: reads take none |

mod binding;
mod conflicts;
mod lives;
mod operations;
mod orphans;
mod property;
mod recovery;
mod relay;
mod sources;
mod starts;
mod tasks;
mod transfer;
mod workers;
mod world;
