//! Whole replicas on a simulated network: crashes, partitions, pauses, lost replies, forgotten history, ended leases, as a
//! seed draws them.
//!
//! The replicas are the services' own loops with their own machines and their own etcd client; only transport and time are
//! simulated, and the etcd is the one in memory. While faults last, what must never happen is looked for after each step of the
//! network; then everything is mended, and what must happen in the end has to. A run is repeated by its seed, as far as the
//! libraries below draw from it; see [`seeds`].

mod cluster;
mod network;
pub mod placement;
pub mod shards;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs a world for each seed: `SIM_SEEDS=7` or `SIM_SEEDS=0..500` if that is set, else the first `default`. A seed that fails is named.
pub fn seeds(default: u64, test: &str, run: impl Fn(u64)) {
    let wanted = std::env::var("SIM_SEEDS").unwrap_or_else(|_| format!("0..{default}"));
    let (from, to) = match wanted.split_once("..") {
        Some((from, to)) => (from.parse(), to.parse()),
        None => (wanted.parse(), wanted.parse().map(|seed: u64| seed + 1)),
    };
    let (Ok(from), Ok(to)) = (from, to) else {
        panic!("SIM_SEEDS={wanted} is neither a number nor two of them with .. between");
    };
    for seed in from..to {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            tell(&format!(
                "seed {seed} fails; SIM_SEEDS={seed} cargo test -p sim {test} repeats it"
            ));
            resume_unwind(panic);
        }
    }
    tell(&format!("{test}: seeds {from}..{to} hold"));
}

#[expect(clippy::print_stdout, reason = "what was run is what the run is for")]
fn tell(line: &str) {
    println!("{line}");
}
