//! What was tried on which server, as the table in the guide: the test compares it, and writes it with `UPDATE_EXPECT=1`.

use cluster_tests::repository;
use std::time::Instant;

const GUIDE: &str = "docs/stores.md";
const BEGIN: &str =
    "<!-- What was tried, written by the tests of cluster-tests/tests/stores with UPDATE_EXPECT=1. -->\n";
const END: &str = "<!-- The end of what was tried. -->\n";

/// What became of a case on a server; what breaks a case fails the test instead.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    /// As it is meant.
    Held,
    /// As it is meant, though the server cannot say it: the relay before it did.
    Injected,
    /// The server cannot show it, and why.
    Cannot(&'static str),
}

/// Tables with a row a case and a column a server.
pub(crate) struct Tables {
    text: String,
    began: Instant,
}

impl Tables {
    pub(crate) fn of_cases(servers: &[&str]) -> Self {
        let mut tables = Self { text: String::new(), began: Instant::now() };
        tables.begin("case", servers);
        tables
    }

    pub(crate) fn begin(&mut self, corner: &str, columns: &[&str]) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.row(corner, columns);
        self.text += &format!("|{}\n", "---|".repeat(columns.len() + 1));
    }

    pub(crate) fn tell(&mut self, case: &str, outcomes: &[Outcome]) {
        let cells: Vec<&str> = outcomes.iter().map(|outcome| outcome.told()).collect();
        self.row(case, &cells);
        println!("{:>4} s: {case}", self.began.elapsed().as_secs());
    }

    fn row(&mut self, first: &str, others: &[&str]) {
        self.text += &format!("| {first} | {} |\n", others.join(" | "));
    }

    /// The guide says the same.
    pub(crate) fn assert_is_in_the_guide(&self) {
        let path = repository().join(GUIDE);
        let guide = std::fs::read_to_string(&path).expect("the guide can be read");
        let (before, rest) = guide.split_once(BEGIN).expect("the guide has a place for the tables");
        let (told, after) = rest.split_once(END).expect("the place has an end");
        if told == self.text {
            return;
        }
        assert!(
            std::env::var_os("UPDATE_EXPECT").is_some(),
            "{GUIDE} tells something else; run this test with UPDATE_EXPECT=1 to write it:\n{}",
            self.text
        );
        std::fs::write(path, format!("{before}{BEGIN}{}{END}{after}", self.text)).expect("the guide can be written");
    }
}

impl Outcome {
    fn told(self) -> &'static str {
        match self {
            Self::Held => "yes",
            Self::Injected => "yes, injected",
            Self::Cannot(why) => why,
        }
    }
}
