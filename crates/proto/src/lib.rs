//! The generated code of /proto, and nothing else: the public API in [`v1`], what nodes and disks say in [`internal`].

/// The public API, package `ferry.v1`.
#[expect(missing_docs, reason = "generated: the documentation is in the proto files")]
#[expect(clippy::allow_attributes_without_reason, clippy::too_many_lines, reason = "generated")]
#[expect(clippy::large_enum_variant, reason = "generated: a stream holds a message at a time")]
pub mod v1 {
    tonic::include_proto!("ferry.v1");
}

/// What only Ferry's own nodes and disks say.
pub mod internal {
    /// Package `ferry.internal.v1`.
    #[expect(missing_docs, reason = "generated: the documentation is in the proto files")]
    #[expect(clippy::allow_attributes_without_reason, clippy::too_many_lines, reason = "generated")]
    #[expect(clippy::large_enum_variant, reason = "generated: an entry holds a handful of commands at a time")]
    pub mod v1 {
        tonic::include_proto!("ferry.internal.v1");
    }
}

/// The descriptors of every message, for reflection and proto-JSON (an encoded `FileDescriptorSet`).
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
