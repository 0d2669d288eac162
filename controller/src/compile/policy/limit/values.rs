//! From what a policy says to limits.

use super::spec;
use crate::compile::policy::access::review::TOLD;
use crate::compile::policy::access::rules::{Invalid, counted};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::settings::CompileSettings;
use crate::compile::stage;
use crate::resources::rate_limit_policy::{LimitKey, LimitKeyType, LocalLimit, RateLimitPolicySpec};
use crate::resources::{Kind, RateLimitPolicy};
use fairway_config::model::{Limit, LimitKeyPart, ObjectName};
use fairway_incremental::Query;
use http::HeaderName;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

/// The limits of a policy.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Compiled {
    pub limits: Vec<Limit>,
    /// The values that are not valid.
    pub invalid: Vec<Invalid>,
    /// The first key that is an address.
    pub of_address: Option<String>,
    /// The first key that is an identity.
    pub of_identity: Option<String>,
}

/// The most requests of a limit, and the most at once.
const MOST: u32 = 1_000_000;

// === impl Compiled ===

impl Compiled {
    /// Whether everything of the policy can be carried out at a target of this kind.
    pub(super) fn is_whole_at(&self, kind: Kind) -> bool {
        self.invalid.is_empty() && (kind != Kind::Service || self.of_address.is_none())
    }

    fn invalid(&mut self, field: String, reason: impl Into<String>) {
        self.invalid.push(Invalid { field, reason: reason.into() });
    }

    fn limit(&mut self, field: &str, written: &LocalLimit, settings: &CompileSettings) -> Option<Limit> {
        let LocalLimit { name, requests, per, burst, key, matches } = written;
        let requests = self.count(format!("{field}.requests"), *requests);
        let burst = match burst {
            Some(burst) => self.count(format!("{field}.burst"), *burst),
            None => requests,
        };
        if key.as_ref().is_some_and(Vec::is_empty) {
            let reason = "the list is empty; leave it out to count all together";
            self.invalid(format!("{field}.key"), reason);
        }
        let each = key.iter().flatten().enumerate();
        let key: Vec<_> = each.filter_map(|(at, it)| self.part(format!("{field}.key[{at}]"), it)).collect();
        let matches = matches.as_ref().map(|written| {
            let (lists, mut invalid) = counted(&format!("{field}.matches"), written, settings);
            self.invalid.append(&mut invalid);
            lists
        });
        let name = name.as_deref().map(Into::into);
        Some(Limit { name, requests: requests?, per: per.duration(), burst: burst?, key, matches })
    }

    fn count(&mut self, field: String, number: u32) -> Option<NonZeroU32> {
        let count = NonZeroU32::new(number).filter(|it| it.get() <= MOST);
        if count.is_none() {
            self.invalid(field, format!("{number} is not a number from 1 to {MOST}"));
        }
        count
    }

    fn part(&mut self, field: String, written: &LimitKey) -> Option<LimitKeyPart> {
        match (written.kind, &written.name) {
            (LimitKeyType::ClientAddress, None) => {
                self.of_address.get_or_insert(field);
                Some(LimitKeyPart::ClientAddress)
            }
            (LimitKeyType::Identity, None) => {
                self.of_identity.get_or_insert(field);
                Some(LimitKeyPart::Identity)
            }
            (LimitKeyType::Header, Some(name)) => {
                let header = name.parse::<HeaderName>().ok();
                if header.is_none() {
                    self.invalid(format!("{field}.name"), format!("`{name}` is not the name of a header"));
                }
                header.map(LimitKeyPart::Header)
            }
            (LimitKeyType::Header, None) => {
                self.invalid(field, "the key does not name its header");
                None
            }
            (LimitKeyType::ClientAddress | LimitKeyType::Identity, Some(_)) => {
                self.invalid(format!("{field}.name"), "only a header has a name");
                None
            }
        }
    }
}

/// Compiles what a policy says, once for all that look at it; none for one that cannot be read.
pub(super) struct Compile;

impl Query<Cluster> for Compile {
    type Key = ObjectName;
    type Value = Option<Arc<Compiled>>;
    const STAGE: u8 = stage::OBJECTS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, _: &mut Made) -> Option<Arc<Compiled>> {
        let policy = reader.input::<RateLimitPolicy>(name)?;
        spec(&policy).map(|it| Arc::new(compile(it, &reader.settings())))
    }
}

fn compile(spec: &RateLimitPolicySpec, settings: &CompileSettings) -> Compiled {
    let (mut compiled, mut names) = (Compiled::default(), BTreeSet::new());
    if spec.local.is_empty() {
        compiled.invalid("spec.local".to_owned(), "the policy has no limit");
    }
    for (index, written) in spec.local.iter().enumerate() {
        let field = format!("spec.local[{index}]");
        if written.name.as_ref().is_some_and(|it| !names.insert(it)) {
            compiled.invalid(format!("{field}.name"), "two limits have this name");
        }
        let limit = compiled.limit(&field, written, settings);
        compiled.limits.extend(limit);
    }
    compiled
}

/// What all replicas let pass together: each counts by itself.
pub(super) fn together(spec: &RateLimitPolicySpec, replicas: u32) -> String {
    let limit = |(index, it): (usize, &LocalLimit)| {
        let name = it.name.clone().unwrap_or_else(|| format!("limit {index}"));
        let all = u64::from(it.requests) * u64::from(replicas);
        format!("{all} requests per {:?}{} ({name})", it.per, for_each(it.key.as_deref().unwrap_or_default()))
    };
    let limits: Vec<String> = spec.local.iter().enumerate().take(TOLD).map(limit).collect();
    let more = if spec.local.len() > TOLD { ", …" } else { "" };
    let who = match replicas {
        1 => "the limit is per replica: one counts, and lets pass".to_owned(),
        many => {
            format!("the limit is per replica: each of {many} counts by itself, and together they let pass")
        }
    };
    format!("{who} up to {}{more}", limits.join(", "))
}

/// Who has so many requests each by itself.
fn for_each(key: &[LimitKey]) -> String {
    let part = |it: &LimitKey| match (it.kind, &it.name) {
        (LimitKeyType::ClientAddress, _) => "client address".to_owned(),
        (LimitKeyType::Identity, _) => "client identity".to_owned(),
        (LimitKeyType::Header, name) => format!("value of header {}", name.as_deref().unwrap_or_default()),
    };
    let parts: Vec<String> = key.iter().map(part).collect();
    if parts.is_empty() { String::new() } else { format!(" for each {}", parts.join(" and ")) }
}
