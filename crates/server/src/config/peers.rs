//! The list of nodes, written `id=host:port`; an id and an address occur once each.

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// Nodes by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peers(BTreeMap<u64, String>);

impl Peers {
    /// The address of a node, if it is listed.
    #[must_use]
    pub fn address(&self, id: u64) -> Option<&str> {
        self.0.get(&id).map(String::as_str)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<u64, String> {
        &self.0
    }

    fn add(&mut self, entry: &str) -> Result<(), String> {
        let wrong = || format!("{entry:?} is no node: write id=host:port, as in \"1=10.0.0.1:7410\"");
        let (id, address) = entry.trim().split_once('=').ok_or_else(wrong)?;
        let id: u64 = id.trim().parse().map_err(|_| wrong())?;
        let address = address.trim();
        if self.0.values().any(|other| other == address) {
            return Err(format!("address {address} is listed twice: give each node its own"));
        }
        if self.0.insert(id, address.to_owned()).is_some() {
            return Err(format!("node {id} is listed twice: give each node its own id"));
        }
        Ok(())
    }
}

impl FromIterator<(u64, String)> for Peers {
    fn from_iter<I: IntoIterator<Item = (u64, String)>>(nodes: I) -> Self {
        Self(nodes.into_iter().collect())
    }
}

impl Serialize for Peers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(id, address)| format!("{id}={address}")))
    }
}

impl<'de> Deserialize<'de> for Peers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Peers;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of id=host:port")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Peers, E> {
                let mut peers = Peers::default();
                for entry in text.split(',').filter(|entry| !entry.trim().is_empty()) {
                    peers.add(entry).map_err(E::custom)?;
                }
                Ok(peers)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Peers, A::Error> {
                let mut peers = Peers::default();
                while let Some(entry) = entries.next_element::<String>()? {
                    peers.add(&entry).map_err(de::Error::custom)?;
                }
                Ok(peers)
            }
        }

        deserializer.deserialize_any(List)
    }
}
