"""The collections that are judged: each a schema, its rows, its history, its indexes and its searches, from one seed.

Vectors have no two equal distances by design, and no index quantizes, so that rebuilding an index changes no answer.
"""

import numpy
from pymilvus import CollectionSchema, DataType, FieldSchema

SHARD_ROWS = 1_200  # Milvus 2.3.5 builds no index for a segment below 1,024 rows.
VECTOR = "vector"
WORDS = ["amber", "basalt", "cedar", "delta", "ember", "fjord", "grove", "harbor"]

# Each makes an approximate index look at everything: ef beyond any segment's rows, nprobe equal to nlist. Under a
# filter HNSW skips some of the rows that do not pass, whatever ef is, so its collections are searched without.
HNSW = ({"index_type": "HNSW", "params": {"M": 16, "efConstruction": 200}}, {"ef": 16_384})
IVF_FLAT = ({"index_type": "IVF_FLAT", "params": {"nlist": 32}}, {"nprobe": 32})
BIN_IVF_FLAT = ({"index_type": "BIN_IVF_FLAT", "params": {"nlist": 32}}, {"nprobe": 32})
FLAT = ({"index_type": "FLAT", "params": {}}, {})


class Kind:
    """A collection: what it looks like, and a history of ("insert" | "delete" | "upsert" | "compact", ...) steps."""

    name = ""
    shards = 1
    partitions = ()
    num_partitions = None
    metric = "L2"
    index = HNSW
    scalar_indexes = {}
    dynamic = False
    width = 16
    vector_type = DataType.FLOAT_VECTOR
    filters = ()
    keywords = {"insert_log", "delta_log", "stats_log", "index_files"}

    def __init__(self):
        self.random = numpy.random.default_rng(seed=list(self.name.encode()))

    @property
    def batch(self):
        """How many rows fill one segment of each shard."""
        return SHARD_ROWS * self.shards

    def key_field(self):
        return FieldSchema("id", DataType.INT64, is_primary=True)

    def key_of(self, number):
        return number

    def fields(self):
        """The fields between the key and the vector."""
        return []

    def schema(self):
        vector = FieldSchema(VECTOR, self.vector_type, dim=self.width)
        fields = [self.key_field(), *self.fields(), vector]
        return CollectionSchema(fields, description=self.name, enable_dynamic_field=self.dynamic)

    def vector(self):
        return self.random.standard_normal(self.width).astype(numpy.float32).tolist()

    def row(self, number):
        return {"id": self.key_of(number), VECTOR: self.vector()}

    def rows(self, first, count):
        return [self.row(number) for number in range(first, first + count)]

    def keys(self, numbers):
        return [self.key_of(number) for number in numbers]

    def history(self):
        """Three flushed batches, deletes that reach into each, some deleted keys inserted again, some rows replaced."""
        yield "insert", self.rows(0, self.batch), None
        yield "insert", self.rows(self.batch, self.batch), None
        yield "delete", self.keys(range(0, 2 * self.batch, 7)), None
        yield "insert", self.rows(2 * self.batch, self.batch), None
        yield "delete", self.keys(range(5, 3 * self.batch, 70)), None
        yield "insert", [self.row(number) for number in range(0, 70, 7)], None
        yield "upsert", [self.row(number) for number in range(1, 2 * self.batch, 100)], None


class IntegerKeys(Kind):
    """INT64 keys, every scalar type, dynamic fields, HNSW and STL_SORT."""

    name = "integer_keys"
    dynamic = True
    scalar_indexes = {"age": "STL_SORT", "price": "STL_SORT"}
    filters = ("age < 40", "price >= 500.0 and flag == true", 'color == "amber"', "extra >= 100", "small in [1, 2, 3]")

    def fields(self):
        kinds = {
            "flag": DataType.BOOL,
            "small": DataType.INT8,
            "short": DataType.INT16,
            "age": DataType.INT32,
            "ratio": DataType.FLOAT,
            "price": DataType.DOUBLE,
        }
        return [FieldSchema(name, kind) for name, kind in kinds.items()]

    def row(self, number):
        row = super().row(number)
        row |= {
            "flag": bool(self.random.integers(2)),
            "small": int(self.random.integers(-128, 128)),
            "short": int(self.random.integers(-32_768, 32_768)),
            "age": int(self.random.integers(0, 100)),
            "ratio": float(numpy.float32(self.random.random())),
            "price": float(self.random.random() * 1_000),
            "color": WORDS[number % len(WORDS)],
        }
        return row if number % 3 else row | {"extra": number}


