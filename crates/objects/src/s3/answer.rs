//! Answers to requests of our own: what is an error, and what an element of one says.

use http::StatusCode;
use object_store::path::Path;

use super::{Answer, STORE, generic};

/// The answer, if it is no error: one that began before the work was done may hold an error under the status 200. Errors
/// get the form in which the client has them, so that their codes are read in one place.
pub(super) fn checked(path: Option<&Path>, answer: Answer) -> object_store::Result<Answer> {
    if answer.status.is_success() && !["<Error>", "<Error "].iter().any(|error| answer.body.contains(error)) {
        return Ok(answer);
    }
    let source = format!("status code: {}: {}", answer.status, answer.body).into();
    let path = path.map(ToString::to_string).unwrap_or_default();
    let is_missing = answer.status == StatusCode::NOT_FOUND;
    Err(match answer.status {
        _ if is_missing && element(&answer.body, "Code").is_none_or(|code| code != "NoSuchBucket") => {
            object_store::Error::NotFound { path, source }
        }
        StatusCode::FORBIDDEN => object_store::Error::PermissionDenied { path, source },
        StatusCode::UNAUTHORIZED => object_store::Error::Unauthenticated { path, source },
        StatusCode::PRECONDITION_FAILED => object_store::Error::Precondition { path, source },
        _ => object_store::Error::Generic { store: STORE, source },
    })
}

/// The text of the first element of that name.
pub(super) fn element(document: &str, name: &str) -> Option<String> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(unescaped(text))
}

/// The same of one that has to be there.
pub(super) fn required(document: &str, name: &str) -> object_store::Result<String> {
    element(document, name).ok_or_else(|| generic(format!("the answer has no {name}: {document}")))
}

/// The contents of all elements of that name.
pub(super) fn elements<'a>(document: &'a str, name: &str) -> Vec<&'a str> {
    let end = format!("</{name}>");
    document.split(&format!("<{name}>")).skip(1).filter_map(|rest| Some(rest.split_once(&end)?.0)).collect()
}

/// Text of an XML document as it was meant.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let Some((name, after)) = after.split_once(';') else {
            plain.push('&');
            rest = after;
            continue;
        };
        match character(name) {
            Some(character) => plain.push(character),
            None => plain.extend(["&", name, ";"]),
        }
        rest = after;
    }
    plain.push_str(rest);
    plain
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}
