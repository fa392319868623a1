//! How the protos look, so that a client in any language finds what it expects, and each message can grow on its own.

use std::collections::BTreeMap;
use std::path::Path;

use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, ServiceDescriptorProto};

use crate::{assert_no_complaints, assert_one_complaint, tree};

/// The parsed files of `proto/`, named from there.
fn protos(root: &Path) -> Vec<FileDescriptorProto> {
    let folder = root.join("proto");
    let parse = |file: String| {
        let text = tree::text(&folder, &file).unwrap_or_else(|| panic!("{file} is no text"));
        protox_parse::parse(&file, &text).unwrap_or_else(|error| panic!("{error:?}"))
    };
    tree::files_ending(&folder, ".proto").into_iter().map(parse).collect()
}

/// A message's name without its package.
fn short(message: &str) -> &str {
    message.rsplit('.').next().unwrap_or(message)
}

/// `JobState` -> `JOB_STATE`.
fn upper_snake(name: &str) -> String {
    let mut upper = String::new();
    for (index, letter) in name.char_indices() {
        if index > 0 && letter.is_uppercase() {
            upper.push('_');
        }
        upper.push(letter.to_ascii_uppercase());
    }
    upper
}

fn is_lower_snake(name: &str) -> bool {
    name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}

fn file_complaints(file: &FileDescriptorProto) -> Vec<String> {
    let folder = file.name().rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut complaints = Vec::new();
    if file.package() != folder.replace('/', ".") {
        complaints.push(format!("{}: the package is not that of its folder", file.name()));
    }
    if file.syntax() != "proto3" {
        complaints.push(format!("{}: begin with syntax = \"proto3\"", file.name()));
    }
    complaints
}

fn enum_complaints(descriptor: &EnumDescriptorProto) -> Vec<String> {
    let prefix = upper_snake(descriptor.name());
    let values = descriptor.value.iter().map(|value| (value.name(), value.number()));
    values
        .filter_map(|(name, number)| {
            if !name.starts_with(&format!("{prefix}_")) {
                return Some(format!("{}: {name} begins with {prefix}_", descriptor.name()));
            }
            // A reader must be able to tell "not given" from a meaning.
            let unspecified = format!("{prefix}_UNSPECIFIED");
            ((number == 0) != (name == unspecified)).then(|| format!("{}: {unspecified} is 0", descriptor.name()))
        })
        .collect()
}

fn message_complaints(message: &DescriptorProto) -> Vec<String> {
    let mut complaints = Vec::new();
    for field in message.field.iter().filter(|field| !is_lower_snake(field.name())) {
        complaints.push(format!("{}.{}: fields are named in lower_snake_case", message.name(), field.name()));
    }
    complaints.extend(message.enum_type.iter().flat_map(enum_complaints));
    complaints.extend(message.nested_type.iter().flat_map(message_complaints));
    complaints
}

fn service_complaints(service: &ServiceDescriptorProto) -> Vec<String> {
    let mut complaints = Vec::new();
    if !service.name().ends_with("Service") {
        complaints.push(format!("{}: a service is named ...Service", service.name()));
    }
    let prefix = service.name().trim_end_matches("Service");
    for method in &service.method {
        let sides = [(method.input_type(), "Request"), (method.output_type(), "Response")];
        for (message, suffix) in sides {
            let own = format!("{}{suffix}", method.name());
            let message = short(message);
            // The service's name may stand before that of its method.
            if message != own && message != format!("{prefix}{own}") {
                complaints.push(format!("{}.{}: takes its own {own}", service.name(), method.name()));
            }
        }
    }
    complaints
}

/// Two methods of one name in two services would share their messages.
fn shared_messages(files: &[FileDescriptorProto]) -> Vec<String> {
    let mut users: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for file in files {
        for service in &file.service {
            for message in service.method.iter().flat_map(|method| [method.input_type(), method.output_type()]) {
                users.entry((file.package(), short(message))).or_default().push(service.name());
            }
        }
    }
    let shared = users.into_iter().filter(|(_, services)| services.len() > 1);
    shared.map(|((_, message), services)| format!("{message} is shared by {}", services.join(", "))).collect()
}

fn complaints(root: &Path) -> Vec<String> {
    let files = protos(root);
    let mut complaints: Vec<String> = files.iter().flat_map(file_complaints).collect();
    complaints.extend(files.iter().flat_map(|file| &file.enum_type).flat_map(enum_complaints));
    complaints.extend(files.iter().flat_map(|file| &file.message_type).flat_map(message_complaints));
    complaints.extend(files.iter().flat_map(|file| &file.service).flat_map(service_complaints));
    complaints.extend(shared_messages(&files));
    complaints
}

#[test]
fn protos_follow_the_rules_that_clients_rely_on() {
    assert!(!protos(&tree::root()).is_empty());
    assert_no_complaints(&complaints(&tree::root()));
}

#[test]
fn the_public_services_are_all_there() {
    let files = protos(&tree::root());
    let public = files.iter().filter(|file| file.package() == "ferry.v1");
    let services: Vec<&str> = public.flat_map(|file| &file.service).map(ServiceDescriptorProto::name).collect();
    for service in ["JobService", "SegmentService", "AllocatorService", "WorkerService", "ClusterService"] {
        assert!(services.contains(&service), "{service} is not in {services:?}");
    }
}

#[test]
fn each_broken_rule_is_noticed() {
    let broken = [
        ("enum JobState { PENDING = 0; }", "PENDING begins with JOB_STATE_"),
        ("enum JobState { JOB_STATE_PENDING = 0; }", "JOB_STATE_UNSPECIFIED is 0"),
        ("message Job { enum State { OPEN = 0; } }", "OPEN begins with STATE_"),
        ("message Job { int64 jobId = 1; }", "lower_snake_case"),
        (
            "message Get {} message GetResponse {} service AService { rpc Get(Get) returns (GetResponse); }",
            "GetRequest",
        ),
        ("message GetRequest {} message Job {} service AService { rpc Get(GetRequest) returns (Job); }", "GetResponse"),
        ("service Jobs {}", "named ...Service"),
    ];
    for (text, expected) in broken {
        let text = format!("syntax = \"proto3\";\npackage ferry.v1;\n{text}\n");
        let root = tree::repository_of(&[("proto/ferry/v1/a.proto", &text)]);
        assert_one_complaint(&complaints(root.path()), expected);
    }
    let prefixed = "message AGetRequest {} message AGetResponse {} \
                    service AService { rpc Get(AGetRequest) returns (AGetResponse); }";
    let text = format!("syntax = \"proto3\";\npackage ferry.v1;\n{prefixed}\n");
    assert_no_complaints(&complaints(tree::repository_of(&[("proto/ferry/v1/a.proto", &text)]).path()));
    let root = tree::repository_of(&[("proto/ferry/v1/a.proto", "syntax = \"proto3\";\npackage ferry.v2;\n")]);
    assert_one_complaint(&complaints(root.path()), "the package is not that of its folder");
}

#[test]
fn messages_shared_by_two_methods_are_noticed() {
    let service = |name| format!("service {name} {{ rpc Get(GetRequest) returns (GetResponse); }}\n");
    let messages = "message GetRequest {}\nmessage GetResponse {}\n";
    let text =
        format!("syntax = \"proto3\";\npackage ferry.v1;\n{messages}{}{}", service("AService"), service("BService"));
    let root = tree::repository_of(&[("proto/ferry/v1/a.proto", &text)]);
    let complaints = complaints(root.path());
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(complaints[0].contains("GetRequest is shared by AService, BService"), "{complaints:?}");
}
