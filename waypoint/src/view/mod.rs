//! What the admin port shows of the configuration in force: all of it (`/config`), and what would become of one request
//! (`/explain`). Keys of certificates and values of headers are not shown: they may be secrets.

#[cfg(test)]
mod agreement;
mod arrival;
mod config;
mod end;
mod explain;
mod explained;
mod explanation;
mod notes;
mod question;
mod rules;
#[cfg(test)]
mod tests;

pub use explained::{Choice, Explained, JudgedBy, Lost};
pub use question::{Entrance, Question};
pub use rules::{BackendShown, ClusterShown, EndpointShown, RuleShown, StageShown};

use crate::settings::ProxySettings;
pub use crate::worker::NotServed;

use crate::table::Tables;
use crate::upstream::cluster::Registry;
use crate::worker::Serving;
use arc_swap::ArcSwap;
use fairway_balance::Moment;
use fairway_config::Snapshot;
use fairway_config::model::Generation;
use fairway_runtime::admin::Content;
use std::fmt::Display;
use std::sync::Arc;
use tokio::time::Instant;

/// What is in force.
#[derive(Clone, Debug)]
pub struct View {
    serving: Arc<ArcSwap<Serving>>,
    settings: Arc<ProxySettings>,
    epoch: Instant,
}

// === impl View ===

impl View {
    /// `epoch` is the zero of [`Moment`].
    pub(crate) fn new(serving: Arc<ArcSwap<Serving>>, settings: Arc<ProxySettings>, epoch: Instant) -> Self {
        Self { serving, settings, epoch }
    }

    /// What a proxy would show that has this configuration in force. Nothing is bound, and nothing is served.
    pub fn of_snapshot(settings: ProxySettings, snapshot: &Snapshot) -> Result<Self, NotServed> {
        let tables = Tables::build(snapshot, &mut Registry::new(settings.locality.clone()))?;
        let serving = Serving::unbound(tables, snapshot)?;
        Ok(Self::new(Arc::new(ArcSwap::from_pointee(serving)), Arc::new(settings), Instant::now()))
    }

    /// The generation in force.
    pub fn generation(&self) -> Generation {
        self.serving.load().tables.generation()
    }

    /// `/config`: JSON, or with `format=text` text.
    pub fn config(&self, query: &str) -> Content {
        let shown = config::Config::read(&self.serving.load(), self.now());
        let wants_text = query.split('&').any(|pair| pair == "format=text");
        content(&shown, wants_text)
    }

    /// `/explain`: what would become of the request that the query describes. Text, or with `format=json` JSON.
    pub fn explain(&self, query: &str) -> Content {
        match Question::parse(query) {
            Ok((question, format)) => content(&self.answer(question), format == question::Format::Text),
            Err(invalid) => Content::Invalid(invalid.to_string()),
        }
    }

    /// What would become of a request.
    pub fn answer(&self, question: Question) -> Explained {
        explain::explain(&self.serving.load(), &self.settings, self.now(), question)
    }

    fn now(&self) -> Moment {
        let elapsed = Instant::now().saturating_duration_since(self.epoch).as_millis();
        Moment(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}

fn content(shown: &(impl Display + serde::Serialize), wants_text: bool) -> Content {
    match wants_text {
        true => Content::Text(shown.to_string()),
        false => Content::Json(serde_json::to_value(shown).unwrap_or_default()),
    }
}
