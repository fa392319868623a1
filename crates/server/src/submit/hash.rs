//! The hash by which a repeated request is known: the same for the same request on every node, whatever the order of
//! its maps, the pages its mappings came in, and the configuration.

use ferry_machine::command::IdMapping;
use ferry_proto::v1;
use prost::Message;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Hash of a request as far as its mappings are in: each is added to the hash of what came before it, so neither a
/// client nor a node has to hold all of them to know a request again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestHash([u8; 32]);

impl RequestHash {
    /// Of a request with so many mappings, but without them, its request id and its dry run.
    pub(crate) fn of_header(request: &v1::SubmitJobRequest, mappings: u64) -> Self {
        let mut request = v1::SubmitJobRequest {
            request_id: String::new(),
            name: request.name.clone(),
            source: request.source.clone(),
            target: request.target.clone(),
            id_mappings: Vec::new(),
            options: request.options.clone(),
            dry_run: false,
            select: request.select.clone(),
            // What is accepted says nothing of what is asked for.
            accept: Vec::new(),
        };
        // Left out and empty are the same request.
        let labels = std::mem::take(&mut request.options.get_or_insert_default().labels);
        let target = request.target.get_or_insert_default();
        let partitions = std::mem::take(&mut target.partition_ids);
        let named_partitions = std::mem::take(&mut target.partitions);
        in_any_order(&mut request);
        request.source.get_or_insert_default();
        let mut hash = Sha256::new();
        part(&mut hash, &request.encode_to_vec());
        for (key, value) in labels.into_iter().collect::<BTreeMap<_, _>>() {
            part(&mut hash, key.as_bytes());
            part(&mut hash, value.as_bytes());
        }
        part(&mut hash, &mappings.to_be_bytes());
        hash.update(b"partitions");
        for (source, target) in partitions.into_iter().collect::<BTreeMap<_, _>>() {
            part(&mut hash, &source.to_be_bytes());
            part(&mut hash, &target.to_be_bytes());
        }
        if !named_partitions.is_empty() {
            hash.update(b"named partitions");
        }
        for (source, target) in named_partitions.into_iter().collect::<BTreeMap<_, _>>() {
            part(&mut hash, source.as_bytes());
            part(&mut hash, &target.to_be_bytes());
        }
        Self(hash.finalize().into())
    }

    /// Adds the next mapping of the request.
    pub(crate) fn add(&mut self, mapping: &IdMapping) {
        let mut hash = Sha256::new();
        hash.update(self.0);
        for id in [mapping.source.0, mapping.target.0, mapping.partition_id] {
            hash.update(id.to_be_bytes());
        }
        self.0 = hash.finalize().into();
    }

    /// The same with further mappings.
    pub(crate) fn with(mut self, mappings: &[IdMapping]) -> Self {
        mappings.iter().for_each(|mapping| self.add(mapping));
        self
    }

    /// As rows and commands keep it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.to_vec()
    }
}

/// Lists that mean the same in any order, and left out as empty, become the same.
fn in_any_order(request: &mut v1::SubmitJobRequest) {
    if let Some(select) = &mut request.select {
        select.partitions.sort_unstable();
        select.partitions.dedup();
        select.segment_ids.sort_unstable();
        select.segment_ids.dedup();
    }
    request.select.take_if(|select| *select == v1::Selection::default());
    let indexes = &mut request.options.get_or_insert_default().indexes;
    indexes.sort_unstable();
    indexes.dedup();
}

