//! Where Milvus puts the files of a segment, and what such a key becomes for another segment: ids are replaced by
//! their position after a keyword, never as text, and no other part of a key changes.

use ferry_objects::{KeyError, check_key, shown};
use thiserror::Error;

/// What a file holds, as its place in the layout tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// Rows of a segment.
    Insert,
    /// Deletions.
    Delta,
    /// Statistics of a field, such as its primary-key filter.
    Stats,
    /// Statistics for full-text ranking.
    Bm25,
    /// A vector or scalar index.
    Index,
    /// A text index.
    TextIndex,
    /// An index over a JSON field.
    JsonIndex,
    /// A large value that the segments of a partition share.
    Lob,
}

impl FileKind {
    /// Every kind, in the order in which plans list them.
    pub const ALL: [FileKind; 8] = [
        FileKind::Insert,
        FileKind::Delta,
        FileKind::Stats,
        FileKind::Bm25,
        FileKind::Index,
        FileKind::TextIndex,
        FileKind::JsonIndex,
        FileKind::Lob,
    ];

    /// A short word for tables and logs.
    pub fn name(self) -> &'static str {
        match self {
            FileKind::Insert => "insert",
            FileKind::Delta => "delta",
            FileKind::Stats => "stats",
            FileKind::Bm25 => "bm25",
            FileKind::Index => "index",
            FileKind::TextIndex => "text-index",
            FileKind::JsonIndex => "json-index",
            FileKind::Lob => "lob",
        }
    }
}

/// Offsets of the ids after the keyword.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    keyword: &'static str,
    kind: FileKind,
    build: Option<usize>,
    collection: Option<usize>,
    partition: usize,
    segment: Option<usize>,
}

const fn segment_first(keyword: &'static str, kind: FileKind) -> Rule {
    Rule { keyword, kind, build: None, collection: Some(1), partition: 2, segment: Some(3) }
}

const fn build_first(keyword: &'static str, kind: FileKind, build: usize) -> Rule {
    let collection = build + 2;
    Rule {
        keyword,
        kind,
        build: Some(build),
        collection: Some(collection),
        partition: collection + 1,
        segment: Some(collection + 2),
    }
}

const RULES: [Rule; 9] = [
    segment_first("insert_log", FileKind::Insert),
    segment_first("delta_log", FileKind::Delta),
    segment_first("stats_log", FileKind::Stats),
    segment_first("bm25_stats", FileKind::Bm25),
    Rule {
        keyword: "index_files",
        kind: FileKind::Index,
        build: Some(1),
        collection: None,
        partition: 3,
        segment: Some(4),
    },
    Rule {
        keyword: "index_v1",
        kind: FileKind::Index,
        build: Some(4),
        collection: Some(1),
        partition: 2,
        segment: Some(3),
    },
    build_first("text_log", FileKind::TextIndex, 1),
    build_first("json_key_index_log", FileKind::JsonIndex, 1),
    build_first("json_stats", FileKind::JsonIndex, 2),
];

/// The keywords of all kinds: the folders that a tree of segments consists of.
pub(crate) const KEYWORDS: [&str; RULES.len()] = {
    let mut keywords = [""; RULES.len()];
    let mut at = 0;
    while at < RULES.len() {
        keywords[at] = RULES[at].keyword;
        at += 1;
    }
    keywords
};

/// Large values lie at the level of a partition: this word stands where a segment's id would.
pub(crate) const LOB_PART: &str = "lobs";
const LOB_RULE: Rule =
    Rule { keyword: "insert_log", kind: FileKind::Lob, build: None, collection: Some(1), partition: 2, segment: None };

/// Why a key does not fit the layout.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// The key is not one that we touch.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No part of the key is a keyword of the expected kind.
    #[error(
        "the key {key} has no part {expected}; it is not where Milvus puts {kind} files: correct the snapshot that names it"
    )]
    NoKeyword {
        /// The key.
        key: String,
        /// The keywords looked for.
        expected: String,
        /// The kind of file that the snapshot says it is.
        kind: &'static str,
    },
    /// The key ends before the ids it needs.
    #[error(
        "the key {key} has too few parts after '{keyword}'; it is not where Milvus puts such files: correct the snapshot that names it"
    )]
    TooShort {
        /// The key.
        key: String,
        /// The keyword found.
        keyword: &'static str,
    },
    /// The key lies outside the root it was said to be under.
    #[error(
        "the key {key} is not under the root {root}{}; correct the snapshot that names it",
        if bucket.is_empty() { String::new() } else { format!(" of the bucket {bucket}") }
    )]
    OutsideRoot {
        /// The key.
        key: String,
        /// The root.
        root: String,
        /// The bucket where the snapshot was found; empty: none, or not known.
        bucket: String,
    },
}

