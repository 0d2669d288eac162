//! Routes of which another takes the requests: both match the same, and the other goes first.
//!
//! Only what is certain at a glance is found: the same match under the same hostname as written, of routes of one kind
//! on one listener. (That a prefix covers a longer path, say, shadows nothing: the longer one goes first.)

use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::route::binding;
use crate::compile::stage;
use crate::resources::ObjectRef;
use fairway_config::model::{HostMatch, ListenerKey, Match};
use fairway_incremental::{OfSet, Query, Set};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Routes that have a match of this key: only one of them gets its requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct Wanting(pub MatchKey);

impl Set<Cluster> for Wanting {
    type Member = ObjectRef;
}

/// Routes that go before a route somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct ShadowedBy(pub ObjectRef);

impl Set<Cluster> for ShadowedBy {
    type Member = ObjectRef;
}

/// A match under a hostname of a listener, as a number: requests of which only one route gets. That two have one number is
/// improbable enough for what follows from it: a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::compile) struct MatchKey(u64);

/// Of the routes with one match the oldest gets its requests, then the first by name; the others are shadowed there.
pub(in crate::compile) struct Shadows;

impl Query<Cluster> for Shadows {
    type Key = MatchKey;
    type Value = ();
    const STAGE: u8 = stage::CONSEQUENCES;

    fn run(key: &MatchKey, reader: &mut Reader<'_>, made: &mut Made) {
        let wanting = reader.members(&Wanting(*key));
        if wanting.len() < 2 {
            return;
        }
        let mut ordered: Vec<_> = wanting
            .iter()
            .filter_map(|route| {
                Some((reader.get::<binding::Bind>(route)?.created, route.object_name(), route))
            })
            .collect();
        ordered.sort();
        let Some(((.., winner), losers)) = ordered.split_first() else { return };
        for (.., route) in losers {
            made.put(ShadowedBy((*route).clone()), (*winner).clone());
        }
    }
}

impl OfSet<Cluster> for Shadows {
    type Set = Wanting;
    /// One alone is in nobody's way, and that is the usual case.
    const LEAST: usize = 2;

    fn of_set(Wanting(key): &Wanting) -> Option<Self::Key> {
        Some(*key)
    }
}

// === impl MatchKey ===

impl MatchKey {
    /// The key of a match; of none for connections, which have nothing but a hostname.
    pub(in crate::compile) fn new(
        listener: &ListenerKey,
        host: Option<&HostMatch>,
        matching: Option<&Match>,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        listener.hash(&mut hasher);
        host.map(|it| (&it.effective, &it.original)).hash(&mut hasher);
        matching.map(Match::fingerprint).hash(&mut hasher);
        Self(hasher.finish())
    }
}
