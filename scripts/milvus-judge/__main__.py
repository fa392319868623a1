"""Judges Ferry by a real Milvus: collections are made, copied by Ferry, imported again, and both must answer the same.

Usage: milvus-judge FERRY FOLDER [COLLECTION...]; see scripts/milvus, which prepares both.
"""

import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", message="pkg_resources is deprecated")

import objects
import server
from answers import Answers, queries
from ferry import Ferry, Refused
from google.protobuf import json_format
from kinds import KINDS
from pymilvus import utility

COMPLAINTS_SHOWN = 12


class Judged:
    """One collection, its copy, and the complaints about it."""

    def __init__(self, kind, milvus, ferry, folder):
        self.kind, self.milvus, self.ferry, self.folder = kind, milvus, ferry, folder
        self.source, self.copy = kind.name, f"{kind.name}_copy"
        self.complaints, self.copied = [], ""

    def make(self):
        """The collection as its users made it; returns what it answers."""
        collection = server.create(self.kind, self.source)
        server.create_indexes(self.kind, collection)
        expected = server.live_through(self.kind, collection)
        server.wait_for_indexes(collection)
        collection.load()
        self.asked = list(queries(self.kind))
        answers = Answers(self.kind, collection, self.asked)
        collection.release()
        answers.prove_something()
        if answers.count != expected:
            raise RuntimeError(f"{self.source}: Milvus counts {answers.count} rows, and {expected} must be left")
        return answers

    def restore(self):
        """Copies the collection's segments by Ferry to the ids of an empty collection with the same schema."""
        server.create(self.kind, self.copy)
        source, copy = (server.describe(self.milvus, name) for name in (self.source, self.copy))
        old, new = (server.partitions(self.milvus, name) for name in (self.source, self.copy))
        partitions = {old[name]: new[name] for name in old}
        schema = self.folder / f"{self.source}.json"
        schema.write_text(json_format.MessageToJson(source.schema, preserving_proto_field_name=True))
        root, target = self.milvus.storage, self.folder / self.copy
        made_of = ["--root", root.as_uri(), "--collection", source.collectionID, "--schema", schema]
        created = self.ferry.run("snapshot", "create", *made_of)
        goes_to = ["--target", target.as_uri(), "--collection", copy.collectionID]
        goes_to += [word for pair in partitions.items() for word in ("--partition", "{}={}".format(*pair))]
        self.ferry.run("job", "submit", "--source", created["uri"], *goes_to, "--wait")
        self.check_segments(source.collectionID, copy.collectionID, target, partitions)
        return target, copy.collectionID, new

    def check_segments(self, source_id, copy_id, target, partitions):
        """The copy holds the segments that Milvus calls alive, with all of their files and no others."""
        listed = self.ferry.run("segment", "list", "--collection", copy_id)["segments"]
        segments = {}
        for segment in listed:
            old = int(segment["source_segment_id"])
            folder = next(self.milvus.storage.glob(f"insert_log/{source_id}/*/{old}"))
            segments[old] = (int(folder.parent.name), int(segment["segment_id"]))
        live = server.live_segments(self.milvus, self.source)
        for what, ids in (("copied", segments.keys() - live.keys()), ("missing", live.keys() - segments.keys())):
            if ids:
                state = "replaced" if what == "copied" else "live"
                self.complaints.append(f"{len(ids)} {state} segments are {what}: {sorted(ids)}; {len(live)} are live")
        differences = objects.differences(self.milvus.storage, target, source_id, copy_id, segments, partitions)
        self.complaints.extend(differences)
        counts = objects.counts(target)
        self.copied = "; objects: " + ", ".join(f"{number} {keyword}" for keyword, number in counts.items())
        if lacking := self.kind.keywords - counts.keys():
            raise RuntimeError(f"{self.source}: nothing was copied of {lacking}: it judges less than it should")

    def answer_again(self, target, copy_id, partitions):
        """Imports the copy and returns what it answers."""
        for name, partition in partitions.items():
            insert, delta = (target / log / str(copy_id) / str(partition) for log in ("insert_log", "delta_log"))
            if insert.is_dir():
                server.import_backup(self.milvus, self.copy, name, insert, delta)
        collection = server.Collection(self.copy)
        collection.flush()
        server.create_indexes(self.kind, collection)
        server.wait_for_indexes(collection)
        collection.load()
        answers = Answers(self.kind, collection, self.asked)
        collection.release()
        return answers

    def judge(self):
        """Says how the copy differs, and whether it is equal."""
        begin = time.monotonic()
        before = self.make()
        try:
            self.complaints.extend(before.differences(self.answer_again(*self.restore())))
        except Refused as refused:
            self.complaints.append(str(refused))
        said = "DIFFERENT" if self.complaints else "equal"
        segments = len(server.live_segments(self.milvus, self.source))
        seconds = time.monotonic() - begin
        figures = f"{before.count:>6} rows {segments:>3} segments {seconds:>4.0f} s"
        print(f"{self.source:<18} {figures}  {said}{self.copied}", flush=True)
        for complaint in self.complaints[:COMPLAINTS_SHOWN]:
            print(f"    {complaint}", flush=True)
        if more := self.complaints[COMPLAINTS_SHOWN:]:
            print(f"    and {len(more)} more", flush=True)
        return not self.complaints


def memory_peak_mib(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def main():
    binary, folder, *names = sys.argv[1:]
    unknown = set(names) - {kind.name for kind in KINDS}
    if unknown:
        sys.exit(f"there are no collections {sorted(unknown)}: there are {[kind.name for kind in KINDS]}")
    folder = Path(folder)
    begin = time.monotonic()
    with server.Milvus(folder / "milvus") as milvus, Ferry(binary, folder / "ferry") as ferry:
        print(f"Milvus {utility.get_server_version()}", flush=True)
        chosen = [kind for kind in KINDS if not names or kind.name in names]
        right = [Judged(kind(), milvus, ferry, folder).judge() for kind in chosen]
        milvus_mib, ferry_mib = memory_peak_mib(milvus.server.server_proc), memory_peak_mib(ferry.process)
    seconds = time.monotonic() - begin
    memory = f"memory at most {milvus_mib} MiB of Milvus, {ferry_mib} MiB of ferry dev"
    print(f"{sum(right)} of {len(right)} collections equal; {seconds:.0f} s; {memory}")
    sys.exit(0 if all(right) else 1)


main()
