//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dm_keyspace::Role;

use crate::cluster::Wanted;
use crate::cpu::Watched;
use crate::optimism::Sizes;
use crate::suite::Plan;
use crate::{Error, Result};

/// Measure a DM-compatible master through pb.Master and etcd keys, with simulated workers.
///
/// Without a command it measures the one at --master-addr and --etcd, which must have no other traffic, and removes its
/// own keys at the end. `bench self` starts etcd and the services of this project for the purpose.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Cli {
    /// What to measure, if not a running master
    #[command(subcommand)]
    pub command: Option<Command>,
    /// A running master
    #[command(flatten)]
    pub external: Option<External>,
    /// How much to measure
    #[command(flatten)]
    pub amount: Amount,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start etcd and the services of this project, and measure them
    #[command(name = "self")]
    Own(Own),
    /// As `self`, but what concerns the scheduler
    Scheduler(Own),
    /// As `self`, but what concerns the pessimist
    Pessimist(Own),
    /// As `self`, but what concerns the optimist
    Optimist(Own),
}

impl Command {
    /// What is to be started.
    #[must_use]
    pub fn own(&self) -> &Own {
        match self {
            Self::Own(own) | Self::Scheduler(own) | Self::Pessimist(own) | Self::Optimist(own) => {
                own
            }
        }
    }

    /// The parts of this command.
    fn parts(&self) -> &'static [Part] {
        match self {
            Self::Own(_) => Part::value_variants(),
            Self::Scheduler(_) => &[Part::Placement],
            Self::Optimist(_) => &[Part::Optimism],
            Self::Pessimist(_) => &[
                Part::Latency,
                Part::Throughput,
                Part::Pending,
                Part::Takeover,
            ],
        }
    }
}

/// A master that runs already.
#[derive(Args, Clone, Debug)]
pub struct External {
    /// Where pb.Master is served
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub master_addr: String,
    /// Its etcd, addresses separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',', required = true)]
    pub etcd: Vec<String>,
    /// A process whose memory is to be read, by a name for the report; may be repeated
    #[arg(long, value_name = "NAME=PID", value_parser = watched)]
    pub pid: Vec<Watched>,
}

/// Services of this project.
#[derive(Args, Clone, Debug)]
pub struct Own {
    /// How much to measure
    #[command(flatten)]
    pub amount: Amount,
    /// Processes of each service
    #[arg(long, default_value_t = 2)]
    pub replicas: usize,
    /// Folder of the services' programs [default: that of this program]
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
    /// Folder for etcd's data, to measure with a disk [default: in memory]
    #[arg(long, value_name = "DIR")]
    pub etcd_dir: Option<PathBuf>,
    /// Start the pessimist alone: workers do not register and are not bound
    #[arg(long)]
    pub only_pessimist: bool,
    /// A further flag of every service, such as --flag=--lease-ttl=5s; may be repeated
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub flag: Vec<String>,
}

/// A part of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Info put -> operation put.
    Latency,
    /// DDLs per second.
    Throughput,
    /// DDLs per second while other locks wait.
    Pending,
    /// Takeover and memory, by keys in etcd.
    Takeover,
    /// Optimistic shard DDLs.
    Optimism,
    /// Sources on workers, by their number; of services that bench has started only.
    Placement,
}

/// How much to measure.
#[derive(Args, Clone, Debug)]
pub struct Amount {
    /// A short run: fewer samples, no largest sizes
    #[arg(long)]
    pub quick: bool,
    /// Measure only these parts, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum)]
    pub only: Vec<Part>,
    /// Latency samples [default: 2000, quick: 200]
    #[arg(long)]
    pub samples: Option<usize>,
    /// Numbers of sources [default: 10,100,1000, quick: 10,100]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub sources: Vec<usize>,
    /// Numbers of keys in etcd [default: 100,10000,100000, quick: 100,10000]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub keys: Vec<usize>,
    /// Numbers of pessimistic infos in etcd, for takeover and memory [default: 100000, quick: none]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub infos: Vec<usize>,
    /// Numbers of locks that wait [default: 1,100,10000, quick: 1,100]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub locks: Vec<usize>,
    /// Numbers of tables in an optimistic lock [default: 10,1000,100000, quick: 10,100]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub tables: Vec<usize>,
    /// Exit with code 3 when an aim is missed
    #[arg(long)]
    pub strict: bool,
}

impl Cli {
    /// The amounts that count: those after the command, if there is one.
    #[must_use]
    pub fn amount(&self) -> &Amount {
        match &self.command {
            Some(command) => &command.own().amount,
            None => &self.amount,
        }
    }

    /// What to measure, in figures.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let all = Part::value_variants();
        let parts = self.command.as_ref().map_or(all, Command::parts);
        self.amount().plan(parts)
    }
}

