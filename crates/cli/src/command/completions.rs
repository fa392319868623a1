//! `ferry completions`: what a shell needs to complete ferry's command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Completions of a shell.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell they are for.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Cli::command(), "ferry", &mut script);
        crate::output::print(&String::from_utf8(script)?)
    }
}
