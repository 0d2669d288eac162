//! What the decisions of a request say, written down.

use super::explained::{Choice, Explained, JudgedBy, Lost};
use super::rules::{RuleShown, describe_stages, describe_target};
use crate::authentication::Refusal;
use crate::pipeline::RouteTarget;
use crate::pipeline::access::PolicySet;
use crate::pipeline::authentication;
use crate::pipeline::execution::Notes;
use crate::pipeline::limits::Asked;
use crate::route::{self, ChosenBackend, RequestHead, RouteTable, RuleEntry};
use crate::table::{AccessTable, Authenticator};
use crate::telemetry::describe_denial;
use fairway_config::model::{AuthenticationKey, AuthorizationKey, BackendKey, RateLimitKey, Scheme};
use fairway_policy::{Decider, Mode, PolicyRefusal};
use fairway_telemetry::{RequestLabels, Series};
use http::header::HOST;
use http::request::Parts;
use std::fmt::Display;
use tokio::time::Instant;

/// Rules that are named beside the one that is chosen.
const MOST: usize = 50;

/// What the decisions of a request say, up to one of the backends that it may go to.
#[derive(Debug)]
pub(super) struct Written<'t> {
    /// What is said before a backend is chosen.
    pub explained: Explained,
    /// The rule that takes it.
    pub rule: Option<RuleEntry<'t>>,
    /// What is said of the backend.
    pub choice: Option<Choice>,
    /// By what the request came.
    entrance: String,
    scheme: Scheme,
    /// Its head as it came.
    pub before: String,
    /// The policy that has refused it.
    pub refused_by: Option<String>,
}

// === impl Written ===

impl Written<'_> {
    /// Nothing is said yet of a request that came by `entrance`.
    pub(super) fn new(explained: Explained, entrance: &impl Display, scheme: Scheme, parts: &Parts) -> Self {
        let (entrance, before) = (entrance.to_string(), describe_head(parts, scheme));
        Self { explained, rule: None, choice: None, entrance, scheme, before, refused_by: None }
    }

    /// Notes the limits that count it.
    pub(super) fn count(&mut self, asked: &[Asked<'_>]) {
        let described = asked.iter().map(|it| {
            let observed = if it.mode == Mode::Observe { "; only observed" } else { "" };
            format!("{} {}: {}{observed}", it.key, it.counted.name, it.counted)
        });
        self.limits().extend(described);
    }

    /// Notes what its client is asked for.
    pub(super) fn ask(&mut self, asked: authentication::Asked<'_>) {
        let described = format!("{}: {}", asked.key, asked.by.verifier);
        self.authentications().push(described);
    }

    fn authentications(&mut self) -> &mut Vec<String> {
        match &mut self.choice {
            Some(choice) => &mut choice.authentications,
            None => &mut self.explained.authentications,
        }
    }

    fn limits(&mut self) -> &mut Vec<String> {
        match &mut self.choice {
            Some(choice) => &mut choice.limits,
            None => &mut self.explained.limits,
        }
    }

    fn policies(&mut self) -> &mut Vec<JudgedBy> {
        match &mut self.choice {
            Some(choice) => &mut choice.policies,
            None => &mut self.explained.policies,
        }
    }

    fn name_the_lost(&mut self, table: &RouteTable, parts: &Parts, chosen: Option<&RuleEntry<'_>>) {
        // Read anew: the comparisons that have chosen may have taken what a request may take.
        let Ok(head) = RequestHead::read(parts) else { return };
        let considered = table.considered(&head);
        let all: usize = table.by_host().iter().map(|(_, entries)| entries.len()).sum();
        let is_chosen = |entry: &RuleEntry<'_>| {
            chosen.is_some_and(|chosen| std::ptr::eq(chosen.matched(), entry.matched()))
        };
        let mut is_behind = false;
        for (entry, mismatch) in &considered {
            if is_chosen(entry) {
                is_behind = true;
                continue;
            }
            let why = match mismatch {
                Some(mismatch) => mismatch.to_string(),
                None if is_behind => "it fits, but goes behind the one that is chosen".to_owned(),
                None => "the preflight is answered by the rule of the request that it announces".to_owned(),
            };
            if self.explained.lost.len() < MOST {
                let rule = RuleShown::new(entry).title();
                let matched = route::describe(entry.matched());
                self.explained.lost.push(Lost { rule, matched, why });
            }
        }
        self.explained.others = all.saturating_sub(self.explained.lost.len() + usize::from(is_behind));
    }
}

