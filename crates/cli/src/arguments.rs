//! Values of arguments that have a form of their own; what is wrong with one is said with how to write it.

use std::path::Path;

/// A URI as it was given, checked to be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uri(pub(crate) String);

/// Reads a URI. A path is no URI, but what its URI would be is known.
pub(crate) fn uri(text: &str) -> Result<Uri, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(match file_uri(Path::new(text)) {
            Some(uri) if !text.is_empty() => format!("a path is no URI; write {uri}"),
            _ => "write a URI like file:///path or s3://bucket/prefix".to_owned(),
        });
    };
    if scheme == "file" && !rest.starts_with('/') {
        let uri = file_uri(Path::new(rest)).unwrap_or_else(|| "file:///path".to_owned());
        return Err(format!("a file URI has three slashes and an absolute path; write {uri}"));
    }
    Ok(Uri(text.to_owned()))
}

/// The URI of a path, seen from the working directory.
pub(crate) fn file_uri(path: &Path) -> Option<String> {
    let absolute = std::path::absolute(path).ok()?;
    Some(ferry_objects::file_uri(&absolute))
}

/// `SOURCE=TARGET`: a source partition and its target.
pub(crate) fn partition_target(text: &str) -> Result<(String, i64), String> {
    let pair = text.rsplit_once('=').and_then(|(source, target)| Some((source.trim(), id(target)?)));
    let (source, target) = pair.filter(|(source, _)| !source.is_empty()).ok_or_else(|| {
        "write SOURCE=TARGET with the source's name or id and the target's id, like _default=20".to_owned()
    })?;
    Ok((source.to_owned(), target))
}

/// A source partition that is copied, or by the option's older meaning, the target of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Partition {
    /// By name or id.
    Chosen(String),
    /// Source and target, by id.
    Mapped(i64, i64),
}

/// `NAME`, `ID` or `ID=ID`. No partition's name in Milvus has an equals sign.
pub(crate) fn partition(text: &str) -> Result<Partition, String> {
    match text.split_once('=') {
        None if text.trim().is_empty() => Err("write the name or the id of a partition".to_owned()),
        None => Ok(Partition::Chosen(text.trim().to_owned())),
        Some((source, target)) => match (id(source), id(target)) {
            (Some(source), Some(target)) => Ok(Partition::Mapped(source, target)),
            _ => Err(format!("to map a partition to its target, write --map-partition {text}")),
        },
    }
}

/// `KEY=VALUE`: a label.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, like team=search".to_owned()),
    }
}

fn id(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Partition, Uri, label, partition, partition_target, uri};

    #[test]
    fn a_uri_is_taken_as_it_is() {
        for good in ["file:///data/x", "s3://bucket/prefix", "memory:///"] {
            assert_eq!(uri(good), Ok(Uri(good.to_owned())));
        }
    }

    #[test]
    fn a_path_is_refused_with_the_uri_it_stands_for() {
        let here = std::env::current_dir().expect("a working directory");
        let expected = format!("a path is no URI; write file://{}/data/x", here.display());
        assert_eq!(uri("data/x"), Err(expected));
        assert_eq!(uri("/data/x"), Err("a path is no URI; write file:///data/x".to_owned()));
    }

    #[test]
    fn a_file_uri_with_a_host_is_refused() {
        let error = uri("file://data/x").expect_err("two slashes");
        assert!(error.contains("three slashes") && error.contains("/data/x"), "{error}");
        assert!(uri("").expect_err("nothing").contains("file:///path"));
    }

    #[test]
    fn a_partition_is_chosen_by_name_or_id_and_the_older_form_maps_one() {
        assert_eq!(partition("_default"), Ok(Partition::Chosen("_default".to_owned())));
        assert_eq!(partition("10"), Ok(Partition::Chosen("10".to_owned())));
        assert_eq!(partition("10=20"), Ok(Partition::Mapped(10, 20)));
        assert_eq!(partition("a=20"), Err("to map a partition to its target, write --map-partition a=20".to_owned()));
        assert!(partition(" ").is_err());
    }

    #[test]
    fn partitions_and_labels_are_pairs() {
        assert_eq!(partition_target("10=20"), Ok(("10".to_owned(), 20)));
        assert_eq!(partition_target("_default=20"), Ok(("_default".to_owned(), 20)));
        assert_eq!(label("team=a=b"), Ok(("team".to_owned(), "a=b".to_owned())));
        for bad in ["10", "10=", "=20", "a=b"] {
            assert!(partition_target(bad).is_err(), "{bad}");
        }
        assert!(label("team").is_err() && label("=x").is_err());
    }
}
