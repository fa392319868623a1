"""A client that knows nothing of Ferry but an address: grpcio and reflection, no generated code.

Submits through a follower, reads the job from every node, watches it to its end, reads its events, allocates ids from
two nodes at once, and is refused with a hundred long violations. Exits with 0 only if all of it came out right.

Usage: foreign_client.py SOURCE_URI TARGET_URI ADDRESS ADDRESS ADDRESS
"""

import concurrent.futures
import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

TIMEOUT_S = 60


class Node:
    """One node, its services discovered by reflection."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        self.pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(self.channel))

    def call(self, service, method, stream=False, **fields):
        found = self.pool.FindServiceByName(f"ferry.v1.{service}").FindMethodByName(method)
        request = message_factory.GetMessageClass(found.input_type)(**fields)
        answer = message_factory.GetMessageClass(found.output_type)
        kind = self.channel.unary_stream if stream else self.channel.unary_unary
        callable_ = kind(
            f"/ferry.v1.{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        if stream:
            return callable_(request, timeout=TIMEOUT_S)
        return callable_.with_call(request, timeout=TIMEOUT_S)

    def enum(self, name, value):
        return self.enum_values(name)[value]

    def enum_values(self, name):
        values = self.pool.FindEnumTypeByName(f"ferry.v1.{name}").values
        return {value.name: value.number for value in values}


def allocated(node):
    ids = []
    for _ in range(50):
        answer, _ = node.call("AllocatorService", "AllocateIds", count=7)
        ids.extend(range(answer.first_id, answer.first_id + answer.count))
    return ids


def refused(node, **fields):
    """Sends a bad submit ten times: grpcio gives up at random on the metadata of one answer that is too large."""
    for _ in range(10):
        try:
            node.call("JobService", "SubmitJob", **fields)
            raise AssertionError("a bad submit was taken")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
            details = dict(error.trailing_metadata())["grpc-status-details-bin"]
            assert len(error.details()) + len(details) < 4096, (len(error.details()), len(details))
            assert "more" in error.details(), error.details()


def main():
    source, target, *addresses = sys.argv[1:]
    nodes = [Node(address) for address in addresses]
    status, _ = nodes[0].call("ClusterService", "GetStatus")
    follower = next(node.address for node in status.nodes if node.id != status.leader_id)
    through = nodes[addresses.index(follower)]

    submitted, call = through.call(
        "JobService",
        "SubmitJob",
        request_id="foreign-client",
        source={"uri": source},
        target={"uri": target, "collection_id": 4200},
    )
    metadata = dict(call.initial_metadata())
    assert int(metadata["ferry-revision"]) > 0, metadata
    assert int(metadata["ferry-leader-id"]) == status.leader_id, metadata
    job_id = submitted.job.job_id
    for node in nodes:
        job, _ = node.call("JobService", "GetJob", job_id=job_id)
        assert job.job.job_id == job_id, job

    completed = through.enum("JobState", "JOB_STATE_COMPLETED")
    copied = -1
    for update in through.call("JobService", "WatchJob", stream=True, job_id=job_id):
        assert update.job.copied_segments >= copied, update
        copied = update.job.copied_segments
        last = update.job
    assert last.state == completed, last
    for node in nodes:
        job, _ = node.call("JobService", "GetJob", job_id=job_id)
        assert job.job.state == completed and job.job.total_rows == last.total_rows, job

    transitions = {value: name for name, value in through.enum_values("JobTransition").items()}
    told = []
    for response in through.call("JobService", "WatchEvents", stream=True, from_revision=0, job_id=job_id):
        told.extend(transitions[event.transition] for event in response.events)
        if "JOB_TRANSITION_COMPLETED" in told:
            break
    assert told == [f"JOB_TRANSITION_{name}" for name in ("SUBMITTED", "EXECUTING", "COMPLETED")], told

    with concurrent.futures.ThreadPoolExecutor() as pool:
        left, right = pool.map(allocated, nodes[:2])
    assert len(set(left) | set(right)) == len(left) + len(right) == 700, "an id was given out twice"

    uri = "s3://key:secret@bucket/" + "a" * 4000
    bad = {"source_segment_id": -1, "target_segment_id": -1}
    for node in (nodes[0], through):
        refused(node, source={"uri": uri}, target={"uri": uri, "collection_id": 1}, id_mappings=[bad] * 100)

    try:
        through.call("JobService", "GetJob", job_id=1)
        raise AssertionError("a job that does not exist was found")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
    print(f"job {job_id}: {last.copied_segments} segments, {last.total_rows} rows")


if __name__ == "__main__":
    main()
