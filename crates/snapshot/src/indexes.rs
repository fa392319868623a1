//! Which index files of a segment are copied; an index that is left out is built again by Milvus.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::layout::FileKind;

/// Which indexes go along with a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IndexChoice {
    /// Every index, of kinds that come later too.
    #[default]
    All,
    /// Those of these kinds; empty: none.
    Only(BTreeSet<IndexKind>),
}

/// What an index is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IndexKind {
    /// A vector field.
    Vector,
    /// A scalar field.
    Scalar,
    /// The words of a text field.
    Text,
    /// The keys of a JSON field.
    Json,
}

/// Why words are no choice of indexes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IndexChoiceError {
    /// A kind that there is not.
    #[error("there is no kind of index {0:?}; write all, none, or some of vector,scalar,text,json")]
    Unknown(String),
    /// `all` or `none` among kinds.
    #[error("{0} stands alone; write all, none, or some of vector,scalar,text,json")]
    NotAlone(&'static str),
}

impl IndexKind {
    /// Every kind, in the order in which choices are written.
    pub const ALL: [Self; 4] = [Self::Vector, Self::Scalar, Self::Text, Self::Json];

    /// As it is written in a choice.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Scalar => "scalar",
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl IndexChoice {
    /// No index at all.
    pub fn none() -> Self {
        Self::Only(BTreeSet::new())
    }

    /// Whether a file goes along; `is_vector`: it is of an index over a vector field. Files of no index always do.
    pub fn keeps(&self, kind: FileKind, is_vector: bool) -> bool {
        match kind {
            FileKind::Index if is_vector => self.has(IndexKind::Vector),
            FileKind::Index => self.has(IndexKind::Scalar),
            FileKind::TextIndex => self.has(IndexKind::Text),
            FileKind::JsonIndex => self.has(IndexKind::Json),
            FileKind::Insert | FileKind::Delta | FileKind::Stats | FileKind::Bm25 | FileKind::Lob => true,
        }
    }

    fn has(&self, kind: IndexKind) -> bool {
        match self {
            Self::All => true,
            Self::Only(kinds) => kinds.contains(&kind),
        }
    }
}

impl FromIterator<IndexKind> for IndexChoice {
    fn from_iter<I: IntoIterator<Item = IndexKind>>(kinds: I) -> Self {
        Self::Only(kinds.into_iter().collect())
    }
}

impl FromStr for IndexChoice {
    type Err = IndexChoiceError;

    fn from_str(text: &str) -> Result<Self, IndexChoiceError> {
        let words: Vec<&str> = text.split(',').map(str::trim).collect();
        match words.as_slice() {
            ["all"] => return Ok(Self::All),
            ["none"] => return Ok(Self::none()),
            _ => {}
        }
        let kind = |word: &&str| match *word {
            "all" => Err(IndexChoiceError::NotAlone("all")),
            "none" => Err(IndexChoiceError::NotAlone("none")),
            word => IndexKind::ALL
                .into_iter()
                .find(|kind| kind.name() == word)
                .ok_or_else(|| IndexChoiceError::Unknown(word.to_owned())),
        };
        words.iter().map(kind).collect()
    }
}

impl fmt::Display for IndexChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::Only(kinds) if kinds.is_empty() => formatter.write_str("none"),
            Self::Only(kinds) => {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                formatter.write_str(&names.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_written_as_it_is_read() {
        for (text, written) in [
            ("all", "all"),
            ("none", "none"),
            ("vector", "vector"),
            ("json,vector", "vector,json"),
            ("text, scalar,text", "scalar,text"),
            ("vector,scalar,text,json", "vector,scalar,text,json"),
        ] {
            let choice: IndexChoice = text.parse().expect(text);
            assert_eq!(choice.to_string(), written);
            assert_eq!(written.parse(), Ok(choice));
        }
        assert_eq!(IndexChoice::default(), IndexChoice::All);
    }

    #[test]
    fn what_is_no_choice_is_refused_with_those_there_are() {
        for (text, words) in [
            ("", "no kind of index \"\"; write all, none, or some of vector,scalar,text,json"),
            ("Vector", "no kind of index \"Vector\""),
            ("vector,all", "all stands alone"),
            ("none,json", "none stands alone"),
        ] {
            let error = text.parse::<IndexChoice>().expect_err(text);
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn a_choice_leaves_out_files_of_other_indexes_and_no_others() {
        let keeps = |text: &str, kind, is_vector| text.parse::<IndexChoice>().expect(text).keeps(kind, is_vector);
        let indexes = [
            ("vector", FileKind::Index, true),
            ("scalar", FileKind::Index, false),
            ("text", FileKind::TextIndex, false),
            ("json", FileKind::JsonIndex, false),
        ];
        for (name, kind, is_vector) in indexes {
            for choice in ["vector", "scalar", "text", "json"] {
                assert_eq!(keeps(choice, kind, is_vector), choice == name, "{choice} of {name}");
            }
            assert!(keeps("all", kind, is_vector) && !keeps("none", kind, is_vector));
        }
        let others = FileKind::ALL.into_iter().filter(|kind| indexes.iter().all(|(_, index, _)| index != kind));
        assert_eq!(others.filter(|kind| keeps("none", *kind, false)).count(), 5);
    }
}
