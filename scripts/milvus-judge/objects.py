"""Whether a copy's files are the source's files under the new ids, every one and no other."""

import hashlib
from collections import Counter


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def segment_logs(root, collection_id, partition_id, segment_id):
    """The logs of a segment, by keyword and the key below the segment."""
    found = {}
    for keyword in ("insert_log", "delta_log", "stats_log"):
        folder = root / keyword / str(collection_id) / str(partition_id) / str(segment_id)
        found |= {(keyword, str(path.relative_to(folder))): digest(path) for path in files(folder)}
    return found


def segment_builds(root, partition_id, segment_id):
    """The index builds of a segment: build id -> version and name of each file -> its digest."""
    found = {}
    for folder in (root / "index_files").glob(f"*/*/{partition_id}/{segment_id}"):
        version = folder.parent.parent
        build = found.setdefault(int(version.parent.name), {})
        build |= {(version.name, str(path.relative_to(folder))): digest(path) for path in files(folder)}
    return found


def contents(builds):
    return Counter(frozenset(build.items()) for build in builds.values())


def differences(source, target, source_collection, target_collection, segments, partitions):
    """In words, how the copy is not as its source.

    `segments` maps a source's segment to its partition and the copy's segment, `partitions` the partitions.
    """
    expected = 0
    for source_segment, (source_partition, target_segment) in segments.items():
        target_partition = partitions[source_partition]
        ours = segment_logs(source, source_collection, source_partition, source_segment)
        theirs = segment_logs(target, target_collection, target_partition, target_segment)
        if not any(keyword == "insert_log" for keyword, _ in ours):
            yield f"segment {source_segment} has no insert logs"
        for key in sorted(ours.keys() | theirs.keys()):
            if ours.get(key) != theirs.get(key):
                yield f"segment {source_segment}: {'/'.join(key)} is {theirs.get(key)} in place of {ours.get(key)}"
        builds = segment_builds(source, source_partition, source_segment)
        copied = segment_builds(target, target_partition, target_segment)
        if contents(builds) != contents(copied):
            yield f"segment {source_segment}: builds {sorted(builds)} are not builds {sorted(copied)} by content"
        for build in builds.keys() & copied.keys():
            yield f"segment {source_segment}: build {build} kept its id"
        expected += len(ours) + sum(map(len, builds.values()))
    there = sum(counts(target).values())
    if there != expected:
        yield f"{there} files are there in place of {expected}"


def counts(root):
    """How many files there are by keyword; the copy's own snapshot, which its source has not, is none of them."""
    found = Counter(path.relative_to(root).parts[0] for path in files(root))
    del found["snapshots"]
    return dict(sorted(found.items()))
