//! How a proxy introduces itself: who it is, and what it holds.

use crate::model::{Capabilities, ObjectName, ResourceKey};
use crate::proto::{self, hello};
use crate::stream::MESSAGE_LIMIT;
use crate::wire::{self, ContentHash};
use std::fmt;
use std::sync::Arc;

/// Whose configuration is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Proxy {
    /// What one Gateway serves, or what one waypoint needs.
    Gateway(ObjectName),
    /// What the tunnel of a node needs.
    Node(Arc<str>),
    /// Everything: the whole system in one process.
    Everything,
}

/// A program that wants a configuration, as it introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Whose configuration is wanted.
    pub proxy: Proxy,
    /// The version of the program, for status and logs; empty if it does not say.
    pub version: Arc<str>,
    /// What the program can carry out.
    pub capabilities: Capabilities,
}

/// A hello that does not say who it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proxy does not say who it is: {0}")]
pub struct UnknownProxy(String);

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(gateway) => write!(f, "gateway {gateway}"),
            Self::Node(node) => write!(f, "node {node}"),
            Self::Everything => f.write_str("whole system"),
        }
    }
}

impl Subscription {
    /// A program of this version subscribes.
    pub fn new(proxy: Proxy, version: impl Into<Arc<str>>) -> Self {
        Self { proxy, version: version.into(), capabilities: Capabilities::OF_THIS_VERSION }
    }
}

impl From<&Subscription> for proto::Hello {
    fn from(hello: &Subscription) -> Self {
        let proxy = match &hello.proxy {
            Proxy::Gateway(it) => hello::Proxy::Gateway(proto::ObjectName {
                namespace: it.namespace.to_string(),
                name: it.name.to_string(),
            }),
            Proxy::Node(node) => hello::Proxy::Node(node.to_string()),
            Proxy::Everything => hello::Proxy::WholeSystem(proto::WholeSystem {}),
        };
        let names = hello.capabilities.iter().map(|it| it.name().to_owned()).collect();
        let capabilities = Some(proto::Capabilities { names });
        Self { proxy: Some(proxy), version: hello.version.to_string(), capabilities }
    }
}

impl TryFrom<proto::Hello> for Subscription {
    type Error = UnknownProxy;

    fn try_from(message: proto::Hello) -> Result<Self, Self::Error> {
        let proxy = match message.proxy {
            Some(hello::Proxy::Gateway(it)) => {
                Proxy::Gateway(wire::object(it).map_err(|error| UnknownProxy(format!("gateway.{error}")))?)
            }
            Some(hello::Proxy::Node(node)) if node.is_empty() => {
                return Err(UnknownProxy("the node has no name".to_owned()));
            }
            Some(hello::Proxy::Node(node)) => Proxy::Node(node.into()),
            Some(hello::Proxy::WholeSystem(_)) => Proxy::Everything,
            None => {
                return Err(UnknownProxy(
                    "no proxy, or a kind that this controller does not know".to_owned(),
                ));
            }
        };
        let capabilities = message.capabilities.map_or(Capabilities::FIRST_EDITION, |it| {
            Capabilities::named(it.names.iter().map(String::as_str))
        });
        let end = message.version.floor_char_boundary(LONGEST_VERSION);
        Ok(Self { proxy, version: message.version[..end].into(), capabilities })
    }
}

/// How much of a version is kept, in bytes: it stands in status and logs.
const LONGEST_VERSION: usize = 64;

/// All that a proxy holds, in messages of bounded size.
pub fn held_messages<'a>(
    held: impl Iterator<Item = (&'a ResourceKey, &'a ContentHash)>,
) -> impl Iterator<Item = proto::Held> {
    let mut held = held.peekable();
    std::iter::from_fn(move || {
        held.peek()?;
        let (mut resources, mut size) = (Vec::new(), 0);
        while size < MESSAGE_LIMIT
            && let Some((key, hash)) = held.next()
        {
            size += key.name.len() + 64;
            let hash = bytes::Bytes::copy_from_slice(hash.as_bytes());
            resources.push(proto::HeldResource { key: Some(wire::encode_key(key)), hash });
        }
        Some(proto::Held { resources })
    })
}
