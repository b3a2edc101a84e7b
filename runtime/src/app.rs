//! The composition root: reads the configuration and runs the command. Each command has a module. Only this module
//! depends on every concrete part.

pub mod admin;
pub mod backfill;
pub mod build;
pub mod check;
pub mod cluster;
pub mod compile;
pub mod consumer_check;
pub mod consumer_test;
pub mod doctor;
pub mod fetch;
pub mod history;
pub mod inspect;
pub mod keygen;
pub mod new;
pub mod operate;
pub mod output;
pub mod player;
pub mod replay;
pub mod run;
pub mod self_signed;
pub mod share;
pub mod simulate;
pub mod store;
pub mod tail;
pub mod top;
pub mod verify;

mod demo;
mod ending;
mod exchange;
mod feeds;
mod hangup;
pub mod locks;
mod meter;
mod metrics;
mod observed;
mod past;
mod queues;
pub mod reconfigure;
mod recording;
mod refusal;
pub mod reload;
mod seeding;
mod service;
mod utc;
mod wiring;

use std::process::ExitCode;

use klines_config::{Config, Sources};

use self::admin::protocol::Op;
use self::refusal::Refused;
use crate::cli::{self, Cli, ClusterCommand, Command, ConfigCommand, ConsumerCommand, TlsCommand};
use crate::telemetry;

/// Runs the command of the command line and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let command = Cli::of_process().command;
    // A refusal only makes secrets less safe; klines stay correct, so the run continues.
    let core_dumps = telemetry::forbid_core_dumps();
    telemetry::allow_descriptors();
    let outcome = match command {
        Command::Run(args) => configured(args.sources(), |config| run::run(config, &args)),
        Command::Check(args) => check::check(&args),
        Command::Replay(args) => configured(args.sources(), |mut config| {
            // Klines of recordings are not mixed with stored ones.
            config.store.enabled = false;
            replay::replay(&config, &args)
        }),
        Command::Verify(args) if !args.against.is_empty() => {
            configured(args.sources(), |config| verify::against::run(config, &args))
        }
        Command::Verify(args) => verify::run(&args),
        Command::History(args) => history::command(&args),
        Command::Backfill(args) => configured(args.sources(), |config| backfill::backfill(&config, &args)),
        Command::Fetch(args) => configured(args.sources(), |config| fetch::fetch(&config, &args)),
        Command::Store(command) => store::command(&command),
        Command::Cluster(ClusterCommand::Status(args)) => cluster::status(&args),
        Command::Cluster(ClusterCommand::Load(args)) => cluster::load(&args),
        Command::Simulate(args) => configured(args.sources(), |config| simulate::simulate(config, &args)),
        Command::Consumer(command) => consumer(&command),
        Command::Reload(args) => operate::reload(&args),
        Command::Tail(args) => tail::tail(&args),
        Command::Top(args) => top::top(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Keygen(args) => match &args.minisign {
            Some(file) => share::sign::generate(file, &args),
            None => keygen::keygen(&args),
        },
        Command::Tls(TlsCommand::SelfSigned(args)) => self_signed::self_signed(&args),
        Command::Config(ConfigCommand::Show(args)) => configured(args.flags.sources(), |config| {
            output::print(&if args.json { format!("{:#}\n", config.show_json()) } else { config.show() })?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::CompileComponent(args) => compile::compile(&args),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            cli::completions(shell, &mut text);
            output::print(&String::from_utf8_lossy(&text)).map(|()| ExitCode::SUCCESS)
        }
    };
    if let Err(error) = core_dumps {
        tracing::debug!(%error, "core dumps could not be disabled");
    }
    outcome.unwrap_or_else(failed)
}

/// Runs a command on consumers.
fn consumer(command: &ConsumerCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConsumerCommand::New(args) => new::new(args),
        ConsumerCommand::Build(args) => build::build(args),
        ConsumerCommand::Check(args) => consumer_check::consumer_check(args),
        ConsumerCommand::List(args) => operate::list(args),
        ConsumerCommand::Logs(args) => operate::logs(args),
        ConsumerCommand::Pause(args) => operate::order(args, |name| Op::Pause { name }),
        ConsumerCommand::Resume(args) => operate::order(args, |name| Op::Resume { name }),
        ConsumerCommand::Reload(args) => operate::order(args, |name| Op::Reload { name }),
        ConsumerCommand::Test(args) => consumer_test::test(args),
        ConsumerCommand::Add(args) => share::add::add(args),
        ConsumerCommand::Upgrade(args) => share::upgrade::upgrade(args),
        ConsumerCommand::Remove(args) => share::remove::remove(args),
        ConsumerCommand::Sign(args) => share::sign::sign(args),
        ConsumerCommand::Publish(args) => share::publish::publish(args),
        ConsumerCommand::Search(args) => share::search::search(args),
        ConsumerCommand::Inspect(args) => inspect::inspect(args),
    }
}

/// Reports an error and returns its exit code.
fn failed(error: anyhow::Error) -> ExitCode {
    match error.downcast() {
        Ok(Refused(report)) => {
            output::report(&report);
            ExitCode::from(cli::EXIT_CONFIG)
        }
        Err(error) => {
            output::error(&error);
            ExitCode::from(cli::EXIT_FAILED)
        }
    }
}

/// Reads the configuration, prints its errors and warnings, starts logging, and runs `command` unless it is refused.
fn configured(sources: Sources, command: impl FnOnce(Config) -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    let (config, warnings) = klines_config::load(sources).map_err(Refused)?;
    output::report(&warnings);
    telemetry::start(config.log)?;
    command(config)
}
