//! `ferry worker`: a worker, until it is asked to end.

use crate::command::Context;
use crate::connection::DEFAULT_ENDPOINT;
use crate::exit::Failure;
use crate::{arguments, output, shutdown};
use anyhow::Context as _;
use clap::Args;
use ferry_worker::Config;
use std::path::PathBuf;
use toml::{Table, Value};

/// What the variables of the environment begin with; the rest is a key's name in capitals.
const PREFIX: &str = "FERRY_";

/// Run a worker.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The configuration, as TOML; environment and flags go before it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The worker's name, unique in the cluster.
    #[arg(long)]
    name: Option<String>,
    /// Tasks it runs at once.
    #[arg(long, value_name = "N")]
    slots: Option<u32>,
    /// For people and filters.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = arguments::label)]
    labels: Vec<(String, String)>,
    /// The most it reads in a second over everything, like 100MiB.
    #[arg(long, value_name = "BYTES")]
    bandwidth: Option<String>,
    /// Where metrics and health are served [default: nowhere].
    #[arg(long, value_name = "HOST:PORT")]
    admin_listen: Option<String>,
    /// Any other key of the configuration, like request-timeout=10s.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = arguments::label)]
    others: Vec<(String, String)>,
    /// Write the whole configuration as it would be used to stdout, and run nothing.
    #[arg(long)]
    dump_config: bool,
    /// End when stdin is closed: for those who start workers as their children.
    #[arg(long, hide = true)]
    end_with_stdin: bool,
}

impl Run {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let config = self.config(&context.connection.endpoints, std::env::vars())?;
        if self.dump_config {
            return output::print(&toml::to_string(&config)?);
        }
        config.check().map_err(|error| Failure::Usage(error.to_string()))?;
        let shutdown = shutdown::requested_or_abandoned(self.end_with_stdin);
        ferry_worker::run(config, shutdown).await.context("the worker has ended")
    }

    /// Default < file < environment < flags.
    fn config(
        &self,
        endpoints: &[String],
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> anyhow::Result<Config> {
        let mut table = match &self.config {
            None => Table::new(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Failure::Usage(format!("the configuration {} cannot be read: {error}", path.display()))
                })?;
                text.parse::<Table>().map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?
            }
        };
        let is_default = endpoints == [DEFAULT_ENDPOINT];
        if !(is_default && table.contains_key("endpoints")) {
            table.insert("endpoints".to_owned(), endpoints.to_vec().into());
        }
        for (name, value) in environment {
            if let Some(key) = environment_key(&name) {
                table.insert(key, typed(value));
            }
        }
        self.overlay(&mut table);
        Ok(Config::from_toml(&table.to_string()).map_err(|error| Failure::Usage(error.to_string()))?)
    }

    fn overlay(&self, table: &mut Table) {
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                table.insert(key.to_owned(), value);
            }
        };
        set("name", self.name.clone().map(Value::String));
        set("slots", self.slots.map(|slots| Value::Integer(slots.into())));
        set("bandwidth-per-second", self.bandwidth.clone().map(Value::String));
        set("admin-listen", self.admin_listen.clone().map(Value::String));
        if !self.labels.is_empty() {
            let labels = self.labels.iter().map(|(key, value)| (key.clone(), Value::String(value.clone())));
            set("labels", Some(Value::Table(labels.collect())));
        }
        for (key, value) in &self.others {
            set_nested(table, key, typed(value.clone()));
        }
    }
}

/// The key that a variable of the environment sets. `FERRY_ENDPOINTS` is taken as `--endpoints` is.
fn environment_key(name: &str) -> Option<String> {
    let key = name.strip_prefix(PREFIX)?.to_lowercase().replace('_', "-");
    let is_one_value = key != "endpoints" && key != "stores";
    (is_one_value && Config::KEYS.contains(&key.as_str())).then_some(key)
}

/// Sets a key with dots between its tables. What stands in the way of a table is replaced, and then found wrong by its type.
fn set_nested(table: &mut Table, key: &str, value: Value) {
    let Some((outer, inner)) = key.split_once('.') else {
        table.insert(key.to_owned(), value);
        return;
    };
    let below = table.entry(outer).or_insert_with(|| Value::Table(Table::new()));
    if !below.is_table() {
        *below = Value::Table(Table::new());
    }
    if let Value::Table(below) = below {
        set_nested(below, inner, value);
    }
}

/// A number, a truth value, a list or a table where it is written as one, otherwise text.
fn typed(text: String) -> Value {
    let written = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    match written {
        Some(value @ (Value::Integer(_) | Value::Boolean(_) | Value::Array(_) | Value::Table(_))) => value,
        _ => Value::String(text),
    }
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT_ENDPOINT, Run};
    use clap::Parser;
    use ferry_worker::Config;
    use std::io::Write;
    use std::time::Duration;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: Run,
    }

    fn config(arguments: &[&str], endpoints: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Config> {
        let line = Line::try_parse_from(std::iter::once(&"worker").chain(arguments))?;
        let endpoints: Vec<String> = endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect();
        line.run.config(&endpoints, environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn flags_go_before_the_environment_and_that_before_the_file() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        writeln!(file, "endpoints = [\"n9:1\"]\nname = \"file\"\nslots = 1\nread-back = true").expect("written");
        let path = file.path().to_str().expect("UTF-8");
        let environment = [("FERRY_NAME", "variable"), ("FERRY_SLOTS", "2"), ("FERRY_LOG", "debug"), ("HOME", "/")];
        let one = config(&["--config", path, "--slots", "3"], &[DEFAULT_ENDPOINT], &environment).expect("good");
        assert_eq!((one.name.as_str(), one.slots, one.read_back), ("variable", 3, true));
        assert_eq!(one.endpoints, ["n9:1"], "the file names them, the command line did not");
        let other = config(&["--config", path], &["n1:1", "n2:2"], &[]).expect("good");
        assert_eq!((other.name.as_str(), other.slots), ("file", 1));
        assert_eq!(other.endpoints, ["n1:1", "n2:2"]);
    }

    #[test]
    fn any_key_can_be_set() {
        let line = ["--name", "w", "--label", "zone=a", "--bandwidth", "10MiB", "--set", "request-timeout=5s"];
        let config = config(&line, &["n1:1"], &[]).expect("good");
        assert_eq!(config.request_timeout, Duration::from_secs(5));
        assert_eq!(config.bandwidth_per_second.as_u64(), 10 << 20);
        assert_eq!(config.labels["zone"], "a");
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest() {
        let error = config(&["--set", "slotz=3"], &["n1:1"], &[]).expect_err("no such key");
        assert_eq!(error.to_string(), "unknown key `slotz`: did you mean `slots`?");
    }
}
