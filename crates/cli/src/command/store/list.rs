//! `ferry store list`: which store serves what, and where its credentials come from; no secret is shown.

use crate::command::Context;
use crate::output;
use crate::stores::StoreOptions;
use clap::Args;
use ferry_objects::StoreSettings;
use serde::Serialize;

/// List the stores that a configuration names, and those of the environment.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    stores: StoreOptions,
}

/// One store.
#[derive(Debug, Serialize)]
struct Row {
    /// Empty for a store of the environment.
    name: String,
    kind: &'static str,
    endpoint: String,
    serves: Vec<String>,
    credentials: String,
}

impl Row {
    fn named((name, settings): (&String, &StoreSettings)) -> Self {
        Self {
            name: name.clone(),
            kind: settings.kind.name(),
            endpoint: settings.endpoint.clone(),
            serves: settings.serves.clone(),
            credentials: settings.credentials_source(),
        }
    }
}

impl List {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let named = self.stores.named()?;
        let stores = self.stores.open()?;
        let environment = stores.environment().into_iter().map(|store| Row {
            name: String::new(),
            kind: store.kind.name(),
            endpoint: store.endpoint.unwrap_or_default(),
            serves: Vec::new(),
            credentials: if store.has_credentials { "environment" } else { "none" }.to_owned(),
        });
        let rows: Vec<Row> = named.iter().map(Row::named).chain(environment).collect();
        context.output.value(&rows, |rows| table(rows))
    }
}

fn table(rows: &[Row]) -> comfy_table::Table {
    let or = |text: &str, absent: &str| if text.is_empty() { absent.to_owned() } else { text.to_owned() };
    let row = |row: &Row| {
        let serves = match (row.name.is_empty(), row.serves.is_empty()) {
            (true, _) => "what no other serves".to_owned(),
            (false, true) => "URIs with its endpoint".to_owned(),
            (false, false) => row.serves.join(" "),
        };
        vec![
            or(&row.name, "(environment)"),
            row.kind.to_owned(),
            or(&row.endpoint, "the cloud's own"),
            serves,
            row.credentials.clone(),
        ]
    };
    output::grid(&["NAME", "KIND", "ENDPOINT", "SERVES", "CREDENTIALS"], rows.iter().map(row).collect())
}
