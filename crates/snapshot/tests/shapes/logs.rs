//! Segments below storage version 3: the lists are the files, and each must hold what it promises.

use serde_json::{Value, json};

use crate::opened::{assert_says, pairs};
use crate::tree::{Tree, group, logs};

/// Three logs of each field, of a hundred rows each, but for fields that are given otherwise.
fn thirds(tree: &mut Tree, field: i64, count: i64) -> Vec<Value> {
    (0..count).map(|_| tree.log("insert_log", 1001, field, 100)).collect()
}

/// A field as `AddCollectionField` of Milvus 2.6 puts it into the schema.
fn added(metadata: &mut Value) {
    let fields = metadata["collection"]["schema"]["fields"].as_array_mut().unwrap();
    fields.push(json!({"fieldID": "102", "name": "later", "data_type": "Int64", "nullable": true}));
    fields.push(json!({"fieldID": "103", "name": "never", "data_type": "Int64"}));
}

/// A segment whose fields have so many of three logs, in this order.
fn counted(fields: &[(i64, i64)]) -> Tree {
    let mut tree = Tree::new();
    tree.edit = added;
    let inserts = fields.iter().map(|(field, count)| logs(*field, thirds(&mut tree, *field, *count))).collect();
    tree.entry(1001, 300, 0, inserts);
    tree
}

#[tokio::test]
async fn a_log_with_rows_and_no_path_is_refused_by_name() {
    for at in 0..3 {
        let mut tree = counted(&[(0, 3), (1, 3), (100, 3), (101, 3)]);
        let log = &mut tree.entries[0]["binlog_files"][2]["binlogs"][at];
        log["log_path"] = json!("");
        let id = log["log_id"].to_string();
        let refused = tree.open().await.refused(1001).await;
        assert_says(&refused, &["segment 1001", "insert log", &id, "field 100", "100 rows and no path"]);
    }
}

#[tokio::test]
async fn the_only_deletions_of_a_segment_without_a_path_are_refused_by_name() {
    let mut tree = Tree::new();
    let log = tree.log_without_object(5);
    let id = log["log_id"].to_string();
    tree.segment(1001, 100)["deltalog_files"] = json!([logs(0, vec![log])]);
    assert_says(&tree.open().await.refused(1001).await, &["segment 1001", "delta log", &id, "5 rows and no path"]);
}

#[tokio::test]
async fn statistics_with_entries_and_no_path_are_refused_too_and_empty_placeholders_are_not() {
    let mut tree = Tree::new();
    let log = tree.log_without_object(100);
    tree.segment(1001, 100)["statslog_files"] = json!([logs(100, vec![log])]);
    assert_says(&tree.open().await.refused(1001).await, &["segment 1001", "stats log", "field 100"]);
    tree.last()["statslog_files"][0]["binlogs"][0]["entries_num"] = json!(0);
    assert_eq!(tree.open().await.copies(1001).await.len(), 4);
}

#[tokio::test]
async fn a_nullable_field_that_was_added_later_may_lack_rows_wherever_it_is_listed() {
    for order in [
        [(102, 1), (0, 3), (1, 3), (100, 3), (101, 3)],
        [(0, 3), (1, 3), (102, 1), (100, 3), (101, 3)],
        [(0, 3), (1, 3), (100, 3), (101, 3), (102, 1)],
        [(0, 3), (1, 3), (100, 3), (101, 3), (102, 0)],
        [(102, 3), (0, 3), (1, 3), (100, 3), (101, 3)],
    ] {
        let opened = counted(&order).open().await;
        let total: i64 = order.iter().map(|(_, count)| count).sum();
        assert_eq!(opened.copies(1001).await.len(), usize::try_from(total).unwrap(), "{order:?}");
        assert_eq!(opened.plan(1001, &opened.target()).await.unwrap().rows, 300);
    }
}

#[tokio::test]
async fn a_field_that_lacks_rows_and_is_not_nullable_is_refused_by_name() {
    // Of the first schema, added but not nullable, and one that the schema does not have at all.
    for (field, count) in [(101, 1), (103, 2), (109, 1), (101, 0)] {
        for first in [true, false] {
            let mut order = vec![(0, 3), (1, 3), (100, 3)];
            order.insert(if first { 0 } else { 3 }, (field, count));
            let refused = counted(&order).open().await.refused(1001).await;
            let words = [format!("field {field}"), format!("{} of its 300 rows", count * 100)];
            assert_says(&refused, &["segment 1001", &words[0], &words[1], "take the snapshot again"]);
        }
    }
}

#[tokio::test]
async fn a_segment_whose_fields_all_lack_rows_is_refused() {
    let refused = counted(&[(0, 2), (1, 2), (100, 2), (102, 1)]).open().await.refused(1001).await;
    assert_says(&refused, &["segment 1001", "hold 200 rows", "num_of_rows is 300"]);
    let refused = counted(&[(0, 4), (1, 4), (100, 4), (102, 3)]).open().await.refused(1001).await;
    assert_says(&refused, &["hold 400 rows", "num_of_rows is 300"]);
    let refused = counted(&[]).open().await.refused(1001).await;
    assert_says(&refused, &["segment 1001", "hold 0 rows", "num_of_rows is 300"]);
}

/// Column groups, as storage version 2 of Milvus 2.6 has them: the vector has a group of its own.
fn grouped(later: Option<(&[i64], i64)>) -> Tree {
    let mut tree = Tree::new();
    tree.edit = added;
    let mut inserts = vec![
        group(0, &[0, 1, 100], thirds(&mut tree, 0, 3)),
        group(101, &[101], vec![tree.log("insert_log", 1001, 101, 300)]),
    ];
    if let Some((fields, count)) = later {
        inserts.insert(0, group(2, fields, thirds(&mut tree, 2, count)));
    }
    tree.entry(1001, 300, 2, inserts);
    tree
}

#[tokio::test]
async fn column_groups_are_copied_by_their_group() {
    let expected =
        pairs(1001, &["insert_log/@/0/5001", "insert_log/@/0/5002", "insert_log/@/0/5003", "insert_log/@/101/5004"]);
    assert_eq!(grouped(None).open().await.copies(1001).await, expected);
}

#[tokio::test]
async fn a_column_group_may_lack_rows_only_if_all_its_fields_may() {
    let opened = grouped(Some((&[102], 1))).open().await;
    assert_eq!(opened.copies(1001).await.len(), 5);
    let refused = grouped(Some((&[102, 103], 1))).open().await.refused(1001).await;
    assert_says(&refused, &["segment 1001", "field 2", "100 of its 300 rows"]);
}

#[tokio::test]
async fn sizes_of_old_writers_are_a_lower_bound_or_nothing() {
    let mut tree = Tree::new();
    tree.segment(1001, 100);
    tree.entries[0]["binlog_files"][0]["binlogs"][0]["log_size"] = json!(0);
    tree.entries[0]["binlog_files"][1]["binlogs"][0]["log_size"] = json!(7);
    let opened = tree.open().await;
    let plan = opened.plan(1001, &opened.target()).await.unwrap();
    let declared: Vec<Option<u64>> = plan.files.iter().map(|file| file.declared_size_bytes).collect();
    assert_eq!(declared[..2], [None, Some(7)]);
    assert!(plan.files[1].check_size(8).is_ok() && plan.files[1].check_size(6).is_err());
}

#[tokio::test]
async fn a_segment_without_any_file_is_refused() {
    let mut tree = Tree::new();
    tree.entry(1001, 0, 0, Vec::new());
    assert_says(&tree.open().await.refused(1001).await, &["segment 1001 has no insert logs"]);
}