impl<'t> Notes<'t> for Written<'t> {
    fn started(&self) -> Instant {
        Instant::now()
    }

    fn asked(&mut self, _: &BackendKey) {}

    fn found(&mut self, target: &RouteTarget<'t>) {
        let listener = match target {
            RouteTarget::Rules { listener, filters, .. } => {
                let filters = filters.map(|it| describe_stages(it.stages()));
                self.explained.filters = filters.unwrap_or_default();
                *listener
            }
            RouteTarget::Endpoints { .. } => None,
        };
        let name = listener.map(|listener| format!("listener {}", listener.key));
        self.explained.target = Some(name.unwrap_or_else(|| self.entrance.clone()));
    }

    fn compared(&mut self, table: &'t RouteTable, parts: &Parts, selected: Option<&RuleEntry<'t>>) {
        self.name_the_lost(table, parts, selected);
        self.explained.rule = selected.map(RuleShown::new);
        self.rule = selected.copied();
    }

    fn counts_in(&mut self, _: &Series<RequestLabels>) {}

    fn chosen(&mut self, backend: &ChosenBackend<'t>, parts: &Parts) {
        let after = describe_head(parts, self.scheme);
        self.explained.sent_on = Some(after).filter(|after| *after != self.before);
        self.choice = Some(Choice {
            backend: describe_target(backend.target),
            stages: backend.stages.map(describe_stages).unwrap_or_default(),
            ..Choice::default()
        });
    }

    fn denied(&mut self, refusal: &PolicyRefusal, _: &AccessTable) {
        self.refused_by = Some(describe_denial(refusal));
    }

    fn observed(&mut self, refusal: &PolicyRefusal, _: &AccessTable) {
        let described = Some(describe_denial(refusal));
        match &mut self.choice {
            Some(choice) => choice.observed = described,
            None => self.explained.observed = described,
        }
    }

    fn allowed(&mut self, policies: &PolicySet<'t>, by: Option<Decider<'t>>) {
        let levels =
            [("listener", policies.listener), ("rule", policies.rule), ("Service", policies.service)];
        for (at, guards) in levels {
            for name in guards.authorizations() {
                let rule = by.as_ref().filter(|it| **it.policy == *name.as_str());
                let verdict = match rule.map(|by| (&by.rule.name, by.number)) {
                    Some((Some(name), _)) => format!("allows it by rule {name}"),
                    Some((None, number)) => format!("allows it by rules[{number}]"),
                    None => "lets it pass".to_owned(),
                };
                let policy = AuthorizationKey::policy_of(name.as_str()).to_owned();
                let judged = JudgedBy { policy, at, verdict };
                let all = self.policies();
                if !all.contains(&judged) {
                    all.push(judged);
                }
            }
        }
    }

    fn unauthenticated(&mut self, _: &AuthenticationKey, _: &Authenticator, _: &Refusal) {}

    fn closed_by_authentication(&mut self, key: &AuthenticationKey) {
        let text = format!("{key}: not known here, or cannot be carried out: nothing passes");
        self.authentications().push(text);
    }

    fn closed_by(&mut self, key: &RateLimitKey) {
        let text = format!("{key}: not known here, or cannot be carried out: nothing passes");
        self.limits().push(text);
    }
}

/// The method and the target of a request.
pub(super) fn describe_head(parts: &Parts, scheme: Scheme) -> String {
    let scheme = match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("{} {scheme}://{host}{}", parts.method, parts.uri)
}
