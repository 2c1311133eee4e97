//! The commands, one module per family, and what they share.

mod batch;
mod binlog;
mod config;
mod lock;
mod member;
mod relay;
mod schema;
mod source;
mod status;
mod task;
mod tls_content;
mod validation;

use std::time::Duration;

use dm_proto::pb::{self, master_client::MasterClient};
use dm_task::TaskConfig;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use crate::Streams;
use crate::cli::{Command, LockAction, SEE_OUTPUT, help, wrong_arguments};
use crate::connection::{self, Channel, Connection};
use crate::error::Error;
use crate::telemetry::span_of;

/// What stays the same from one command to the next.
#[derive(Debug)]
pub struct Session {
    /// To a master.
    pub connection: Connection,
    /// Limit of calls that read.
    pub rpc_timeout: Duration,
    /// Span that the commands' spans are put under.
    pub traceparent: Option<String>,
}

/// One command on its way.
struct Job<'a> {
    session: &'a Session,
    streams: &'a mut Streams,
    sources: Vec<String>,
}

impl Session {
    /// Runs one command, prints its answer, and says whether the answer is a good one.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn run(
        &self,
        command: &Command,
        sources: Vec<String>,
        streams: &mut Streams,
    ) -> Result<bool, Error> {
        let span = span_of(command.words(), self.traceparent.as_deref());
        let job = Job {
            session: self,
            streams,
            sources,
        };
        let outcome = job.run(command).instrument(span.clone()).await;
        match &outcome {
            Ok(true) => {}
            Ok(false) => dm_trace::mark_failed(&span, "the answer says that something failed"),
            Err(error) => dm_trace::mark_failed(&span, error.to_string()),
        }
        outcome
    }
}

impl Job<'_> {
    async fn run(mut self, command: &Command) -> Result<bool, Error> {
        let path: Vec<&str> = command.words().split(' ').collect();
        match command {
            Command::StartTask(start) => task::start(&mut self, start).await,
            Command::CheckTask(check) => task::check(&mut self, check).await,
            Command::StopTask(args) => task::operate(&mut self, &task::STOP, args).await,
            Command::PauseTask(args) => task::operate(&mut self, &task::PAUSE, args).await,
            Command::ResumeTask(args) => task::operate(&mut self, &task::RESUME, args).await,
            Command::QueryStatus(query) => status::query(&mut self, query).await,
            Command::OperateSource(operate) => source::operate(&mut self, operate).await,
            Command::TransferSource(to) => source::transfer(&mut self, &to.args).await,
            Command::StartRelay(of) => {
                relay::switch(&mut self, &path, pb::RelayOpV2::StartRelayV2, &of.args).await
            }
            Command::StopRelay(of) => {
                relay::switch(&mut self, &path, pb::RelayOpV2::StopRelayV2, &of.args).await
            }
            Command::PauseRelay(of) => {
                relay::operate(&mut self, &path, pb::RelayOp::PauseRelay, &of.args).await
            }
            Command::ResumeRelay(of) => {
                relay::operate(&mut self, &path, pb::RelayOp::ResumeRelay, &of.args).await
            }
            Command::PurgeRelay(purge) => relay::purge(&mut self, purge).await,
            Command::ShardDdlLock(lock) => match &lock.action {
                None => lock::show(&mut self, &path, &lock.args, lock.detail).await,
                Some(LockAction::Unlock(_)) if !lock.args.is_empty() => {
                    Err(wrong_arguments(&path[..1], SEE_OUTPUT))
                }
                Some(LockAction::Unlock(unlock)) => lock::unlock(&mut self, &path, unlock).await,
            },
            Command::ShowDdlLocks(show) => {
                lock::show(&mut self, &path, &show.args, show.detail).await
            }
            Command::UnlockDdlLock(unlock) => lock::unlock(&mut self, &path, unlock).await,
            Command::Binlog(binlog) => binlog::run(&mut self, &path, binlog).await,
            Command::HandleError(handle) => binlog::handle_error(&mut self, &path, handle).await,
            Command::BinlogSchema(of) => schema::run(&mut self, &path, of).await,
            Command::OperateSchema(of) => schema::operate(&mut self, &path, of).await,
            Command::Validation(of) => validation::run(&mut self, &path, of).await,
            Command::Config(config) => config::run(&mut self, &path, config).await,
            Command::GetConfig(get) => config::get(&mut self, &path, get).await,
            Command::GetTaskConfig(get) => config::get_task(&mut self, &path, get).await,
            Command::Encrypt(text) => config::encrypt(&mut self, &path, &text.args).await,
            Command::ListMember(list) => member::list(&mut self, list).await,
            Command::OfflineMember(offline) => member::offline(&mut self, offline).await,
            Command::OperateLeader(operate) => {
                member::operate_leader(&mut self, &operate.args).await
            }
            Command::TransferLeader(to) => member::transfer_leader(&mut self, &to.args).await,
        }
    }

    /// Sends a request of `pb.Master` that may take its time.
    async fn ask<M, A, F>(
        &self,
        message: M,
        call: impl Fn(MasterClient<Channel>, Request<M>) -> F,
    ) -> Result<A, Error>
    where
        M: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.ask_within(None, message, call).await
    }

    /// The same with a limit; that of calls that read is the session's.
    async fn ask_within<M, A, F>(
        &self,
        limit: Option<Duration>,
        message: M,
        call: impl Fn(MasterClient<Channel>, Request<M>) -> F,
    ) -> Result<A, Error>
    where
        M: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let connection = &self.session.connection;
        connection
            .call(message, limit, |channel, request| {
                call(connection::master(channel), request)
            })
            .await
    }

    /// Shows how a command is to be used, which DM takes for success, though nothing has been done.
    fn explain(&mut self, path: &[&str]) -> bool {
        self.streams.say(&help(path));
        false
    }

    /// Prints an answer as JSON.
    fn print<M: prost::Message + prost::Name>(&mut self, message: &M) {
        let text = dm_proto::json::print(message);
        self.streams.say(&text);
    }
}

fn read_file(path: &str) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::Other(format!("error in get file content: {path}: {error}")))
}

/// The task that an argument means: the one in the file if it is a good task file, else the one of that name.
fn task_name(argument: &str) -> String {
    let is_file = argument.ends_with(".yaml") || argument.ends_with(".yml");
    let config = is_file
        .then(|| read_file(argument).ok())
        .flatten()
        .and_then(|text| TaskConfig::from_yaml(argument, &text).ok());
    config.map_or_else(|| argument.to_owned(), |config| config.name)
}

/// None or one argument is a task; more are refused with the usage text.
fn at_most_one_task(path: &[&str], args: &[String]) -> Result<Option<String>, Error> {
    match args {
        [] => Ok(None),
        [task] => Ok(Some(task_name(task))),
        _ => Err(wrong_arguments(path, SEE_OUTPUT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_good_task_is_taken_as_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.yaml");
        std::fs::write(&path, "name: orders\nnonsense: 1\n").unwrap();
        let path = path.to_str().unwrap();
        assert_eq!(task_name(path), path);
        assert_eq!(task_name("missing.yml"), "missing.yml");
        assert_eq!(task_name("orders"), "orders");
    }
}
