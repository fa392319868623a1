//! Values with units; each is written so that reading it back gives the same value.

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use std::time::Duration;

/// Bytes, written as "10MiB".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let exact = units.into_iter().find(|(bits, _)| self.0 != 0 && self.0.trailing_zeros() >= *bits);
        let (bits, unit) = exact.unwrap_or((0, "B"));
        serializer.collect_str(&format_args!("{}{unit}", self.0 >> bits))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let size = bytesize::ByteSize::deserialize(deserializer)
            .map_err(|error| de::Error::custom(format!("{error}; write a size with its unit, as in \"10MiB\"")))?;
        Ok(Self(size.as_u64()))
    }
}

/// A duration, or "none" for no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(pub Option<Duration>);

const NONE: &str = "none";

impl Serialize for Timeout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(duration) => humantime_serde::serialize(&duration, serializer),
            None => serializer.serialize_str(NONE),
        }
    }
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == NONE {
            return Ok(Self(None));
        }
        let duration = humantime_serde::deserialize(de::value::StrDeserializer::<D::Error>::new(&text))?;
        Ok(Self(Some(duration)))
    }
}