impl Amount {
    /// In figures, of these parts, sizes in ascending order.
    fn plan(&self, parts: &[Part]) -> Plan {
        let or = |given: &[usize], full: &[usize], quick: &[usize]| {
            let default = if self.quick { quick } else { full };
            let mut chosen = if given.is_empty() {
                default.to_vec()
            } else {
                given.to_vec()
            };
            chosen.sort_unstable();
            chosen.dedup();
            chosen
        };
        let measures =
            |part| parts.contains(&part) && (self.only.is_empty() || self.only.contains(&part));
        let of = |part, sizes: Vec<usize>| if measures(part) { sizes } else { Vec::new() };
        let samples = self.samples.unwrap_or(if self.quick { 200 } else { 2_000 });
        Plan {
            samples: if measures(Part::Latency) { samples } else { 0 },
            sources: of(
                Part::Throughput,
                or(&self.sources, &[10, 100, 1_000], &[10, 100]),
            ),
            pending: of(Part::Pending, or(&self.locks, &[1, 100, 10_000], &[1, 100])),
            pending_sources: of(Part::Pending, or(&self.sources, &[10, 100, 1_000], &[10])),
            operations: if self.quick { 1_000 } else { 10_000 },
            keys: of(
                Part::Takeover,
                or(&self.keys, &[100, 10_000, 100_000], &[100, 10_000]),
            ),
            infos: of(
                Part::Takeover,
                if self.keys.is_empty() || !self.infos.is_empty() {
                    or(&self.infos, &[100_000], &[])
                } else {
                    // Who names numbers of keys wants those alone.
                    Vec::new()
                },
            ),
            optimism: self.optimism(measures(Part::Optimism), samples, or),
            placements: of(
                Part::Placement,
                or(&self.sources, &[100, 1_000, 10_000], &[100]),
            ),
            losses: if self.quick { 20 } else { 200 },
            resignations: if self.quick { 3 } else { 15 },
            kills: if self.quick { 1 } else { 5 },
        }
    }
}

impl Amount {
    fn optimism(
        &self,
        is_measured: bool,
        samples: usize,
        or: impl Fn(&[usize], &[usize], &[usize]) -> Vec<usize>,
    ) -> Sizes {
        if !is_measured {
            return Sizes::default();
        }
        Sizes {
            samples,
            tables: or(&self.tables, &[10, 1_000, 100_000], &[10, 100]),
            infos: if self.quick { 200 } else { 2_000 },
            conflict: if self.quick { 100 } else { 10_000 },
            resignations: if self.quick { 2 } else { 15 },
            kills: if self.quick { 1 } else { 5 },
        }
    }
}

impl Own {
    /// What to start.
    ///
    /// # Errors
    /// When the folder of the programs is not known.
    pub fn wanted(&self) -> Result<Wanted> {
        let bin_dir = match &self.bin_dir {
            Some(dir) => dir.clone(),
            None => beside_this_program()?,
        };
        let bin_dir = std::path::absolute(&bin_dir).map_err(Error::call("find the programs"))?;
        let roles = if self.only_pessimist {
            vec![Role::Pessimist]
        } else {
            Role::ALL.to_vec()
        };
        Ok(Wanted {
            roles,
            replicas: self.replicas,
            bin_dir,
            etcd_dir: self.etcd_dir.clone(),
            flags: self.flag.clone(),
        })
    }
}

fn beside_this_program() -> Result<PathBuf> {
    let me = std::env::current_exe().map_err(Error::call("find this program"))?;
    Ok(me.parent().map(PathBuf::from).unwrap_or_default())
}

fn watched(text: &str) -> std::result::Result<Watched, String> {
    let parsed = text
        .split_once('=')
        .and_then(|(name, pid)| Some((name, pid.parse().ok()?)));
    match parsed {
        Some((name, pid)) if !name.is_empty() => Ok(Watched {
            name: name.to_owned(),
            pid,
        }),
        _ => Err(format!("{text:?} is not of the form name=number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Cli {
        Cli::try_parse_from(std::iter::once(&"bench").chain(args)).unwrap()
    }

    #[test]
    fn a_running_master_is_named_by_its_two_addresses() {
        let cli = parsed(&[
            "--master-addr=h:1",
            "--etcd=h:2,h:3",
            "--pid",
            "m=7",
            "--quick",
        ]);
        let external = cli.external.clone().unwrap();
        assert_eq!(external.etcd, ["h:2", "h:3"]);
        assert_eq!(
            external.pid,
            [Watched {
                name: "m".to_owned(),
                pid: 7
            }]
        );
        assert_eq!(cli.plan().samples, 200);
    }

    #[test]
    fn one_address_is_not_enough() {
        let refused = Cli::try_parse_from(["bench", "--etcd=h:2"])
            .unwrap_err()
            .to_string();
        assert!(refused.contains("--master-addr"), "{refused}");
    }

    #[test]
    fn amounts_after_the_command_count() {
        let cli = parsed(&["self", "--keys", "10000,100", "--only=takeover"]);
        let plan = cli.plan();
        assert_eq!(
            (plan.samples, plan.sources, plan.keys, plan.infos),
            (0, vec![], vec![100, 10_000], vec![])
        );
        assert_eq!(parsed(&["self"]).plan().infos, [100_000]);
    }

    #[test]
    fn a_service_by_its_name_is_measured_alone() {
        let plan = parsed(&["scheduler", "--sources=50"]).plan();
        assert_eq!((plan.samples, plan.sources), (0, vec![]));
        assert_eq!((plan.pending, plan.placements), (vec![], vec![50]));
        let plan = parsed(&["pessimist", "--quick", "--only=pending"]).plan();
        assert_eq!((plan.samples, plan.pending), (0, vec![1, 100]));
        assert_eq!((plan.keys, plan.placements), (vec![], vec![]));
        assert!(plan.optimism.are_none());
        let plan = parsed(&["optimist", "--quick"]).plan();
        assert_eq!(
            (plan.pending, plan.optimism.tables),
            (vec![], vec![10, 100])
        );
    }

    #[test]
    fn a_pid_without_a_name_is_refused() {
        assert!(watched("7").is_err() && watched("=7").is_err() && watched("a=b").is_err());
    }
}
