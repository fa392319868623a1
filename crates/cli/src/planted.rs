//! Plants the bug that the environment names, before anything else begins. Only builds for the chaos suite have this.

use crate::exit::Failure;
use ferry_planted::{VARIABLE, plant};

/// Plants the bug, loudly; without one this build behaves like any other.
pub(crate) fn choose() -> anyhow::Result<()> {
    let name = std::env::var(VARIABLE).unwrap_or_default();
    if name.is_empty() {
        tracing::warn!("this build can have planted bugs, which this process has not: it is for the chaos suite alone");
        return Ok(());
    }
    let bug = plant(&name).map_err(|error| Failure::Usage(error.to_string()))?;
    tracing::warn!(bug = bug.name(), "THIS PROCESS HAS A PLANTED BUG and will break its promises");
    Ok(())
}
