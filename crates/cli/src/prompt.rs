//! Asks before what cannot be taken back, where there is somebody to ask.

use std::io::{BufRead, IsTerminal, Write};

/// True when the user agrees, has agreed with `--yes`, or cannot be asked: scripts say what they mean.
pub(crate) fn agreed(question: &str, yes: bool) -> std::io::Result<bool> {
    let somebody = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if yes || std::env::var_os("CI").is_some() || !somebody {
        return Ok(true);
    }
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        assert!(is_yes("y\n") && is_yes(" Yes "));
        assert!(!is_yes("") && !is_yes("n\n") && !is_yes("yo\n"));
    }
}
