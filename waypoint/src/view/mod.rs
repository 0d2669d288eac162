//! What the admin port shows of the configuration in force: all of it (`/config`), and what would become of one request
//! (`/explain`). Keys of certificates and values of headers are not shown: they may be secrets.

#[cfg(test)]
mod agreement;
mod config;
mod explain;
mod explained;
mod question;
mod rules;
#[cfg(test)]
mod tests;

use crate::settings::ProxySettings;
use crate::worker::Serving;
use arc_swap::ArcSwap;
use fairway_balance::Moment;
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
        match question::Question::parse(query) {
            Ok(question) => {
                let wants_text = question.format != question::Format::Json;
                let serving = self.serving.load();
                content(&explain::explain(&serving, &self.settings, self.now(), question), wants_text)
            }
            Err(invalid) => Content::Invalid(invalid.to_string()),
        }
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
