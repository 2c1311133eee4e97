//! What the machine does with the cases of the scheduler's behaviour list, numbered 1 to 118; each test names the cases that
//! it covers. Where the rule lives elsewhere, the test stands there:
//!
//! | case | what | test |
//! |---|---|---|
//! | 1, 2, 3, 11, 32, 33, 34, 88, 116, 117 | no leader, replicas that start and stop, feeds that break, an etcd that takes no write, clients at the same time | `tests/api`, `cases` |
//! | 20 | a deposed leader's bind | `tests/sim`, and `dm-replica`: `deposed_leader_that_has_not_noticed_cannot_commit` |
//! | 37, 61, 68 | a source without a worker | also `tests/api`: `status`, `sources` (`case_67_…`) |
//! | 4, 6, 16, 17, 20, 27, 29, 34, 35, 37, 45, 47, 60, 78, 94, 95, 103, 105, 107, 117 | crashes and failovers | also `tests/sim`, by the same numbers |
//! | 60, 94, 105, 107 | crashes at any step of moves, transfers, starts, stops, pauses | also `tests/sim`, `what_users` |
//! | 67, 90, 101 to 104, 108 to 113, 115 | what calls workers or takes several requests | `tests/api` |
//! | 87 | a task in use | `crate::latch` |
//!
//! Not here, since they are about what this service does not have:
//!
//! | case | why |
//! |---|---|
//! | 2: the code | nothing is started with the lead, so nothing is started twice; a replica more is no error |
//! | 58, 59: the codes | a swap for dumped files is the loop's own and answers nobody; a request that asks for the same is refused with 46027 (`case_98_…`) and 46026 (`complete_transfer`) |
//! | 64, 92, 93: the codes, and of 79 the update | changing a source or a subtask: DM offers that through its OpenAPI only; `UpdateSource` and `UpdateTask` of `pb.Master` change nothing, here as there, whatever state the source or the subtask is in (`tests/api`, `cases`: `case_64_…`, `cases_92_and_93_…`) |

mod binding;
mod conflicts;
mod lives;
mod numbers;
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