class StringKeys(Kind):
    """VARCHAR keys, JSON, arrays, two shards, IVF_FLAT and Trie."""

    name = "string_keys"
    shards = 2
    metric = "COSINE"
    index = IVF_FLAT
    scalar_indexes = {"title": "Trie"}
    filters = (
        'title like "cedar%"',
        'document["nested"]["rank"] < 300',
        'json_contains(document["tags"], "fjord")',
        "array_contains(numbers, 7)",
        'words[0] == "delta"',
    )

    def key_field(self):
        return FieldSchema("id", DataType.VARCHAR, max_length=64, is_primary=True)

    def key_of(self, number):
        # Not all keys are ASCII, and not all have one length.
        return f"{WORDS[number % len(WORDS)]}-{number}" + ("-é" if number % 11 == 0 else "")

    def fields(self):
        arrays = {"numbers": (DataType.INT64, {}), "words": (DataType.VARCHAR, {"max_length": 32})}
        arrays |= {"bits": (DataType.BOOL, {}), "ratios": (DataType.DOUBLE, {}), "tiny": (DataType.INT8, {})}
        arrays = [
            FieldSchema(name, DataType.ARRAY, element_type=element, max_capacity=16, **more)
            for name, (element, more) in arrays.items()
        ]
        title = FieldSchema("title", DataType.VARCHAR, max_length=256)
        return [title, FieldSchema("document", DataType.JSON), *arrays]

    def row(self, number):
        size = int(self.random.integers(1, 8))
        tags = [WORDS[number % 8], WORDS[number // 8 % 8]]
        document = {"tags": tags, "nested": {"rank": number, "empty": {}}, "text": "ü" * (number % 5), "none": None}
        return super().row(number) | {
            "title": f"{WORDS[number % 8]} {number}" if number % 13 else "",
            "document": document,
            "numbers": self.random.integers(0, 20, size).tolist(),
            "words": [WORDS[i] for i in self.random.integers(0, 8, size)],
            "bits": [bool(i) for i in self.random.integers(0, 2, size)],
            "ratios": self.random.random(size).tolist(),
            "tiny": self.random.integers(-128, 128, size).tolist(),
        }


class PartitionKey(Kind):
    """A partition key: the partitions have no names of the user's, and rows find theirs by hash."""

    name = "partition_key"
    num_partitions = 4
    metric = "IP"
    index = FLAT
    scalar_indexes = {"tenant": "Trie", "age": "STL_SORT"}
    filters = (
        'tenant == "tenant-3"',
        'tenant in ["tenant-1", "tenant-2"]',
        "age < 50",
        'tenant != "tenant-5"',
        "id % 2 == 0",
    )

    def fields(self):
        tenant = FieldSchema("tenant", DataType.VARCHAR, max_length=32, is_partition_key=True)
        return [tenant, FieldSchema("age", DataType.INT64)]

    def row(self, number):
        return super().row(number) | {"tenant": f"tenant-{number % 16}", "age": int(self.random.integers(0, 100))}

    def history(self):
        half = 2 * self.batch
        yield "insert", self.rows(0, 3 * half), None
        yield "delete", self.keys(range(0, 3 * half, 9)), None
        yield "insert", self.rows(3 * half, half), None
        yield "delete", self.keys(range(1, 4 * half, 90)), None


class NamedPartitions(Kind):
    """Keys that Milvus gives, partitions with names, binary vectors and BIN_IVF_FLAT."""

    name = "named_partitions"
    partitions = ("first", "second")
    metric = "HAMMING"
    index = BIN_IVF_FLAT
    dynamic = True
    width = 256
    vector_type = DataType.BINARY_VECTOR
    filters = ("number < 1000", "number % 3 == 0", 'word == "grove"', "number > 2000", 'word in ["amber", "fjord"]')

    def key_field(self):
        return FieldSchema("id", DataType.INT64, is_primary=True, auto_id=True)

    def fields(self):
        return [FieldSchema("number", DataType.INT64)]

    def vector(self):
        return self.random.bytes(self.width // 8)

    def row(self, number):
        return {"number": number, "word": WORDS[number % 8], VECTOR: self.vector()}

    def history(self):
        for place, partition in enumerate([None, *self.partitions]):
            yield "insert", self.rows(place * self.batch, self.batch), partition
            yield "delete-inserted", slice(0, self.batch, 8), partition


class Compacted(Kind):
    """Segments that compaction replaced lie beside those that replaced them; then more rows and more deletes."""

    name = "compacted"
    scalar_indexes = {"age": "STL_SORT"}
    filters = ("age < 40", "age == 7", "id < 3000", "id % 5 == 0", "age in [1, 2, 3, 4]")

    def fields(self):
        return [FieldSchema("age", DataType.INT64)]

    def row(self, number):
        return super().row(number) | {"age": number % 100}

    def history(self):
        for number in range(4):
            yield "insert", self.rows(number * self.batch, self.batch), None
        yield "delete", self.keys(range(0, 4 * self.batch, 6)), None
        yield "compact", None, None
        yield "insert", self.rows(4 * self.batch, 2 * self.batch), None
        yield "delete", self.keys(range(3, 6 * self.batch, 50)), None


class CompactedStrings(Compacted):
    """The same with VARCHAR keys, two shards and a second compaction over the first one's; no deletes after it."""

    name = "compacted_strings"
    keywords = {"insert_log", "stats_log", "index_files"}
    shards = 2
    index = IVF_FLAT
    filters = ("age < 40", "age == 7", 'id like "key-1%"', 'id > "key-3"', "age in [1, 2, 3, 4]")

    def key_field(self):
        return FieldSchema("id", DataType.VARCHAR, max_length=64, is_primary=True)

    def key_of(self, number):
        return f"key-{number}"

    def history(self):
        for number in range(4):
            yield "insert", self.rows(number * self.batch, self.batch), None
        yield "delete", self.keys(range(0, 4 * self.batch, 6)), None
        yield "compact", None, None
        yield "insert", self.rows(4 * self.batch, self.batch), None
        yield "delete", self.keys(range(1, 5 * self.batch, 6)), None
        yield "compact", None, None


KINDS = (IntegerKeys, StringKeys, PartitionKey, NamedPartitions, Compacted, CompactedStrings)
