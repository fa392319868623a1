//! Keys, rows and commands as bytes: nothing is lost on the way, and keys keep their order.

use crate::any::Dice;
use ferry_store::codec::{
    CodecError, EncodedCommand, FORMAT, decode_batch, encode_batch, encode_command, join_batch, key, rows,
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_bytes_of_keys_order_as_keys_do(seed in any::<u64>()) {
        let mut dice = Dice::new(seed);
        let (left, right) = (dice.key(), dice.key());
        prop_assert_eq!(key::encode(&left).cmp(&key::encode(&right)), left.cmp(&right), "{:?} {:?}", left, right);
    }

    #[test]
    fn a_key_comes_back_from_its_bytes(seed in any::<u64>()) {
        let key = Dice::new(seed).key();
        prop_assert_eq!(key::decode(&key::encode(&key)), Ok(key));
    }

    #[test]
    fn a_row_comes_back_from_its_bytes(seed in any::<u64>()) {
        let mut dice = Dice::new(seed);
        let key = dice.key();
        let row = dice.row(&key);
        prop_assert_eq!(rows::decode(&key, &rows::encode(row.clone())), Ok(row));
    }

    #[test]
    fn commands_come_back_from_their_bytes(seed in any::<u64>()) {
        let mut dice = Dice::new(seed);
        let stamp = dice.stamp();
        let commands: Vec<_> = (0..dice.below(4)).map(|_| dice.command()).collect();
        prop_assert_eq!(decode_batch(&encode_batch(stamp, &commands)), Ok((stamp, commands)));
    }

    #[test]
    fn commands_encoded_one_by_one_make_the_same_batch(seed in any::<u64>()) {
        let mut dice = Dice::new(seed);
        let stamp = dice.stamp();
        let commands: Vec<_> = (0..dice.below(4)).map(|_| dice.command()).collect();
        let encoded: Vec<_> = commands.iter().map(encode_command).collect();
        prop_assert_eq!(join_batch(stamp, &encoded), encode_batch(stamp, &commands));
        let bytes: usize = encoded.iter().map(EncodedCommand::size_bytes).sum();
        prop_assert_eq!(encode_batch(stamp, &[]).len() + bytes, encode_batch(stamp, &commands).len());
    }

    #[test]
    fn no_bytes_make_the_decoders_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), seed in any::<u64>()) {
        let key = Dice::new(seed).key();
        let known = [&[FORMAT], bytes.as_slice()].concat();
        // Some are a key, a row or a batch by chance; what must not be is a panic.
        let _ = (key::decode(&bytes), rows::decode(&key, &known), decode_batch(&known));
    }
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let error = decode_batch(&[FORMAT + 1, 0]).expect_err("it is of another version");
    assert_eq!(error, CodecError::Format { what: "batch of commands", found: Some(FORMAT + 1) });
    assert_eq!(error.to_string(), "the batch of commands has format Some(2), this version reads format 1");
}

#[test]
fn a_command_that_this_version_does_not_know_is_refused() {
    // Field 2 of a batch (a command) with an unknown field 1000 in it; the stamp is field 1.
    let unknown = [FORMAT, 0x0A, 0x00, 0x12, 0x03, 0xC0, 0x3E, 0x01];
    let error = decode_batch(&unknown).expect_err("a replica must not skip a command");
    assert_eq!(error, CodecError::Field { what: "batch of commands", field: "kind of command" });
}

#[test]
fn a_key_of_an_unknown_table_or_with_too_many_bytes_is_refused() {
    assert!(key::decode(&[200]).expect_err("table 200").to_string().contains("its table is unknown"));
    let mut long = key::encode(&ferry_machine::key::Key::Cluster);
    long.push(0);
    assert!(key::decode(&long).expect_err("one byte more").to_string().contains("behind its last field"));
}
