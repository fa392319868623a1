//! The Avro of these tests against bytes that were worked out on paper.

use serde_json::json;

use crate::avro::{Kind, field, field_since, in_container};

#[test]
fn what_is_written_by_hand_is_read_by_hand() {
    static KIND: Kind = Kind::Record(
        "Any",
        &[
            field("number", Kind::Long),
            field("bytes", Kind::Bytes),
            field_since(2, "map", Kind::Map(&Kind::Many(&Kind::Text))),
        ],
    );
    for number in [0, -1, 63, 64, -65, i64::MAX, i64::MIN] {
        let value = json!({"number": number, "bytes": [0, 255], "map": {"a": ["x", "y"], "b": []}});
        assert_eq!(KIND.decode(2, &KIND.encode(2, &value)), Ok(value.clone()));
        assert_eq!(KIND.decode(1, &KIND.encode(1, &value)), Ok(json!({"number": number, "bytes": [0, 255]})));
    }
    // -1, then two items in a block that tells its size, then the end.
    let blocks = [0x01, 0x00, 0x02, 0x02, b'a', 0x03, 0x08, 0x02, b'x', 0x02, b'y', 0x00, 0x00];
    let value = json!({"number": -1, "bytes": [], "map": {"a": ["x", "y"]}});
    assert_eq!(KIND.decode(2, &blocks), Ok(value));
    assert!(KIND.decode(2, &blocks[..6]).is_err());
    assert_eq!(KIND.decode(1, &blocks).unwrap_err(), "11 bytes are left over");
}

#[test]
fn a_container_gives_back_its_one_datum() {
    let content = Kind::Text.container(1, &json!("one"));
    assert!(content.starts_with(b"Obj\x01"));
    assert_eq!(in_container(&content), Ok(&[6, b'o', b'n', b'e'][..]));
    assert!(in_container(&content[1..]).is_err());
}
