//! What `/explain` says: as JSON, and as text.

use super::rules::{ClusterShown, RuleShown, StageShown};
use serde::Serialize;
use std::fmt::{self, Display};

/// What would become of a request at one proxy.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// Its method and its target.
    pub request: String,
    /// Where the client is, if that is not the far end of its connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The listener, or the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What sees it before its route is matched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<StageShown>,
    /// The rule that takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleShown>,
    /// What becomes of it, in words.
    pub outcome: String,
    /// The status that the proxy itself answers with; none if it goes to an endpoint, or gets no response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The word for why it is refused, as in the access log; none if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The policies that judge it, and what they say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<JudgedBy>,
    /// What its client is asked for. Nobody is asked here: the explanation goes on as if this one had it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authentications: Vec<String>,
    /// The limits that count it. Nothing is counted here: the explanation goes on as if they let the request pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// The head that goes on, if that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_on: Option<String>,
    /// The policy that only observes and would refuse it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// Stages that ask another service. Nobody is asked here: the explanation goes on as if they let the request pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<&'static str>,
    /// The backends that it may go to.
    pub backends: Vec<Choice>,
    /// Rules whose host and path it fits, and why they do not get it.
    pub lost: Vec<Lost>,
    /// Rules whose host or path it does not fit, and those beyond the first in `lost`.
    pub others: usize,
}

/// A policy that judges a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JudgedBy {
    /// Its namespace and name.
    pub policy: String,
    /// What names it: `listener`, `rule` or `Service`.
    pub at: &'static str,
    /// What it says of the request.
    pub verdict: String,
}

/// A backend that a request may go to.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// The key of the backend.
    pub backend: String,
    /// The share of such requests that it gets.
    pub percent: f64,
    /// What is done to the request on the way there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageShown>,
    /// The head that goes there, if its stages change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_on: Option<String>,
    /// What its Service asks the client for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authentications: Vec<String>,
    /// The policies of its Service that judge the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<JudgedBy>,
    /// The policy of its Service that only observes and would refuse the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// The limits of its Service that count the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// How the request ends that would go there, if it reaches no endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The status that the proxy itself answers with then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The word for why it is refused then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The policy of its Service that refuses the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Its endpoints, as far as they may be chosen for this client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterShown>,
}

/// A rule that does not get the request.
#[derive(Clone, Debug, Serialize)]
pub struct Lost {
    /// Its route and its place there.
    pub rule: String,
    /// What the rule matches.
    #[serde(rename = "match")]
    pub matched: String,
    /// Why it does not get it.
    pub why: String,
}

impl Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "request  {}", self.request)?;
        self.client.iter().try_for_each(|client| writeln!(f, "client   {client}"))?;
        self.target.iter().try_for_each(|target| writeln!(f, "target   {target}"))?;
        self.filters.iter().try_for_each(|filter| writeln!(f, "filter   {filter}"))?;
        if let Some(rule) = &self.rule {
            writeln!(f, "rule     {}\n         {}", rule.title(), rule.matched)?;
            rule.stages.iter().try_for_each(|stage| writeln!(f, "stage    {stage}"))?;
        }
        self.authentications.iter().try_for_each(|it| writeln!(f, "who      {it}"))?;
        self.policies.iter().try_for_each(|policy| writeln!(f, "policy   {policy}"))?;
        self.limits.iter().try_for_each(|limit| writeln!(f, "limit    {limit}"))?;
        self.sent_on.iter().try_for_each(|head| writeln!(f, "sent on  {head}"))?;
        self.assumed.iter().try_for_each(|stage| writeln!(f, "assumed  {stage} lets it pass"))?;
        self.observed.iter().try_for_each(|policy| writeln!(f, "observed {policy} would refuse it"))?;
        writeln!(f, "outcome  {}", self.outcome)?;
        self.backends.iter().try_for_each(|choice| choice.fmt(f))?;
        for lost in &self.lost {
            writeln!(f, "lost     {}\n         {}\n         because {}", lost.rule, lost.matched, lost.why)?;
        }
        if self.others > 0 {
            writeln!(f, "         {} more, whose host or path is another", self.others)?;
        }
        Ok(())
    }
}

impl Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "backend  {} ({} %)", self.backend, self.percent)?;
        self.authentications.iter().try_for_each(|it| writeln!(f, "         asks {it}"))?;
        self.policies.iter().try_for_each(|policy| writeln!(f, "         policy {policy}"))?;
        self.observed.iter().try_for_each(|policy| writeln!(f, "         {policy} would refuse it"))?;
        self.refused.iter().try_for_each(|policy| writeln!(f, "         refused by {policy}"))?;
        self.limits.iter().try_for_each(|limit| writeln!(f, "         limit {limit}"))?;
        self.stages.iter().try_for_each(|stage| writeln!(f, "         stage {stage}"))?;
        self.sent_on.iter().try_for_each(|head| writeln!(f, "         sent on {head}"))?;
        self.ended.iter().try_for_each(|ended| writeln!(f, "         ends there: {ended}"))?;
        let Some(cluster) = &self.cluster else { return writeln!(f, "         not known here: 500") };
        cluster.through.iter().try_for_each(|it| writeln!(f, "         through waypoint {it}"))?;
        match cluster.endpoints.as_slice() {
            [] => writeln!(f, "         no endpoint: 503"),
            endpoints => endpoints.iter().try_for_each(|it| writeln!(f, "         {it}")),
        }
    }
}

impl Display for JudgedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessPolicy {} ({}): {}", self.policy, self.at, self.verdict)
    }
}
