//! The OpenMetrics text format, as far as Fairway writes it.

use std::collections::{BTreeMap, BTreeSet};

/// What a scrape shows.
#[derive(Clone, Debug, Default)]
pub struct Exposition(Vec<Sample>);

/// One line of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The name, with `_total`, `_bucket` and so on.
    pub name: String,
    /// The labels by their names.
    pub labels: BTreeMap<String, String>,
    /// The value as a floating-point number.
    pub value: f64,
}

// === impl Exposition ===

impl Exposition {
    /// Reads it.
    ///
    /// # Panics
    /// If a line is none of the format.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let read = |line: &str| Sample::parse(line).unwrap_or_else(|| panic!("no sample: {line}"));
        Self(lines.map(read).collect())
    }

    /// The samples of this name that have these labels, and perhaps others.
    pub fn samples<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        let fits = move |it: &&Sample| {
            it.name == name
                && labels.iter().all(|(key, value)| it.labels.get(*key).is_some_and(|it| it == value))
        };
        self.0.iter().filter(fits)
    }

    /// The sum of [`Self::samples`].
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples(name, labels).map(|it| it.value).sum()
    }

    /// The names of all metrics, each once.
    pub fn names(&self) -> BTreeSet<&str> {
        self.0.iter().map(|it| it.name.as_str()).collect()
    }

    /// The names of the labels of a metric; none if there is no such metric.
    pub fn labels(&self, name: &str) -> Option<BTreeSet<&str>> {
        let mut samples = self.0.iter().filter(|it| it.name == name).peekable();
        samples.peek()?;
        Some(samples.flat_map(|it| it.labels.keys()).map(String::as_str).collect())
    }

    /// Every sample, in the order of the text.
    pub fn all(&self) -> &[Sample] {
        &self.0
    }
}

// === impl Sample ===

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = BTreeMap::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.starts_with('}') {
                let (key, value) = rest.split_once("=\"")?;
                let (value, after) = unescape(value)?;
                labels.insert(key.trim_start_matches(',').to_owned(), value);
                rest = after;
            }
            rest = rest.strip_prefix('}')?;
        }
        let value = rest.split_whitespace().next()?.parse().ok()?;
        Some(Self { name: name.to_owned(), labels, value })
    }
}

/// A label's value up to its closing quote, and what is behind that.
fn unescape(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            char => value.push(char),
        }
    }
    None
}
