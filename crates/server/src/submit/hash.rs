//! The hash by which a repeated request is known: the same for the same request on every node, whatever the order of
//! its maps and whatever the configuration.

use ferry_proto::v1;
use prost::Message;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Hash of a request without its request id and its dry run.
pub(crate) fn canonical_hash(request: &v1::SubmitJobRequest) -> Vec<u8> {
    let mut request = v1::SubmitJobRequest { request_id: String::new(), dry_run: false, ..request.clone() };
    // Left out and empty are the same request.
    let labels = std::mem::take(&mut request.options.get_or_insert_default().labels);
    let partitions = std::mem::take(&mut request.target.get_or_insert_default().partition_ids);
    request.source.get_or_insert_default();
    let mut hash = Sha256::new();
    part(&mut hash, &request.encode_to_vec());
    for (key, value) in labels.into_iter().collect::<BTreeMap<_, _>>() {
        part(&mut hash, key.as_bytes());
        part(&mut hash, value.as_bytes());
    }
    hash.update(b"partitions");
    for (source, target) in partitions.into_iter().collect::<BTreeMap<_, _>>() {
        part(&mut hash, &source.to_be_bytes());
        part(&mut hash, &target.to_be_bytes());
    }
    hash.finalize().to_vec()
}

/// Parts carry their length, so that no two lists of parts look alike.
fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(labels: &[(&str, &str)], partitions: &[(i64, i64)]) -> v1::SubmitJobRequest {
        v1::SubmitJobRequest {
            name: "copy".into(),
            target: Some(v1::TargetRef {
                uri: "file:///b".into(),
                collection_id: 7,
                partition_ids: partitions.iter().copied().collect(),
            }),
            options: Some(v1::JobOptions {
                labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
                ..v1::JobOptions::default()
            }),
            ..v1::SubmitJobRequest::default()
        }
    }

    #[test]
    fn the_order_of_maps_the_request_id_and_a_dry_run_do_not_change_the_hash() {
        let first = canonical_hash(&request(&[("a", "1"), ("b", "2"), ("c", "3")], &[(1, 2), (3, 4)]));
        for _ in 0..20 {
            // Each map has its own random order.
            let mut again = request(&[("c", "3"), ("b", "2"), ("a", "1")], &[(3, 4), (1, 2)]);
            again.request_id = uuid::Uuid::new_v4().to_string();
            again.dry_run = true;
            assert_eq!(canonical_hash(&again), first);
        }
    }

    #[test]
    fn every_part_of_a_request_changes_the_hash() {
        let base = request(&[("a", "1")], &[(1, 2)]);
        let mut others = vec![
            request(&[("a", "2")], &[(1, 2)]),
            request(&[("a1", "")], &[(1, 2)]),
            request(&[("a", "1")], &[(1, 3)]),
            request(&[], &[(1, 2)]),
            request(&[("a", "1")], &[]),
            v1::SubmitJobRequest { name: "other".into(), ..base.clone() },
        ];
        others.push(v1::SubmitJobRequest {
            id_mappings: vec![v1::IdMapping { source_segment_id: 1, ..v1::IdMapping::default() }],
            ..base.clone()
        });
        for other in others {
            assert_ne!(canonical_hash(&other), canonical_hash(&base), "{other:?}");
        }
    }

    #[test]
    fn left_out_and_empty_options_are_the_same_request() {
        let without = v1::SubmitJobRequest { name: "copy".into(), ..v1::SubmitJobRequest::default() };
        let with = v1::SubmitJobRequest { options: Some(v1::JobOptions::default()), ..without.clone() };
        assert_eq!(canonical_hash(&without), canonical_hash(&with));
    }
}
