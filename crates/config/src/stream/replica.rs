//! What a proxy holds of the controller's configuration: a state machine, fed with messages.

use super::fragment::{Assembly, OversizedResource};
use crate::model::{Generation, Resource, ResourceKey};
use crate::proto::{self, from_controller::Message};
use crate::wire::{self, ContentHash};
use crate::{Apply, Changes, Delta, Rejected, Snapshot};
use bytes::Bytes;
use prost::Message as _;
use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::Arc;

/// The proxy's copy, and the difference that is coming in.
#[derive(Debug, Default)]
pub struct Replica {
    snapshot: Snapshot,
    hashes: HashMap<ResourceKey, ContentHash, ahash::RandomState>,
    refused: BTreeMap<ResourceKey, String>,
    staged: Staged,
    /// Whether the snapshot is held only, and nothing in force.
    waits: bool,
}

/// A difference before its commit. Nothing of it is visible.
#[derive(Debug, Default)]
struct Staged {
    changes: HashMap<ResourceKey, Change, ahash::RandomState>,
    /// Kinds that this program does not know; raw, to be sent back.
    unknown: Vec<proto::RejectedResource>,
    assembly: Assembly,
    assembling: Option<proto::ResourceKey>,
}

#[derive(Debug)]
enum Change {
    Upsert(ContentHash, Resource),
    Refused(String),
    Removal,
}

/// What a proxy says to a commit.
#[derive(Clone, Debug, PartialEq)]
pub enum CommitResponse {
    /// This generation is in force.
    Ack(Generation),
    /// Refused whole; the one before stays in force.
    Nack {
        /// The generation that was refused.
        generation: Generation,
        /// The resources that cannot be taken, each with the reason.
        rejected: Vec<proto::RejectedResource>,
    },
    /// What is held from an earlier run is refused, for these reasons: it is forgotten, and the conversation, which began with
    /// it, has to begin anew.
    Forgotten(Vec<Rejected>),
}

/// A message that has no place in the conversation: the stream ends, and begins anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenProtocol {
    /// A message of a kind that is not known, or without a content.
    #[error("the controller sent a message that this program does not know")]
    UnknownMessage,
    /// A resource or removal without a name.
    #[error("the controller sent a resource without a key")]
    NoKey,
    /// A part of one resource in the middle of another, or a commit there.
    #[error("the controller began something new before resource {0} was complete")]
    Interrupted(String),
    /// A resource too big to be taken in.
    #[error(transparent)]
    Oversized(#[from] OversizedResource),
}

impl Replica {
    /// Starts from what an earlier run had in force. It is held: a difference to it can be received. In force it is after
    /// [`Self::put_in_force`] only, or with the first difference.
    pub fn holding(snapshot: Snapshot, hashes: impl IntoIterator<Item = (ResourceKey, ContentHash)>) -> Self {
        Self { snapshot, hashes: hashes.into_iter().collect(), waits: true, ..Self::default() }
    }

    /// Puts in force what is only held; what is refused is forgotten.
    pub fn put_in_force(&mut self, apply: &mut dyn Apply) -> Result<Generation, Vec<Rejected>> {
        let applied = apply.apply(&self.snapshot, &everything_in(&self.snapshot));
        if let Err(reasons) = applied {
            *self = Self::default();
            return Err(reasons);
        }
        self.waits = false;
        Ok(self.snapshot.generation)
    }

    /// What is in force, or held.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What is held, as a hello says it.
    pub fn held(&self) -> impl Iterator<Item = (&ResourceKey, &ContentHash)> {
        self.hashes.iter()
    }

    /// What was refused and has not been replaced since; of these an older version may be in force.
    pub fn refused(&self) -> impl Iterator<Item = Rejected> {
        self.refused.iter().map(|(key, reason)| Rejected { key: key.clone(), reason: reason.clone() })
    }

    /// The conversation has ended: what came without its commit is forgotten.
    pub fn disconnected(&mut self) {
        self.staged = Staged::default();
    }

    /// Takes a message; a commit has an answer, and when it is an [`CommitResponse::Ack`], `apply` has put the whole in force.
    pub fn receive(
        &mut self,
        message: proto::FromController,
        apply: &mut dyn Apply,
    ) -> Result<Option<CommitResponse>, BrokenProtocol> {
        match message.message {
            None => Err(BrokenProtocol::UnknownMessage),
            Some(Message::Fragment(fragment)) => self.staged.take(fragment).map(|()| None),
            Some(Message::Commit(commit)) => {
                let staged = mem::take(&mut self.staged);
                staged.check_complete(None)?;
                Ok(Some(self.commit(Generation(commit.generation), staged, apply)))
            }
        }
    }

    fn commit(&mut self, generation: Generation, staged: Staged, apply: &mut dyn Apply) -> CommitResponse {
        let mut delta = Delta { generation, ..Delta::default() };
        let mut hashes = Vec::new();
        let mut rejected = Vec::new();
        for (key, change) in staged.changes {
            match change {
                Change::Upsert(hash, resource) => {
                    delta.upserts.push(resource);
                    hashes.push((key, Some(hash)));
                }
                Change::Removal => {
                    delta.removals.push(key.clone());
                    hashes.push((key, None));
                }
                Change::Refused(reason) => rejected.push(Rejected { key, reason }),
            }
        }
        if rejected.is_empty() && staged.unknown.is_empty() {
            let (next, changes) = self.snapshot.apply(delta);
            let changes = if self.waits { everything_in(&next) } else { changes };
            match apply.apply(&next, &changes) {
                Ok(()) => {
                    self.waits = false;
                    self.adopt(next, hashes);
                    return CommitResponse::Ack(generation);
                }
                Err(reasons) => {
                    let is_sent = |it: &Rejected| hashes.iter().any(|(key, _)| *key == it.key);
                    if self.waits && !reasons.iter().any(is_sent) {
                        *self = Self::default();
                        return CommitResponse::Forgotten(reasons);
                    }
                    rejected = reasons;
                }
            }
        }
        self.refuse(generation, rejected, staged.unknown)
    }

