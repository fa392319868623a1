//! Logs go to stderr; how much is said by FERRY_LOG or RUST_LOG, else by the command.

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. A filter that makes no sense is reported and left out, since logs are no reason to refuse work.
pub(crate) fn start(format: Format, level: LevelFilter) {
    let written = std::env::var("FERRY_LOG").or_else(|_| std::env::var("RUST_LOG")).unwrap_or_default();
    // openraft tells of every step of an election; whoever wants that asks for it by name.
    let directives = format!("{level},openraft=warn,{written}");
    let (filter, fault) = match EnvFilter::builder().parse(directives) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::default().add_directive(level.into()), Some(error)),
    };
    let logs = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    match format {
        Format::Text => logs.with_ansi(crate::output::stderr_is_styled()).with_target(false).init(),
        Format::Json => logs.json().flatten_event(true).init(),
    }
    if let Some(error) = fault {
        tracing::warn!(
            "FERRY_LOG or RUST_LOG {written:?} is no filter: {error}; write like info or ferry_server=debug"
        );
    }
}
