//! Members of the cluster.

use clap::Args;

/// `list-member`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ListMember {
    /// None.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// Only the leader
    #[arg(short = 'l', long)]
    pub leader: bool,
    /// Only masters
    #[arg(short = 'm', long)]
    pub master: bool,
    /// Only workers
    #[arg(short = 'w', long)]
    pub worker: bool,
    /// Only members of these names
    #[arg(short = 'n', long, value_delimiter = ',', value_name = "LIST")]
    pub name: Vec<String>,
}

/// `offline-member`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct OfflineMember {
    /// None.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// The member is a master
    #[arg(short = 'm', long)]
    pub master: bool,
    /// The member is a worker
    #[arg(short = 'w', long)]
    pub worker: bool,
    /// Name of the member
    #[arg(short = 'n', long, default_value = "", value_name = "NAME")]
    pub name: String,
}
