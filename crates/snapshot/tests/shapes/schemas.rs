//! The records of Milvus' files, written down from its format once more: the manifest of a segment in its versions 1 to 5
//! (Milvus 2.6 to 3), and the storage manifest of milvus-storage, as a container and in its raw form before March 2026.

use crate::avro::Kind::{Boolean, Bytes, Int, Long, Many, Map, Record, Text};
use crate::avro::{Kind, field, field_since};

const POSITION: Kind = Record(
    "AvroMsgPosition",
    &[field("channel_name", Text), field("msg_id", Bytes), field("msg_group", Text), field("timestamp", Long)],
);

const LOGS: Kind = Many(&Record(
    "AvroFieldBinlog",
    &[
        field("field_id", Long),
        field_since(4, "child_fields", Many(&Long)),
        field_since(4, "format", Text),
        field(
            "binlogs",
            Many(&Record(
                "AvroBinlog",
                &[
                    field("entries_num", Long),
                    field("timestamp_from", Long),
                    field("timestamp_to", Long),
                    field("log_path", Text),
                    field("log_size", Long),
                    field("log_id", Long),
                    field("memory_size", Long),
                ],
            )),
        ),
    ],
));

const INDEX: Kind = Record(
    "AvroIndexFilePathInfo",
    &[
        field("segment_id", Long),
        field("field_id", Long),
        field("index_id", Long),
        field("build_id", Long),
        field("index_name", Text),
        field("index_params", Many(&Record("AvroKeyValuePair", &[field("key", Text), field("value", Text)]))),
        field("index_file_paths", Many(&Text)),
        field("serialized_size", Long),
        field("index_version", Long),
        field("num_rows", Long),
        field("current_index_version", Int),
        field("mem_size", Long),
        field("current_scalar_index_version", Int),
        field_since(2, "index_store_path_version", Int),
    ],
);

const TEXT_INDEX: Kind = Record(
    "AvroTextIndexEntry",
    &[
        field("field_id", Long),
        field(
            "stats",
            Record(
                "AvroTextIndexStats",
                &[
                    field("field_id", Long),
                    field("version", Long),
                    field("files", Many(&Text)),
                    field("log_size", Long),
                    field("memory_size", Long),
                    field("build_id", Long),
                ],
            ),
        ),
    ],
);

const JSON_INDEX: Kind = Record(
    "AvroJSONKeyIndexEntry",
    &[
        field("field_id", Long),
        field(
            "stats",
            Record(
                "AvroJSONKeyStats",
                &[
                    field("field_id", Long),
                    field("version", Long),
                    field("files", Many(&Text)),
                    field("log_size", Long),
                    field("memory_size", Long),
                    field("build_id", Long),
                    field("json_key_stats_data_format", Long),
                ],
            ),
        ),
    ],
);

/// The manifest of a segment.
pub(crate) static MANIFEST: Kind = Record(
    "ManifestEntry",
    &[
        field("segment_id", Long),
        field("partition_id", Long),
        field("segment_level", Long),
        field("channel_name", Text),
        field("num_of_rows", Long),
        field("start_position", POSITION),
        field("dml_position", POSITION),
        field("storage_version", Long),
        field("is_sorted", Boolean),
        field_since(3, "commit_timestamp", Long),
        field_since(5, "delete_apply_start_after_timetick", Long),
        field("binlog_files", LOGS),
        field("deltalog_files", LOGS),
        field("statslog_files", LOGS),
        field("bm25_statslog_files", LOGS),
        field("index_files", Many(&INDEX)),
        field("text_index_files", Many(&TEXT_INDEX)),
        field("json_key_index_files", Many(&JSON_INDEX)),
    ],
);

/// What pre-release builds of Milvus 2.6 wrote: one file with an array of entries.
pub(crate) static MANIFESTS: Kind = Many(&MANIFEST);

const DELTA_LOGS: Kind =
    Many(&Record("DeltaLog", &[field("path", Text), field("type", Int), field("num_entries", Long)]));

const LARGE_VALUES: Kind = Many(&Record(
    "LobFileInfo",
    &[
        field("path", Text),
        field("field_id", Long),
        field("total_rows", Long),
        field("valid_rows", Long),
        field("file_size_bytes", Long),
    ],
));

const STATISTICS: Kind = Map(&Record("Statistics", &[field("paths", Many(&Text)), field("metadata", Map(&Text))]));

/// What lies in a storage manifest since March 2026, inside an object container.
pub(crate) static STORAGE_MANIFEST: Kind = Record(
    "Manifest",
    &[
        field(
            "column_groups",
            Many(&Record(
                "ColumnGroup",
                &[
                    field("columns", Many(&Text)),
                    field(
                        "files",
                        Many(&Record(
                            "ColumnGroupFile",
                            &[
                                field("path", Text),
                                field("start_index", Long),
                                field("end_index", Long),
                                field("properties", Map(&Text)),
                            ],
                        )),
                    ),
                    field("format", Text),
                ],
            )),
        ),
        field("delta_logs", DELTA_LOGS),
        field("stats", STATISTICS),
        field("lob_files", LARGE_VALUES),
    ],
);

/// What begins the raw form: the letters MILV as a number, then the version.
pub(crate) static RAW_HEAD: Kind = Record("Head", &[field("magic", Int), field("version", Int)]);

const RAW_COLUMN_GROUPS: Kind = Many(&Record(
    "ColumnGroup",
    &[
        field("columns", Many(&Text)),
        field(
            "files",
            Many(&Record(
                "ColumnGroupFile",
                &[field("path", Text), field("start_index", Long), field("end_index", Long), field("metadata", Bytes)],
            )),
        ),
        field("format", Text),
    ],
));

/// The raw form before its version 3, in which statistics were plain lists of paths.
pub(crate) static RAW_FIRST: Kind = Record(
    "Manifest",
    &[field("column_groups", RAW_COLUMN_GROUPS), field("delta_logs", DELTA_LOGS), field("stats", Map(&Many(&Text)))],
);

/// The raw form from its version 3 on, with large values from 5 on.
pub(crate) static RAW_THIRD: Kind = Record(
    "Manifest",
    &[
        field("column_groups", RAW_COLUMN_GROUPS),
        field("delta_logs", DELTA_LOGS),
        field("stats", STATISTICS),
        field_since(5, "lob_files", LARGE_VALUES),
    ],
);
