//! Real processes: helpers to start nodes and workers, shared by the stories in `tests/`.
