//! What Milvus and its tools really write, in small trees: each kind is opened, every segment is planned, and source and
//! target keys are compared one by one; or the refusal is held against its words. No server of Milvus 3 wrote them: the
//! shapes are those that its writers' source gives.

mod avro;
mod bundles;
mod by_hand;
mod choices;
mod collection;
mod copies;
mod folders;
mod ids;
mod large_values;
mod local;
mod logs;
mod metadata;
mod opened;
mod reader;
mod schemas;
mod tree;
