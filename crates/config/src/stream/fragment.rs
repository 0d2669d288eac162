//! A difference cut into messages of bounded size, and put together again.

use crate::model::ResourceKey;
use crate::proto::{self, from_controller};
use crate::wire::{self, Encoded};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

/// About how big a message gets, in bytes.
pub const MESSAGE_LIMIT: usize = 1024 * 1024;

/// What an entry costs besides its name and its bytes.
const OVERHEAD: usize = 64;

/// The biggest resource that is taken in, so that nobody makes a proxy reserve memory by a number alone.
const RESOURCE_LIMIT: usize = 64 * 1024 * 1024;

/// A resource whose parts do not fit together, or that is too big.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a resource of {size} bytes that is longer than it says, or than the {RESOURCE_LIMIT} bytes that are taken"
)]
pub struct OversizedResource {
    size: usize,
}

/// Cuts a difference into messages. The bytes are shared, not copied.
pub fn fragments(
    upserts: Vec<Arc<Encoded>>,
    removals: Vec<ResourceKey>,
) -> impl Iterator<Item = proto::FromController> {
    let mut removals = VecDeque::from(removals);
    let mut upserts = VecDeque::from(upserts);
    let mut sent_of_first = 0;
    std::iter::from_fn(move || {
        let mut fragment = proto::Fragment::default();
        let mut room = MESSAGE_LIMIT;
        while room > 0
            && let Some(key) = removals.pop_front()
        {
            room = room.saturating_sub(key.name.len() + OVERHEAD);
            fragment.removals.push(wire::encode_key(&key));
        }
        while room > OVERHEAD
            && let Some(first) = upserts.front()
        {
            let rest = first.bytes.slice(sent_of_first..);
            let part = rest.slice(..rest.len().min(room));
            room = room.saturating_sub(part.len() + first.key.name.len() + OVERHEAD);
            sent_of_first += part.len();
            fragment.upserts.push(upsert(first, part));
            if sent_of_first == first.bytes.len() {
                upserts.pop_front();
                sent_of_first = 0;
            }
        }
        let empty = fragment.removals.is_empty() && fragment.upserts.is_empty();
        let message = from_controller::Message::Fragment(fragment);
        (!empty).then_some(proto::FromController { message: Some(message) })
    })
}

fn upsert(encoded: &Encoded, part: Bytes) -> proto::Upsert {
    proto::Upsert {
        key: Some(wire::encode_key(&encoded.key)),
        hash: Bytes::copy_from_slice(encoded.hash.as_bytes()),
        size: u32::try_from(encoded.bytes.len()).unwrap_or(u32::MAX),
        resource: part,
    }
}

/// Puts a resource together that came in parts.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    /// The parts so far.
    parts: BytesMut,
}

impl Assembly {
    /// Takes the next part; gives the whole when it was the last one.
    pub(super) fn take(&mut self, size: u32, part: Bytes) -> Result<Option<Bytes>, OversizedResource> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let have = self.parts.len() + part.len();
        if size > RESOURCE_LIMIT || have > size {
            return Err(OversizedResource { size: size.max(have) });
        }
        if self.parts.is_empty() && have == size {
            return Ok(Some(part));
        }
        self.parts.extend_from_slice(&part);
        Ok((have == size).then(|| mem::take(&mut self.parts).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ResourceKind;
    use crate::proto::from_controller::Message;
    use crate::wire::ContentHash;
    use prost::Message as _;

    fn encoded(name: &str, size: usize) -> Arc<Encoded> {
        let bytes = Bytes::from(vec![7; size]);
        Arc::new(Encoded {
            key: ResourceKey::new(ResourceKind::Endpoints, name),
            hash: ContentHash::compute(&bytes),
            bytes,
        })
    }

    fn cut(upserts: Vec<Arc<Encoded>>, removals: Vec<ResourceKey>) -> Vec<proto::Fragment> {
        fragments(upserts, removals)
            .map(|message| match message.message {
                Some(Message::Fragment(it)) => it,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn no_message_is_much_bigger_than_the_limit_and_the_parts_make_the_whole() {
        let sizes = [10, 3 * MESSAGE_LIMIT, 0, MESSAGE_LIMIT - 100, MESSAGE_LIMIT, 5];
        let upserts: Vec<_> =
            sizes.iter().enumerate().map(|(i, size)| encoded(&i.to_string(), *size)).collect();
        let removals = (0..40_000).map(|i| ResourceKey::new(ResourceKind::Route, i.to_string())).collect();
        let cut = cut(upserts.clone(), removals);
        assert!(cut.iter().all(|it| it.encoded_len() <= MESSAGE_LIMIT + 1024));
        assert_eq!(cut.iter().map(|it| it.removals.len()).sum::<usize>(), 40_000);

        let mut assembly = Assembly::default();
        let mut whole = Vec::new();
        for part in cut.into_iter().flat_map(|it| it.upserts) {
            if let Some(bytes) = assembly.take(part.size, part.resource).unwrap() {
                whole.push((part.key.unwrap().name, bytes.len()));
            }
        }
        let expected: Vec<_> = sizes.iter().enumerate().map(|(i, size)| (i.to_string(), *size)).collect();
        assert_eq!(whole, expected);
    }

    #[test]
    fn nothing_to_say_makes_no_message() {
        assert_eq!(cut(vec![], vec![]), vec![]);
    }

    #[test]
    fn a_size_alone_reserves_no_memory() {
        let mut assembly = Assembly::default();
        assert!(assembly.take(u32::MAX, Bytes::from_static(b"x")).is_err());
        assert!(assembly.take(1, Bytes::from_static(b"xy")).is_err());
        assert_eq!(assembly.take(2, Bytes::from_static(b"x")), Ok(None));
        assert!(assembly.take(2, Bytes::from_static(b"yz")).is_err());
    }
}