    fn adopt(&mut self, next: Snapshot, hashes: Vec<(ResourceKey, Option<ContentHash>)>) {
        self.snapshot = next;
        for (key, hash) in hashes {
            self.refused.remove(&key);
            match hash {
                Some(hash) => self.hashes.insert(key, hash),
                None => self.hashes.remove(&key),
            };
        }
    }

    fn refuse(
        &mut self,
        generation: Generation,
        mut rejected: Vec<Rejected>,
        unknown: Vec<proto::RejectedResource>,
    ) -> CommitResponse {
        rejected.sort_by(|a, b| a.key.cmp(&b.key));
        let named = rejected.iter().map(|it| proto::RejectedResource {
            key: Some(wire::encode_key(&it.key)),
            reason: shorten_reason(&it.reason).to_owned(),
            needs: self.needs(&it.key),
            in_force: self.place_in_force(&it.key),
        });
        // What is left out here is refused and named again when the rest is sent again.
        let mut size = 0;
        let fits = |it: &proto::RejectedResource| {
            size += it.encoded_len();
            size <= MOST_REASON_BYTES || size == it.encoded_len()
        };
        let named = named.chain(unknown).take(MOST_REASONS).take_while(fits).collect();
        self.refused.extend(rejected.into_iter().map(|it| (it.key, it.reason)));
        CommitResponse::Nack { generation, rejected: named }
    }

    /// What the version of a refused resource that stays names: without it, it cannot be carried out.
    fn needs(&self, refused: &ResourceKey) -> Vec<proto::ResourceKey> {
        let held = self.snapshot.resource(refused);
        held.iter().flat_map(Resource::references).map(|key| wire::encode_key(&key)).collect()
    }

    /// Where a refused listener is that stays: the controller must know whether what is for the refused version falls to another listener.
    fn place_in_force(&self, refused: &ResourceKey) -> Bytes {
        let Some(Resource::Listener(listener)) = self.snapshot.resource(refused) else { return Bytes::new() };
        let place = listener.place().map(|it| wire::encode(&Resource::Listener(Arc::new(it))));
        place.map(|it| it.bytes).unwrap_or_default()
    }
}

/// What differs from nothing.
fn everything_in(snapshot: &Snapshot) -> Changes {
    snapshot.resources().map(|it| it.key()).collect()
}

/// How many reasons one answer holds.
const MOST_REASONS: usize = 1000;

/// How long all of them may be together, in bytes, if there is more than one: well below what one message may have.
const MOST_REASON_BYTES: usize = 1 << 20;

/// How long one of them may be, in bytes.
const LONGEST_REASON: usize = 1024;

/// As much of the reason for a refusal as is sent, and kept of what a proxy says.
pub fn shorten_reason(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(LONGEST_REASON)]
}

// === impl Staged ===

impl Staged {
    fn take(&mut self, fragment: proto::Fragment) -> Result<(), BrokenProtocol> {
        for key in fragment.removals {
            self.check_complete(None)?;
            // A kind that is not known is not held either.
            if let Ok(key) = wire::decode_key(&key) {
                self.changes.insert(key, Change::Removal);
            }
        }
        fragment.upserts.into_iter().try_for_each(|upsert| self.upsert(upsert))
    }

    fn upsert(&mut self, upsert: proto::Upsert) -> Result<(), BrokenProtocol> {
        let name = upsert.key.ok_or(BrokenProtocol::NoKey)?;
        self.check_complete(Some(&name))?;
        let Some(bytes) = self.assembly.take(upsert.size, upsert.resource)? else {
            self.assembling = Some(name);
            return Ok(());
        };
        self.assembling = None;
        match wire::decode_key(&name) {
            Ok(key) => {
                let change = match decode(&key, &upsert.hash, bytes) {
                    Ok((hash, resource)) => Change::Upsert(hash, resource),
                    Err(reason) => Change::Refused(reason),
                };
                self.changes.insert(key, change);
            }
            Err(invalid) => {
                let reason = invalid.to_string();
                self.unknown.push(proto::RejectedResource {
                    key: Some(name),
                    reason,
                    needs: Vec::new(),
                    in_force: Bytes::new(),
                });
            }
        }
        Ok(())
    }

    /// Only the next part may follow a part.
    fn check_complete(&self, next: Option<&proto::ResourceKey>) -> Result<(), BrokenProtocol> {
        match &self.assembling {
            Some(open) if next != Some(open) => Err(BrokenProtocol::Interrupted(open.name.clone())),
            _ => Ok(()),
        }
    }
}

/// A resource that is what its message says it is.
fn decode(key: &ResourceKey, hash: &[u8], bytes: Bytes) -> Result<(ContentHash, Resource), String> {
    let actual = ContentHash::compute(&bytes);
    if hash != actual.as_bytes() {
        return Err("its bytes do not have the hash they came with".to_owned());
    }
    let resource = wire::decode(bytes).map_err(|invalid| invalid.to_string())?;
    if resource.key() != *key {
        return Err(format!("came under this key and is {}", resource.key()));
    }
    Ok((actual, resource))
}

#[cfg(test)]
mod tests;
