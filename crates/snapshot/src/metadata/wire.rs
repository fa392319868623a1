//! Proto-JSON's ways with numbers, enums and nulls: int64 as strings or numbers, enums as names or numbers,
//! null as absent.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Whether a field is unpopulated and so not written.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A value, or the default where the file says null.
pub(super) fn absent<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A message, which must be an object: serde alone would take a list of its fields as well.
pub(super) fn object<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
{
    let fields = serde_json::Map::deserialize(deserializer)?;
    T::deserialize(Value::Object(fields)).map_err(D::Error::custom)
}

/// A number that may be written as a string. It is taken as text or whole, so no digit is lost.
struct Number<T>(T);

impl<'de, T: FromStr> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor(PhantomData))
    }
}

struct NumberVisitor<T>(PhantomData<T>);

impl<T: FromStr> Visitor<'_> for NumberVisitor<T> {
    type Value = Number<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a {}", kind::<T>())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Number<T>, E> {
        let number = text.parse().map_err(|_| E::custom(format!("expected a {}, found {}", kind::<T>(), short(text))));
        number.map(Number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Number<T>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Number<T>, E> {
        self.visit_str(&number.to_string())
    }
}

fn kind<T>() -> &'static str {
    match std::any::type_name::<T>() {
        "i32" => "32-bit integer",
        "u64" => "64-bit unsigned integer",
        _ => "64-bit integer",
    }
}

fn short(text: impl Display) -> String {
    let text: String = text.to_string().chars().take(40).collect();
    format!("{text:?}")
}

fn number<'de, T: FromStr + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<Number<T>>::deserialize(deserializer)?.map(|Number(number)| number).unwrap_or_default())
}

/// An int32.
pub(super) fn int32<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    number(deserializer)
}

/// An int64, written as a string.
pub(super) mod int64 {
    use serde::{Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(in crate::metadata) fn serialize<S: Serializer>(value: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(in crate::metadata) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        super::number(deserializer)
    }
}

/// A uint64, written as a string.
pub(super) mod uint64 {
    use serde::{Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(in crate::metadata) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(in crate::metadata) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        super::number(deserializer)
    }
}

/// A list of int64.
pub(super) mod int64s {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::metadata) fn serialize<S: Serializer>(values: &[i64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(i64::to_string))
    }

    pub(in crate::metadata) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i64>, D::Error> {
        let numbers = Option::<Vec<super::Number<i64>>>::deserialize(deserializer)?.unwrap_or_default();
        Ok(numbers.into_iter().map(|super::Number(number)| number).collect())
    }
}

/// A map to int64.
pub(super) mod int64_map {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::metadata) fn serialize<S: Serializer>(
        values: &BTreeMap<String, i64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(values.iter().map(|(name, id)| (name, id.to_string())))
    }

    pub(in crate::metadata) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, i64>, D::Error> {
        let numbers = Option::<BTreeMap<String, super::Number<i64>>>::deserialize(deserializer)?.unwrap_or_default();
        Ok(numbers.into_iter().map(|(name, super::Number(number))| (name, number)).collect())
    }
}

/// An enum of the wire.
pub(super) trait Enumeration: Copy + PartialEq + 'static {
    /// Names and values, each at the place of its number.
    const NAMES: &'static [(&'static str, Self)];
    /// What a name or number is read as that is not known; absent: it is refused.
    const OTHER: Option<Self>;
}

/// An enum, written by its name.
pub(super) mod enumeration {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::Value;

    use super::Enumeration;

    pub(in crate::metadata) fn serialize<E: Enumeration, S: Serializer>(
        value: &E,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let name = E::NAMES.iter().find(|(_, named)| named == value).map_or("", |(name, _)| *name);
        serializer.serialize_str(name)
    }

    pub(in crate::metadata) fn deserialize<'de, E: Enumeration, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<E, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let found = match &value {
            Value::Null => E::NAMES.first(),
            Value::String(name) => E::NAMES.iter().find(|(known, _)| known == name),
            Value::Number(number) => {
                number.as_u64().and_then(|number| usize::try_from(number).ok()).and_then(|number| E::NAMES.get(number))
            }
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let names: Vec<&str> = E::NAMES.iter().map(|(name, _)| *name).collect();
        found.map(|(_, value)| *value).or(E::OTHER).ok_or_else(|| {
            D::Error::custom(format!("expected one of {}, found {}", names.join(", "), super::short(&value)))
        })
    }
}
