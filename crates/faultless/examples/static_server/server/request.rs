//! What a request asks for: its path, its conditions and its range (RFC 9110, 13 and 14).

use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use hyper::Method;
use hyper::header::{self, HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use super::files::{Refusal, Version};

/// Which bytes of a file answer a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// All of them.
    Whole,
    /// Some of them, at least one.
    Part(Range<u64>),
    /// None: the client has this version.
    NotModified,
    /// None: there are no such bytes.
    Unsatisfiable,
}

/// The file that the path of a request names, relative to the root. A path that ends in `/`
/// means the `index.html` there.
pub fn file_path(path: &str) -> Result<PathBuf, Refusal> {
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    let relative = decoded.strip_prefix(b"/").ok_or(Refusal::Missing)?;
    if relative.contains(&0) {
        return Err(Refusal::Missing);
    }
    if relative.split(|byte| *byte == b'/').any(|name| name == b"..") {
        return Err(Refusal::Outside);
    }
    let relative = Path::new(OsStr::from_bytes(relative));
    match decoded.ends_with(b"/") {
        true => Ok(relative.join("index.html")),
        false => Ok(relative.to_owned()),
    }
}

/// Conditions first, then the range.
pub fn decide(method: &Method, headers: &HeaderMap, version: &Version) -> Decision {
    if is_known(headers, version) {
        return Decision::NotModified;
    }
    // Of all methods only GET has ranges.
    match only(headers, header::RANGE) {
        Some(range) if method == Method::GET && may_be_part(headers, version) => {
            decide_range(range, version.len)
        }
        _ => Decision::Whole,
    }
}

/// Does the client have this version? If-None-Match alone decides where it is there.
fn is_known(headers: &HeaderMap, version: &Version) -> bool {
    if headers.contains_key(header::IF_NONE_MATCH) {
        let etag = version.etag();
        let is_ours = |tag: &str| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag;
        let values = headers.get_all(header::IF_NONE_MATCH).iter();
        // None of our tags has a comma in it.
        return values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|tag| is_ours(tag.trim()));
    }
    let since = only(headers, header::IF_MODIFIED_SINCE);
    let since = since.and_then(|since| httpdate::parse_http_date(since).ok());
    match (since, version.last_modified()) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// Is what the client has a part of this version? A tag that is weak is none.
fn may_be_part(headers: &HeaderMap, version: &Version) -> bool {
    if !headers.contains_key(header::IF_RANGE) {
        return true;
    }
    only(headers, header::IF_RANGE).is_some_and(|condition| {
        let date = httpdate::parse_http_date(condition).ok();
        condition == version.etag() || date.is_some() && date == version.last_modified()
    })
}

/// A range of a file of `len` bytes. What isn't one range of bytes is passed over, as the RFC
/// allows: the answer is all of the file.
fn decide_range(value: &str, len: u64) -> Decision {
    let Some((unit, range)) = value.split_once('=') else { return Decision::Whole };
    let Some((first, last)) = range.trim().split_once('-') else { return Decision::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Decision::Whole;
    }
    let range = match (first, last) {
        ("", last) => match number(last) {
            Some(0) => return Decision::Unsatisfiable,
            // No part of an empty file could be named by Content-Range.
            Some(_) if len == 0 => return Decision::Whole,
            Some(count) => len.saturating_sub(count)..len,
            None => return Decision::Whole,
        },
        (first, "") => match number(first) {
            Some(first) => first..len,
            None => return Decision::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(len),
            _ => return Decision::Whole,
        },
    };
    match range.start < len {
        true => Decision::Part(range),
        false => Decision::Unsatisfiable,
    }
}

/// Digits, and nothing else. No file is as long as the largest of numbers.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The value of a header that is there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
