//! Routes of which another takes the requests: both match the same, and the other goes first.
//!
//! Only what is certain at a glance is found: the same match under the same hostname as written, of routes of one kind
//! on one listener. (That a prefix covers a longer path, say, shadows nothing: the longer one goes first.)

use super::evaluation::Evaluation;
use super::index::IndexKey;
use super::reader::Reader;
use fairway_config::model::{HostMatch, ListenerKey, Match};
use std::collections::hash_map::DefaultHasher;
use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};

/// A place for requests that only one route can have: a match under a hostname of a listener, as a number. That two
/// have one number is improbable enough for what follows from it: a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place(u64);

/// Who wants the same place: the older route has it, then the first by name; the others are shadowed there.
pub(super) fn evaluate(reader: &mut Reader<'_>, place: Place) -> Evaluation {
    let mut made = Evaluation::default();
    let wanting = reader.members(IndexKey::Wanting(place));
    if wanting.len() < 2 {
        return made;
    }
    let mut ordered: Vec<_> = wanting
        .iter()
        .filter_map(|route| Some((reader.binding(route)?.created, route.object_name(), route)))
        .collect();
    ordered.sort();
    let Some(((.., winner), losers)) = ordered.split_first() else { return made };
    let shadowed =
        losers.iter().map(|(.., route)| (IndexKey::ShadowedBy((*route).clone()), (*winner).clone()));
    made.index.extend(shadowed);
    made
}

// === impl Place ===

impl Place {
    /// The place of a match; of none for connections, which have nothing but a hostname.
    pub(super) fn of(listener: &ListenerKey, host: Option<&HostMatch>, matching: Option<&Match>) -> Self {
        let mut hasher = DefaultHasher::new();
        listener.hash(&mut hasher);
        host.map(|it| (&it.effective, &it.original)).hash(&mut hasher);
        if let Some(it) = matching {
            number(&(&it.path, &it.method)).hash(&mut hasher);
            // In whatever order they are written.
            let sum = |numbers: &mut dyn Iterator<Item = u64>| numbers.fold(0, u64::wrapping_add);
            sum(&mut it.headers.iter().map(number)).hash(&mut hasher);
            sum(&mut it.query.iter().map(number)).hash(&mut hasher);
        }
        Self(hasher.finish())
    }
}

fn number(it: &impl fmt::Debug) -> u64 {
    struct Digest(DefaultHasher);

    impl Write for Digest {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }

    let mut digest = Digest(DefaultHasher::new());
    // Writing into it cannot fail.
    let _ = write!(digest, "{it:?}");
    digest.0.finish()
}
