//! The layout by its golden pairs, its table, and its properties.

use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::*;

const IDS: NewIds<'static> = NewIds { collection: "aaa", partition: "bbb", segment: "ccc", build: None };

#[test]
fn the_golden_pairs_hold() {
    for (source, target) in [
        ("files/insert_log/111/222/333/444/555.log", "files/insert_log/aaa/bbb/ccc/444/555.log"),
        ("files/index_files/1001/1/222/333/scalar_index", "files/index_files/1001/1/bbb/ccc/scalar_index"),
        ("files/text_log/123/1/111/222/333/444/index_file", "files/text_log/123/1/aaa/bbb/ccc/444/index_file"),
        (
            "files/json_stats/2/123/1/111/222/333/444/shared_key_index/file",
            "files/json_stats/2/123/1/aaa/bbb/ccc/444/shared_key_index/file",
        ),
    ] {
        assert_eq!(LayoutKey::detect(source).unwrap().renamed(&IDS), target);
    }
}

#[test]
fn every_row_of_the_table_replaces_its_ids_and_build() {
    let ids = NewIds { build: Some("BBB"), ..IDS };
    for (source, target, kind) in [
        ("insert_log/1/2/3/4/5", "insert_log/aaa/bbb/ccc/4/5", FileKind::Insert),
        ("insert_log/1/2/3/_data/x", "insert_log/aaa/bbb/ccc/_data/x", FileKind::Insert),
        ("delta_log/1/2/3/4", "delta_log/aaa/bbb/ccc/4", FileKind::Delta),
        ("stats_log/1/2/3/4/5", "stats_log/aaa/bbb/ccc/4/5", FileKind::Stats),
        ("bm25_stats/1/2/3/4/5", "bm25_stats/aaa/bbb/ccc/4/5", FileKind::Bm25),
        ("index_files/7/1/2/3/f", "index_files/BBB/1/bbb/ccc/f", FileKind::Index),
        ("index_v1/1/2/3/7/1/f", "index_v1/aaa/bbb/ccc/BBB/1/f", FileKind::Index),
        ("text_log/7/1/1/2/3/4/f", "text_log/BBB/1/aaa/bbb/ccc/4/f", FileKind::TextIndex),
        ("json_key_index_log/7/1/1/2/3/4/f", "json_key_index_log/BBB/1/aaa/bbb/ccc/4/f", FileKind::JsonIndex),
        ("json_stats/2/7/1/1/2/3/4/f", "json_stats/2/BBB/1/aaa/bbb/ccc/4/f", FileKind::JsonIndex),
        ("insert_log/1/2/lobs/4/_data/f.vx", "insert_log/aaa/bbb/lobs/4/_data/f.vx", FileKind::Lob),
    ] {
        let key = LayoutKey::detect(source).unwrap();
        assert_eq!(key.renamed(&ids), target);
        assert_eq!(key.kind(), kind);
        assert_eq!(LayoutKey::parse(source, kind).unwrap(), key);
    }
}

#[test]
fn the_first_keyword_counts_and_later_ones_are_plain_parts() {
    let key = LayoutKey::detect("insert_log/1/2/3/insert_log/9/9/9/9").unwrap();
    assert_eq!(key.renamed(&IDS), "insert_log/aaa/bbb/ccc/insert_log/9/9/9/9");
    let root = LayoutKey::parse("stats_log/delta_log/1/2/3/4", FileKind::Delta).unwrap();
    assert_eq!((root.root().as_str(), root.ids().collection), ("stats_log", Some("1")));
}

#[test]
fn equal_ids_in_different_places_are_replaced_by_place() {
    let key = LayoutKey::detect("files/1/index_files/1/1/1/1/1").unwrap();
    assert_eq!(key.renamed(&IDS), "files/1/index_files/1/1/bbb/ccc/1");
}

#[test]
fn a_key_without_its_keyword_or_ids_is_an_error_that_names_it() {
    for (key, part) in [
        ("files/other/1/2/3/4", "has no part 'insert_log'"),
        ("insert_log", "too few parts after 'insert_log'"),
        ("insert_log/1/2/3", "too few parts after 'insert_log'"),
        ("../insert_log/1/2/3/4/5", "is refused"),
    ] {
        let message = LayoutKey::parse(key, FileKind::Insert).expect_err(key).to_string();
        assert!(message.contains(part) && message.contains(key), "{message}");
    }
    assert!(LayoutKey::detect("text_log/1/2/3/4/5").is_err());
}

fn part() -> impl Strategy<Value = String> {
    "[a-z0-9_]{1,8}"
}

proptest! {
    #[test]
    fn only_the_parts_at_the_offsets_change(
        rule in 0..RULES.len(),
        root in proptest::collection::vec("[a-z]{1,4}x", 0..3),
        parts in proptest::collection::vec(part(), 8..12),
        mapped in any::<bool>(),
    ) {
        let rule = &RULES[rule];
        let mut all = root.clone();
        all.push(rule.keyword.to_owned());
        all.extend(parts);
        let key = all.join("/");
        let new = NewIds { collection: "C*", partition: "P*", segment: "S*", build: mapped.then_some("B*") };
        let parsed = LayoutKey::detect(&key).unwrap();
        let renamed = parsed.renamed(&new);
        let renamed: Vec<&str> = renamed.split('/').collect();
        prop_assert_eq!(renamed.len(), all.len());
        for (at, (before, after)) in all.iter().zip(&renamed).enumerate() {
            let offset = at.checked_sub(root.len());
            let expected = match offset {
                Some(_) if offset == parsed.rule.collection => "C*",
                Some(_) if offset == Some(parsed.rule.partition) => "P*",
                Some(_) if offset == parsed.rule.segment => "S*",
                Some(_) if mapped && offset == parsed.rule.build => "B*",
                _ => before,
            };
            prop_assert_eq!(*after, expected);
        }
    }

    #[test]
    fn renaming_back_gives_the_source(parts in proptest::collection::vec(part(), 9), rule in 0..RULES.len()) {
        let key = format!("{}/{}", RULES[rule].keyword, parts.join("/"));
        let parsed = LayoutKey::detect(&key).unwrap();
        let own = parsed.ids();
        let there = parsed.renamed(&NewIds { build: Some("7"), ..IDS });
        let back = LayoutKey::detect(&there).unwrap().renamed(&NewIds {
            collection: own.collection.unwrap_or(""),
            partition: own.partition,
            segment: own.segment.unwrap_or(""),
            build: own.build,
        });
        prop_assert_eq!(back, key);
    }

    #[test]
    fn no_key_makes_it_panic(key in "([a-z_]{0,9}|insert_log|text_log|/|\\PC){0,12}") {
        let parsed = LayoutKey::detect(&key);
        prop_assert!(parsed.is_err() || check_key(&key).is_ok());
    }
}
