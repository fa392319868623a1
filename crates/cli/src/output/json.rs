//! Messages of the API as proto-JSON with the names of the proto files, from the descriptors that the build embeds.

use anyhow::Context;
use ferry_proto::v1;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use std::sync::OnceLock;

/// A message that knows its full name in the proto files.
pub(crate) trait Named: prost::Message {
    /// Like `ferry.v1.Job`.
    const NAME: &'static str;
}

macro_rules! named {
    ($($message:ident),+ $(,)?) => {
        $(impl Named for v1::$message {
            const NAME: &'static str = concat!("ferry.v1.", stringify!($message));
        })+

        #[cfg(test)]
        const NAMES: &[&str] = &[$(<v1::$message as Named>::NAME),+];
    };
}

named![
    AddNodeResponse,
    AllocateIdsResponse,
    CancelJobResponse,
    CleanUpJobResponse,
    DrainWorkerResponse,
    ExplainJobResponse,
    GetJobResponse,
    GetSegmentResponse,
    GetStatusResponse,
    GetTaskResponse,
    Job,
    JobEvent,
    ListJobsResponse,
    ListSegmentsResponse,
    ListTasksResponse,
    ListWorkersResponse,
    PauseJobResponse,
    RemoveNodeResponse,
    ResumeJobResponse,
    Segment,
    SubmitJobResponse,
    Task,
    TransferLeadershipResponse,
    UndrainWorkerResponse,
    UpdateJobResponse,
    WaitJobResponse,
    WatchJobResponse,
    Worker,
];

/// The message as JSON. Fields that have their default value are written too, so that scripts need not know defaults.
pub(crate) fn of<M: Named>(message: &M) -> anyhow::Result<serde_json::Value> {
    let descriptor = pool()?.get_message_by_name(M::NAME).with_context(|| format!("{} has no descriptor", M::NAME))?;
    let mut dynamic = DynamicMessage::new(descriptor);
    dynamic.transcode_from(message)?;
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
    Ok(dynamic.serialize_with_options(serde_json::value::Serializer, &options)?)
}

fn pool() -> anyhow::Result<&'static DescriptorPool> {
    static POOL: OnceLock<Result<DescriptorPool, String>> = OnceLock::new();
    let pool = POOL.get_or_init(|| DescriptorPool::decode(ferry_proto::DESCRIPTORS).map_err(|error| error.to_string()));
    pool.as_ref().map_err(|error| anyhow::anyhow!("the descriptors in this binary are damaged: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{NAMES, of, pool};
    use expect_test::expect;
    use ferry_proto::v1::{GetSegmentResponse, Segment, SegmentState, SubmitJobResponse};

    #[test]
    fn every_message_that_is_shown_has_a_descriptor() {
        for name in NAMES {
            assert!(pool().expect("good descriptors").get_message_by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn json_has_the_names_of_the_api_int64_as_text_and_enums_by_name() {
        let segment = Segment {
            segment_id: 470_636_907_273_850_237,
            state: SegmentState::Flushed.into(),
            num_of_rows: 1100,
            ..Segment::default()
        };
        let json = of(&GetSegmentResponse { segment: Some(segment) }).expect("JSON");
        expect![[r#"
            {
              "segment": {
                "collection_id": "0",
                "job_id": "0",
                "num_of_rows": "1100",
                "partition_id": "0",
                "segment_id": "470636907273850237",
                "size_bytes": "0",
                "source_segment_id": "0",
                "state": "SEGMENT_STATE_FLUSHED"
              }
            }"#]]
        .assert_eq(&format!("{json:#}"));
    }

    #[test]
    fn a_message_that_is_not_there_is_not_in_the_json() {
        let json = of(&SubmitJobResponse::default()).expect("JSON");
        expect![[r#"{"already_existed":false,"total_warnings":"0","unchecked_segments":"0","warnings":[]}"#]]
            .assert_eq(&json.to_string());
    }
}
