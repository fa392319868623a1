//! `ferry store check`: tries list, head, get, put, copy, parts and delete in a scratch folder, and says what is missing.

use crate::arguments::{self, Uri};
use crate::command::Context;
use crate::output::{self, note};
use crate::stores::StoreOptions;
use clap::Args;
use ferry_objects::{Answer, probe, probe_reading};
use serde::Serialize;

/// Try at a place what copies will ask of its store.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// A bucket or a prefix in one, like s3://bucket/prefix.
    #[arg(value_name = "URI", value_parser = arguments::uri)]
    place: Uri,
    /// Write nothing: list, and look at the first object.
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    stores: StoreOptions,
}

/// What became of one thing that was tried.
#[derive(Debug, Serialize)]
struct Tried {
    asked: &'static str,
    works: bool,
    needed_for: &'static str,
    reason: String,
}

impl Tried {
    fn new(answer: &Answer) -> Self {
        Self {
            asked: answer.ask.name(),
            works: answer.outcome.is_ok(),
            needed_for: answer.ask.needed_for(),
            reason: answer.outcome.as_ref().err().cloned().unwrap_or_default(),
        }
    }
}

impl Check {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let stores = self.stores.open()?;
        let place = stores.open(&self.place.0)?;
        if !context.output.is_json() {
            match stores.name_of(&self.place.0)? {
                Some(name) => note(&format!("{} is served by stores.{name}", place.uri())),
                None => note(&format!("{} is served as the environment says", place.uri())),
            }
        }
        let answers = match self.read_only {
            true => probe_reading(&place).await,
            false => probe(&place, &format!(".ferry/check/{}", uuid::Uuid::new_v4())).await,
        };
        let tried: Vec<Tried> = answers.iter().map(Tried::new).collect();
        context.output.value(&tried, |tried| table(tried))?;
        let missing: Vec<&str> =
            answers.iter().filter(|it| it.ask.is_needed() && it.outcome.is_err()).map(|it| it.ask.name()).collect();
        match missing.is_empty() {
            true => Ok(()),
            false => anyhow::bail!("these do not work: {}; jobs that need them would fail", missing.join(", ")),
        }
    }
}

fn table(tried: &[Tried]) -> comfy_table::Table {
    let row = |it: &Tried| {
        let works = if it.works { "works" } else { "does not" };
        let told = if it.works { it.needed_for.to_owned() } else { format!("{} ({})", it.reason, it.needed_for) };
        vec![it.asked.to_owned(), works.to_owned(), told]
    };
    output::grid(&["ASKED", "RESULT", "NEEDED FOR"], tried.iter().map(row).collect())
}
