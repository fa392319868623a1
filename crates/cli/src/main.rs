//! The cli shows: the one binary, `ferry`.
//!
//! Invariant: data goes to stdout and nothing else does; how it went is the exit code.

mod arguments;
mod command;
mod connection;
mod exit;
mod logs;
mod mappings;
mod output;
#[cfg(feature = "planted-bugs")]
mod planted;
mod progress;
mod prompt;
mod shutdown;
mod stores;
mod units;

use clap::Parser;
use command::{Command, Context};
use connection::Connection;
use output::{Format, Output};

/// What `ferry --version` says.
#[cfg(not(feature = "planted-bugs"))]
const VERSION: &str = env!("CARGO_PKG_VERSION");
#[cfg(feature = "planted-bugs")]
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " with planted bugs, for the chaos suite alone");

/// Ferry copies segments into a running cluster's storage: all of a job's targets become visible at once, or none.
#[derive(Debug, Parser)]
#[command(name = "ferry", version = VERSION, about, max_term_width = 120, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    connection: Connection,
    /// How data is written to stdout.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// How logs are written to stderr.
    #[arg(long, global = true, value_enum, default_value_t = logs::Format::Text)]
    log_format: logs::Format,
    #[command(subcommand)]
    command: Command,
}

fn main() {
    let cli = Cli::parse();
    logs::start(cli.log_format, cli.command.log_level());
    #[cfg(feature = "planted-bugs")]
    if let Err(error) = planted::choose() {
        exit::fail(&error);
    }
    let context = Context { connection: cli.connection, output: Output::new(cli.output) };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => exit::fail(&anyhow::Error::new(error).context("the runtime cannot start")),
    };
    match runtime.block_on(cli.command.run(&context)) {
        Ok(()) => exit::done(),
        Err(error) => exit::fail(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_same_word_runs_a_worker_and_lists_workers() {
        let parses = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(parses("ferry worker --endpoints n1:7401,n2:7401 --name w1 --slots 4"));
        assert!(parses("ferry worker list --endpoints n1:7401 -o json"));
        assert!(parses("ferry worker drain 3"));
        assert!(!parses("ferry worker --name w1 list"), "a worker that runs lists nothing");
    }

    #[test]
    fn what_belongs_to_every_command_is_taken_before_and_after_it() {
        let endpoints = |line: &str| Cli::try_parse_from(line.split(' ')).expect(line).connection.endpoints;
        assert_eq!(endpoints("ferry --endpoints a:1,b:2 job list"), ["a:1", "b:2"]);
        assert_eq!(endpoints("ferry job list --endpoints a:1 --endpoints b:2"), ["a:1", "b:2"]);
    }

    #[test]
    fn usage_that_is_wrong_is_refused() {
        let wrong = [
            "ferry",
            "ferry job",
            "ferry job submit --target file:///t --collection 1",
            "ferry job submit --source data --target file:///t --collection 1",
            "ferry job submit --source file:///s --target file:///t --collection 1 --wait --watch",
            "ferry job submit --source file:///s --target file:///t --collection 1 --dry-run --wait",
            "ferry job get",
            "ferry job get seven",
            "ferry job list --state HALF",
            "ferry job update 7",
            "ferry job list -o yaml",
            "ferry id allocate --count -1",
            "ferry job wait 1 --timeout soon",
        ];
        for line in wrong {
            let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}: {error}");
        }
    }
}
