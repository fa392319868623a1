"""What a collection answers: how many rows it has, each row, and its searches; and whether two answer the same."""

import json

import numpy
from pymilvus import DataType

from kinds import HNSW, VECTOR

SEARCHES = 20
NEIGHBORS = 50
PAGE_ROWS = 1_000
# The same distance can differ in its last bits: Milvus computes it in other code for a segment too small for an index.
RELATIVE_ERROR_MAX = 1e-5
DIFFERENCES_SHOWN = 3


def count(collection, expression=""):
    return collection.query(expression, output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"]


def literal(value):
    return json.dumps(value, ensure_ascii=False)


def rows(kind, collection):
    """All rows by key, every field of each. A key that comes twice is an error: a dictionary would hide it."""
    found, smallest = {}, "" if kind.key_field().dtype == DataType.VARCHAR else -1
    iterator = collection.query_iterator(
        batch_size=PAGE_ROWS, expr=f"id > {literal(smallest)}", output_fields=["*"], consistency_level="Strong"
    )
    while page := iterator.next():
        for row in page:
            key = row["id"]
            if key in found:
                raise AssertionError(f"{collection.name}: the key {key!r} is there twice")
            found[key] = plain(row)
    iterator.close()
    return found


def plain(value):
    """The same value whatever type the client wraps it in, comparable with ==."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)) or hasattr(value, "DESCRIPTOR"):
        return [plain(each) for each in value]
    if isinstance(value, numpy.generic):
        return value.item()
    return value


def queries(kind):
    """Half of the searches look at everything, half of them through the filters in turn, where that is exact."""
    for number in range(SEARCHES):
        filtered = number % 2 and kind.index is not HNSW
        expression = kind.filters[number // 2 % len(kind.filters)] if filtered else None
        yield kind.vector(), expression


def searches(kind, collection, asked):
    _, params = kind.index
    found = []
    for vector, expression in asked:
        hits = collection.search(
            [vector],
            VECTOR,
            {"metric_type": kind.metric, "params": params},
            limit=NEIGHBORS,
            expr=expression,
            consistency_level="Strong",
        )[0]
        found.append((list(hits.ids), list(hits.distances)))
    return found


class Answers:
    """Everything that is compared."""

    def __init__(self, kind, collection, asked):
        self.count = count(collection)
        self.filtered = {expression: count(collection, expression) for expression in kind.filters}
        self.rows = rows(kind, collection)
        self.searches = searches(kind, collection, asked)

    def prove_something(self):
        """Raises when two collections could answer so and still be different."""
        if any(not 0 < number < self.count for number in self.filtered.values()):
            raise RuntimeError(f"a filter finds nothing or everything: {self.filtered}")
        if len(self.rows) != self.count:
            raise RuntimeError(f"there are {len(self.rows)} rows, and count(*) is {self.count}")
        if any(not ids for ids, _ in self.searches):
            raise RuntimeError("a search finds nothing")

    def differences(self, copy):
        """In words, what the copy answers otherwise."""
        if self.count != copy.count:
            yield f"count(*) is {copy.count} in place of {self.count}"
        for expression, number in self.filtered.items():
            if number != copy.filtered[expression]:
                yield f"count(*) of {expression} is {copy.filtered[expression]} in place of {number}"
        yield from row_differences(self.rows, copy.rows)
        for number, (ours, theirs) in enumerate(zip(self.searches, copy.searches, strict=True)):
            if not same_hits(ours, theirs):
                yield f"search {number} finds {head(theirs)} in place of {head(ours)}"


def head(hits):
    ids, distances = hits
    return f"{len(ids)} rows, first {list(zip(ids, distances))[:3]}"


def row_differences(ours, theirs):
    groups = {
        "missing": sorted(ours.keys() - theirs.keys()),
        "too many": sorted(theirs.keys() - ours.keys()),
        "different": sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]),
    }
    for what, keys in groups.items():
        if keys:
            yield f"{len(keys)} rows are {what}, as {keys[:DIFFERENCES_SHOWN]}"
    for key in groups["different"][:DIFFERENCES_SHOWN]:
        our, their = ours[key], theirs[key]
        names = sorted(name for name in our.keys() | their.keys() if our.get(name) != their.get(name))
        told = [f"{name} is {their.get(name)!r} in place of {our.get(name)!r}" for name in names]
        yield f"row {key!r}: {', '.join(told)}"


def same_hits(ours, theirs):
    """Same distances in order, and the same ids at each distance.

    Ids at equal distances may come in any order, and at the last distance only some of them fit into the answer.
    """
    (our_ids, our_distances), (their_ids, their_distances) = ours, theirs
    if len(our_ids) != len(their_ids):
        return False
    if not numpy.allclose(our_distances, their_distances, rtol=RELATIVE_ERROR_MAX, atol=RELATIVE_ERROR_MAX):
        return False
    full = len(our_ids) == NEIGHBORS
    group = set()
    other = set()
    for place, (our_id, their_id) in enumerate(zip(our_ids, their_ids)):
        group.add(our_id)
        other.add(their_id)
        last = place + 1 == len(our_ids)
        if last or not close(our_distances[place], our_distances[place + 1]):
            if group != other and not (last and full):
                return False
            group, other = set(), set()
    return True


def close(one, other):
    return abs(one - other) <= RELATIVE_ERROR_MAX * max(1.0, abs(one), abs(other))