/// The ids that a key names, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyIds<'a> {
    /// The collection, where the layout has one.
    pub collection: Option<&'a str>,
    /// The partition.
    pub partition: &'a str,
    /// The segment, but for large values, which a partition shares.
    pub segment: Option<&'a str>,
    /// The index build.
    pub build: Option<&'a str>,
}

/// The ids that a key gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewIds<'a> {
    /// The target's collection.
    pub collection: &'a str,
    /// The target's partition.
    pub partition: &'a str,
    /// The target's segment.
    pub segment: &'a str,
    /// The target's build id; absent: the source's own stays.
    pub build: Option<&'a str>,
}

/// A key taken apart by the rules of the layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutKey<'a> {
    parts: Vec<&'a str>,
    keyword_at: usize,
    rule: &'static Rule,
}

impl<'a> LayoutKey<'a> {
    /// Takes apart the key of a file that is said to be of `kind`.
    pub fn parse(key: &'a str, kind: FileKind) -> Result<LayoutKey<'a>, LayoutError> {
        let kind = if kind == FileKind::Lob { FileKind::Insert } else { kind };
        LayoutKey::parse_with(key, |rule| rule.kind == kind, kind.name())
    }

    /// Takes apart a key whose own first keyword says what it is.
    pub fn detect(key: &'a str) -> Result<LayoutKey<'a>, LayoutError> {
        LayoutKey::parse_with(key, |_| true, "segment")
    }

    fn parse_with(
        key: &'a str,
        wanted: impl Fn(&Rule) -> bool,
        kind: &'static str,
    ) -> Result<LayoutKey<'a>, LayoutError> {
        check_key(key)?;
        let parts: Vec<&str> = key.split('/').collect();
        let rule_of = |part: &&str| RULES.iter().find(|rule| rule.keyword == *part && wanted(rule));
        let Some((keyword_at, rule)) = parts.iter().enumerate().find_map(|(at, part)| Some((at, rule_of(part)?)))
        else {
            let expected: Vec<_> =
                RULES.iter().filter(|rule| wanted(rule)).map(|rule| format!("'{}'", rule.keyword)).collect();
            return Err(LayoutError::NoKeyword { key: shown(key), expected: expected.join(" or "), kind });
        };
        let is_lob = rule.kind == FileKind::Insert && parts.get(keyword_at + 3) == Some(&LOB_PART);
        let rule = if is_lob { &LOB_RULE } else { rule };
        // The file itself follows the last id, so a key that ends with an id names a folder.
        if parts.len() <= keyword_at + rule.last_offset() + 1 {
            return Err(LayoutError::TooShort { key: shown(key), keyword: rule.keyword });
        }
        Ok(LayoutKey { parts, keyword_at, rule })
    }

    /// What the file holds.
    pub fn kind(&self) -> FileKind {
        self.rule.kind
    }

    /// What stands before the keyword: the root that the key carries; often empty.
    pub fn root(&self) -> String {
        self.parts[..self.keyword_at].join("/")
    }

    /// The key from the keyword on.
    pub fn without_root(self) -> LayoutKey<'a> {
        LayoutKey { parts: self.parts[self.keyword_at..].to_vec(), keyword_at: 0, rule: self.rule }
    }

    /// What stands after the last id: the field and file, or the file alone.
    pub fn tail(&self) -> &[&'a str] {
        &self.parts[self.keyword_at + self.rule.last_offset() + 1..]
    }

    /// The part right after the build id: the version that an index file's key carries.
    pub(crate) fn index_version(&self) -> Option<&'a str> {
        self.rule.build.and_then(|offset| self.parts.get(self.keyword_at + offset + 1).copied())
    }

    /// The ids that the key names.
    pub fn ids(&self) -> KeyIds<'a> {
        let at = |offset: usize| self.parts[self.keyword_at + offset];
        KeyIds {
            collection: self.rule.collection.map(at),
            partition: at(self.rule.partition),
            segment: self.rule.segment.map(at),
            build: self.rule.build.map(at),
        }
    }

    /// The key with its ids replaced.
    pub fn renamed(&self, ids: &NewIds<'_>) -> String {
        let mut parts: Vec<&str> = self.parts.clone();
        let replacements = [
            (self.rule.collection, Some(ids.collection)),
            (Some(self.rule.partition), Some(ids.partition)),
            (self.rule.segment, Some(ids.segment)),
            (self.rule.build, ids.build),
        ];
        for (offset, id) in replacements {
            if let (Some(offset), Some(id)) = (offset, id) {
                parts[self.keyword_at + offset] = id;
            }
        }
        parts.join("/")
    }
}

impl Rule {
    fn last_offset(&self) -> usize {
        let offsets = [self.build, self.collection, Some(self.partition), self.segment];
        offsets.into_iter().flatten().max().unwrap_or(self.partition)
    }
}

#[cfg(test)]
mod tests;
