//! What the checks know of the databases: answers, or why there is none.

use std::collections::BTreeMap;

use super::physical::Cluster;
use super::report::{Answer, Trouble};
use super::scope::{Listing, Scope, TableName};

/// Global variables by name, those that the server has.
pub(crate) type Variables = BTreeMap<String, String>;

/// What every server is asked.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Host and port, for messages.
    pub(crate) address: String,
    pub(crate) variables: Answer<Variables>,
    /// Rows of `SHOW GRANTS`.
    pub(crate) grants: Answer<Vec<String>>,
    /// Connections that are open, as far as the account may see them.
    pub(crate) connections: Answer<u64>,
}

impl Server {
    /// Of which nothing was asked.
    pub(crate) fn new(address: impl Into<String>) -> Self {
        let unasked = || Trouble::new("the server was not asked");
        Self {
            address: address.into(),
            variables: Err(unasked()),
            grants: Err(unasked()),
            connections: Err(unasked()),
        }
    }
}

/// `binlog-do-db` and `binlog-ignore-db` of a server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct BinlogFilter {
    pub(crate) do_dbs: Vec<String>,
    pub(crate) ignore_dbs: Vec<String>,
}

/// The text of `SHOW CREATE TABLE` by table; none for a table that is not there.
pub(crate) type Definitions = BTreeMap<TableName, Answer<Option<String>>>;

/// One source.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) server: Server,
    /// All tables of the schemas that the task selects from.
    pub(crate) listing: Listing,
    pub(crate) scope: Scope,
    pub(crate) binlog_filter: Answer<BinlogFilter>,
    pub(crate) definitions: Definitions,
    /// Whether replication can begin where the task says; none if that is not to be tried.
    pub(crate) position: Option<Position>,
    /// Bytes of data and indexes of the selected tables, for a physical import.
    pub(crate) data_size: Answer<u64>,
}

/// What came of an attempt to replicate from the task's position.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Position {
    /// An event came, or none yet.
    Good,
    /// The server refused or broke off.
    Refused(String),
    /// The GTID set does not read.
    BadGtid(String),
    /// The certificates of the source do not load.
    BadTls(String),
    /// Nothing replicates from a source of such a flavor.
    BadFlavor(String),
}

/// The target.
#[derive(Clone, Debug)]
pub(crate) struct Downstream {
    pub(crate) server: Server,
    pub(crate) definitions: Definitions,
    /// No checkpoint of the task is there.
    pub(crate) is_fresh: Answer<bool>,
    /// What a physical import depends on, when there is to be one.
    pub(crate) cluster: Option<Cluster>,
}