/// Parts carry their length, so that no two lists of parts look alike.
fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferry_machine::id::SegmentId;

    fn request(labels: &[(&str, &str)], partitions: &[(i64, i64)]) -> v1::SubmitJobRequest {
        v1::SubmitJobRequest {
            name: "copy".into(),
            target: Some(v1::TargetRef {
                uri: "file:///b".into(),
                collection_id: 7,
                partition_ids: partitions.iter().copied().collect(),
                ..v1::TargetRef::default()
            }),
            options: Some(v1::JobOptions {
                labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
                ..v1::JobOptions::default()
            }),
            ..v1::SubmitJobRequest::default()
        }
    }

    fn mapping(source: i64, target: i64, partition_id: i64) -> IdMapping {
        IdMapping { source: SegmentId(source), target: SegmentId(target), partition_id }
    }

    #[test]
    fn the_order_of_maps_the_request_id_and_a_dry_run_do_not_change_the_hash() {
        let first = RequestHash::of_header(&request(&[("a", "1"), ("b", "2"), ("c", "3")], &[(1, 2), (3, 4)]), 7);
        for _ in 0..20 {
            // Each map has its own random order.
            let mut again = request(&[("c", "3"), ("b", "2"), ("a", "1")], &[(3, 4), (1, 2)]);
            again.request_id = uuid::Uuid::new_v4().to_string();
            again.dry_run = true;
            assert_eq!(RequestHash::of_header(&again, 7), first);
        }
    }

    fn selection(partitions: &[&str], segment_ids: &[i64]) -> Option<v1::Selection> {
        let partitions = partitions.iter().map(|name| (*name).into()).collect();
        Some(v1::Selection { partitions, segment_ids: segment_ids.to_vec() })
    }

    #[test]
    fn the_order_of_what_is_chosen_and_what_is_accepted_do_not_change_the_hash() {
        let of = |partitions: &[&str], segments: &[i64], indexes: &[v1::IndexKind], accept: &[&str]| {
            let mut request = request(&[], &[]);
            request.select = selection(partitions, segments);
            request.accept = accept.iter().map(|name| (*name).into()).collect();
            let options = request.options.as_mut().expect("options");
            options.indexes = indexes.iter().map(|kind| i32::from(*kind)).collect();
            RequestHash::of_header(&request, 0)
        };
        let (text, json) = (v1::IndexKind::Text, v1::IndexKind::Json);
        assert_eq!(of(&["a", "b"], &[], &[text, json], &[]), of(&["b", "a", "b"], &[], &[json, text], &["no-rows"]));
        assert_eq!(of(&[], &[1, 2], &[], &[]), of(&[], &[2, 1], &[], &[]));
        assert_eq!(of(&[], &[], &[], &[]), RequestHash::of_header(&request(&[], &[]), 0));
        assert_ne!(of(&["a"], &[], &[], &[]), of(&["b"], &[], &[], &[]));
        assert_ne!(of(&[], &[1], &[], &[]), of(&[], &[2], &[], &[]));
        assert_ne!(of(&[], &[], &[text], &[]), of(&[], &[], &[json], &[]));
    }

    #[test]
    fn partitions_by_name_are_a_part_of_the_request_in_any_order() {
        let of = |partitions: &[(&str, i64)]| {
            let mut request = request(&[], &[]);
            let target = request.target.as_mut().expect("a target");
            target.partitions = partitions.iter().map(|(name, id)| ((*name).into(), *id)).collect();
            RequestHash::of_header(&request, 0)
        };
        for _ in 0..20 {
            assert_eq!(of(&[("a", 1), ("b", 2), ("c", 3)]), of(&[("c", 3), ("b", 2), ("a", 1)]));
        }
        assert_ne!(of(&[("a", 1)]), of(&[("a", 2)]));
        assert_ne!(of(&[("a", 1)]), of(&[("b", 1)]));
        assert_ne!(of(&[("a", 1)]), of(&[]));
    }

    #[test]
    fn every_part_of_a_request_changes_the_hash() {
        let base = request(&[("a", "1")], &[(1, 2)]);
        let others = [
            request(&[("a", "2")], &[(1, 2)]),
            request(&[("a1", "")], &[(1, 2)]),
            request(&[("a", "1")], &[(1, 3)]),
            request(&[], &[(1, 2)]),
            request(&[("a", "1")], &[]),
            v1::SubmitJobRequest { name: "other".into(), ..base.clone() },
        ];
        for other in others {
            assert_ne!(RequestHash::of_header(&other, 7), RequestHash::of_header(&base, 7), "{other:?}");
        }
        assert_ne!(RequestHash::of_header(&base, 8), RequestHash::of_header(&base, 7));
    }

    #[test]
    fn every_mapping_and_its_place_change_the_hash_and_pages_do_not() {
        let header = RequestHash::of_header(&request(&[], &[]), 3);
        let of = |mappings: &[IdMapping]| header.clone().with(mappings);
        let mappings = [mapping(1, 11, 0), mapping(2, 12, 0), mapping(3, 0, 5)];
        let others: [&[IdMapping]; 6] = [
            &[],
            &mappings[..2],
            &[mappings[1], mappings[0], mappings[2]],
            &[mapping(4, 11, 0), mappings[1], mappings[2]],
            &[mapping(1, 0, 0), mappings[1], mappings[2]],
            &[mapping(1, 11, 1), mappings[1], mappings[2]],
        ];
        for other in others {
            assert_ne!(of(other), of(&mappings), "{other:?}");
        }
        for cut in 0..mappings.len() {
            assert_eq!(of(&mappings[..cut]).with(&mappings[cut..]), of(&mappings));
        }
    }

    #[test]
    fn left_out_and_empty_options_are_the_same_request() {
        let without = v1::SubmitJobRequest { name: "copy".into(), ..v1::SubmitJobRequest::default() };
        let with = v1::SubmitJobRequest { options: Some(v1::JobOptions::default()), ..without.clone() };
        assert_eq!(RequestHash::of_header(&without, 0), RequestHash::of_header(&with, 0));
    }
}
