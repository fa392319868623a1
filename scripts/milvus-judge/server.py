"""Milvus itself: the server as a process, and the calls of its API that the judge needs."""

import json
import os
import sys
import time
from pathlib import Path

from milvus import MilvusServer, MilvusServerConfig
from pymilvus import Collection, connections, utility
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from kinds import VECTOR

WAIT_S = 300
LINE_SHOWN = 300
SETTINGS = {
    # Compaction when the judge asks for it, not when the server thinks of it: the layout must be the same in every run.
    "dataCoord.compaction.enableAutoCompaction": "false",
    # Segments without an index would otherwise be searched through an approximate one made on loading.
    "queryNode.segcore.interimIndex.enableIndex": "false",
}
COMPONENTS = ("rootCoord", "proxy", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode")


class Milvus:
    """An embedded server over a folder of its own."""

    def __init__(self, folder):
        config = MilvusServerConfig(data_dir=str(folder))
        for name in COMPONENTS:
            config.set(f"{name}.ip", "127.0.0.1")
        for name, value in SETTINGS.items():
            config.set(name, value)
        self.folder = Path(folder)
        self.storage = self.folder / "data"
        self.server = MilvusServer(config)

    def __enter__(self):
        self.server.start()
        connections.connect(host="127.0.0.1", port=str(self.server.listen_port))
        return self

    def __exit__(self, kind, error, trace):
        if kind:
            self.show_log()
        connections.disconnect("default")
        self.server.stop()

    def show_log(self):
        text = (self.folder / "logs" / "milvus-stdout.log").read_text(errors="replace").splitlines()
        bad = [line[:LINE_SHOWN] for line in text if "[ERROR]" in line or "panic" in line]
        print("the last errors in Milvus' log:", *bad[-5:], sep="\n  ", file=sys.stderr)

    @property
    def stub(self):
        return connections._fetch_handler("default")._stub


def check(status):
    if status.error_code != common_pb2.Success:
        raise RuntimeError(f"Milvus: {status.reason}")


def describe(milvus, name):
    answer = milvus.stub.DescribeCollection(milvus_pb2.DescribeCollectionRequest(collection_name=name))
    check(answer.status)
    return answer


def partitions(milvus, name):
    """The partitions' ids by name."""
    answer = milvus.stub.ShowPartitions(milvus_pb2.ShowPartitionsRequest(collection_name=name))
    check(answer.status)
    return dict(zip(answer.partition_names, answer.partitionIDs))


def live_segments(milvus, name):
    """What Milvus says the collection consists of: rows by segment id."""
    answer = milvus.stub.GetPersistentSegmentInfo(milvus_pb2.GetPersistentSegmentInfoRequest(collectionName=name))
    check(answer.status)
    return {info.segmentID: info.num_rows for info in answer.infos if info.state == common_pb2.Flushed}


def create(kind, name):
    more = {"num_partitions": kind.num_partitions} if kind.num_partitions else {}
    collection = Collection(name, kind.schema(), shards_num=kind.shards, consistency_level="Strong", **more)
    for partition in kind.partitions:
        collection.create_partition(partition)
    return collection


def create_indexes(kind, collection):
    index, _ = kind.index
    collection.create_index(VECTOR, index | {"metric_type": kind.metric}, index_name=VECTOR)
    for field, index_type in kind.scalar_indexes.items():
        collection.create_index(field, {"index_type": index_type}, index_name=field)


def until(what, condition, wait_s=WAIT_S):
    end = time.monotonic() + wait_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"after {wait_s} s still not: {what}")
        time.sleep(0.5)


def wait_for_indexes(collection):
    for index in collection.indexes:
        def built(name=index.index_name):
            progress = utility.index_building_progress(collection.name, index_name=name)
            return progress["pending_index_rows"] == 0 and progress["indexed_rows"] == progress["total_rows"]
        until(f"{collection.name}: index {index.index_name} built", built)


def live_through(kind, collection):
    """Does what the kind's history says, each step flushed, and returns how many rows must be left."""
    keys, inserted = set(), []
    for step, what, partition in kind.history():
        if step == "insert":
            answer = collection.insert(what, partition_name=partition)
            inserted = list(answer.primary_keys)
            keys.update(inserted)
        elif step == "upsert":
            keys.update(collection.upsert(what, partition_name=partition).primary_keys)
        elif step == "delete":
            collection.delete(f"id in {list_of(what)}")
            keys.difference_update(what)
        elif step == "delete-inserted":
            collection.delete(f"id in {list_of(inserted[what])}", partition_name=partition)
            keys.difference_update(inserted[what])
        elif step == "compact":
            compact(collection)
        else:
            raise ValueError(step)
        collection.flush()
    return len(keys)


def list_of(keys):
    return json.dumps(list(keys), ensure_ascii=False)


def compact(collection):
    wait_for_indexes(collection)  # Only indexed segments are chosen for compaction.
    collection.compact()
    collection.wait_for_compaction_completed(timeout=WAIT_S)
    plans = collection.get_compaction_plans().plans
    if not plans:
        raise RuntimeError(f"{collection.name}: Milvus found nothing to compact, so this collection judges nothing")


def import_backup(milvus, name, partition, insert_log, delta_log):
    """What milvus-backup does for one partition. pymilvus drops the option `backup`, so the call is made by hand."""
    request = milvus_pb2.ImportRequest(
        collection_name=name,
        partition_name=partition,
        files=[f"{insert_log}{os.sep}", f"{delta_log}{os.sep}"],
        options=[common_pb2.KeyValuePair(key="backup", value="true")],
    )
    answer = milvus.stub.Import(request)
    check(answer.status)
    for task in answer.tasks:
        def ended(task=task):
            state = utility.get_bulk_insert_state(task)
            if state.state in (state.ImportFailed, state.ImportFailedAndCleaned):
                raise RuntimeError(f"{name}: Milvus could not import partition {partition}: {state.failed_reason}")
            return state.state == state.ImportCompleted
        until(f"{name}: partition {partition} imported", ended)
