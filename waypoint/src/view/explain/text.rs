//! An explanation as text.

use super::Explained;
use crate::reason::Reason;
use fairway_config::model::Scheme;
use http::header::HOST;
use http::request::Parts;
use std::fmt::{self, Display};

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
        self.sent_on.iter().try_for_each(|head| writeln!(f, "sent on  {head}"))?;
        self.assumed.iter().try_for_each(|stage| writeln!(f, "assumed  {stage} lets it pass"))?;
        self.observed.iter().try_for_each(|policy| writeln!(f, "observed {policy} would refuse it"))?;
        writeln!(f, "outcome  {}", self.outcome)?;
        for choice in &self.backends {
            writeln!(f, "backend  {} ({} %)", choice.backend, choice.percent)?;
            choice.refused.iter().try_for_each(|policy| writeln!(f, "         refused by {policy}"))?;
            choice.stages.iter().try_for_each(|stage| writeln!(f, "         stage {stage}"))?;
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

pub(super) fn describe_refusal(reason: Reason) -> String {
    format!("refused with {}: {} ({})", reason.status(), reason.sentence().trim_end(), reason.label())
}

pub(super) fn describe_head(parts: &Parts, scheme: Scheme) -> String {
    let scheme = match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("{} {scheme}://{host}{}", parts.method, parts.uri)
}
