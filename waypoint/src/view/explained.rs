//! What `/explain` says: as JSON, and as text.

use super::rules::{ClusterShown, RuleShown, StageShown};
use serde::Serialize;
use std::fmt::{self, Display};

/// What would become of a request.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explained {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleShown>,
    pub outcome: String,
    /// What clients are asked for that send it. Nobody is asked here: the explanation goes on as if this one had it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authentications: Vec<String>,
    /// The limits that would count it. Nothing is counted here: the explanation goes on as if they let the request pass.
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

/// A backend that a request may go to.
#[derive(Debug, Serialize)]
pub(super) struct Choice {
    pub backend: String,
    /// The share of such requests that it gets.
    pub percent: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageShown>,
    /// The limits of its Service that would count the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// How its stages end the request, if they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The policy of its Service that refuses the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterShown>,
}

/// A rule that does not get the request.
#[derive(Debug, Serialize)]
pub(super) struct Lost {
    pub rule: String,
    #[serde(rename = "match")]
    pub matched: String,
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
        self.limits.iter().try_for_each(|limit| writeln!(f, "limit    {limit}"))?;
        self.sent_on.iter().try_for_each(|head| writeln!(f, "sent on  {head}"))?;
        self.assumed.iter().try_for_each(|stage| writeln!(f, "assumed  {stage} lets it pass"))?;
        self.observed.iter().try_for_each(|policy| writeln!(f, "observed {policy} would refuse it"))?;
        writeln!(f, "outcome  {}", self.outcome)?;
        for choice in &self.backends {
            writeln!(f, "backend  {} ({} %)", choice.backend, choice.percent)?;
            choice.refused.iter().try_for_each(|policy| writeln!(f, "         refused by {policy}"))?;
            choice.limits.iter().try_for_each(|limit| writeln!(f, "         limit {limit}"))?;
            choice.stages.iter().try_for_each(|stage| writeln!(f, "         stage {stage}"))?;
            choice.ended.iter().try_for_each(|ended| writeln!(f, "         ends there: {ended}"))?;
            match &choice.cluster {
                Some(cluster) if cluster.endpoints.is_empty() => writeln!(f, "         no endpoint: 503")?,
                Some(cluster) => cluster.endpoints.iter().try_for_each(|it| writeln!(f, "         {it}"))?,
                None => writeln!(f, "         not known here: 500")?,
            }
        }
        for lost in &self.lost {
            writeln!(f, "lost     {}\n         {}\n         because {}", lost.rule, lost.matched, lost.why)?;
        }
        if self.others > 0 {
            writeln!(f, "         {} more, whose host or path is another", self.others)?;
        }
        Ok(())
    }
}
