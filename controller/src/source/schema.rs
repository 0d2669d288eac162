//! What the API server would refuse by a CRD's schema: types, required fields, limits, patterns, unknown fields. Defaults
//! are filled in as it would.

use super::rules;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, for_each_kind};
use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// A structural schema (the part of OpenAPI that CRDs may use).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Schema {
    r#type: Option<Type>,
    #[serde(default)]
    properties: BTreeMap<String, Schema>,
    additional_properties: Option<Box<Schema>>,
    items: Option<Box<Schema>>,
    #[serde(default)]
    required: Vec<String>,
    default: Option<Value>,
    #[serde(default, rename = "enum")]
    choices: Vec<Value>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    min_items: Option<usize>,
    max_items: Option<usize>,
    max_properties: Option<usize>,
    pattern: Option<String>,
    #[serde(rename = "x-kubernetes-list-type")]
    list_type: Option<String>,
    #[serde(default, rename = "x-kubernetes-list-map-keys")]
    list_keys: Vec<String>,
    #[serde(skip)]
    compiled: Option<Regex>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// Checks a manifest of a kind that has a schema here, and fills in its defaults.
pub(super) fn check(kind: Kind, manifest: &mut Value) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    if let Some(schema) = SCHEMAS.get(&kind) {
        // What a status says was not written by the user.
        if let Some(it) = manifest.as_object_mut() {
            it.remove("status");
        }
        schema.walk(manifest, &mut String::new(), &mut errors);
        if errors.is_empty() {
            rules::check(kind, manifest, &mut errors);
        }
    }
    errors
}

macro_rules! schemas {
    ($($section:ident { $($(#[$doc:meta])* $name:ident {
        kind: $kind:literal, group: $group:expr, versions: $versions:expr, key: $key:ident,
        $(spec: $spec:ty,)?
        $(schema: $schema:literal,)?
    })+ })+) => {
        /// The kinds that have a schema here, each with its text.
        const TEXTS: &[(Kind, &str)] = &[
            $($($((Kind::$name, include_str!(concat!("../../schemas/", $schema))),)?)+)+
        ];
    };
}

for_each_kind!(schemas);

static SCHEMAS: LazyLock<BTreeMap<Kind, Arc<Schema>>> = LazyLock::new(|| {
    let parse = |(kind, text): &(Kind, &str)| {
        // A schema that does not parse would be a mistake of ours that the test below finds.
        let mut schema: Schema = serde_json::from_str(text).ok()?;
        schema.compile();
        Some((*kind, Arc::new(schema)))
    };
    TEXTS.iter().filter_map(parse).collect()
});

// === impl Schema ===

impl Schema {
    fn compile(&mut self) {
        self.compiled = self.pattern.as_deref().and_then(|it| Regex::new(it).ok());
        self.properties.values_mut().for_each(Self::compile);
        self.items.as_deref_mut().into_iter().for_each(Self::compile);
        self.additional_properties.as_deref_mut().into_iter().for_each(Self::compile);
    }

    fn walk(&self, value: &mut Value, path: &mut String, out: &mut Vec<Diagnostic>) {
        if let Some(expected) = self.r#type.filter(|it| !it.accepts(value)) {
            let remedy = match (expected, &*value) {
                (Type::String, Value::Number(_) | Value::Bool(_)) => "put it in quotes".to_owned(),
                (Type::Integer | Type::Number | Type::Boolean, Value::String(_)) => {
                    "write it without quotes".to_owned()
                }
                _ => format!("write {}", expected.name()),
            };
            let message = format!("the value is {}; {} is expected", name_of(value), expected.name());
            return out.push(Diagnostic::error(Reason::TypeMismatch, path.as_str(), message, remedy));
        }
        if !self.choices.is_empty() && !self.choices.contains(value) {
            let choices: Vec<String> =
                self.choices.iter().map(|it| plain(it).replace("\"\"", "the empty text")).collect();
            let remedy = format!("use one of {}", choices.join(", "));
            let message = format!("`{}` is not allowed", plain(value));
            out.push(Diagnostic::error(Reason::ValueNotAllowed, path.as_str(), message, remedy));
            return;
        }
        match value {
            Value::Object(map) => self.object(map, path, out),
            Value::Array(items) => self.array(items, path, out),
            Value::String(text) => self.string(text, path, out),
            Value::Number(number) => self.number(number.as_f64().unwrap_or_default(), path, out),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn object(&self, map: &mut Map<String, Value>, path: &mut String, out: &mut Vec<Diagnostic>) {
        if let Some(max) = self.max_properties.filter(|max| map.len() > *max) {
            let (message, remedy) =
                (format!("there are {} entries", map.len()), format!("use at most {max}"));
            out.push(Diagnostic::error(Reason::TooManyEntries, path.as_str(), message, remedy));
        }
        // As the API server: nothing written at all is as the field left out.
        map.retain(|_, value| !value.is_null());
        for (name, schema) in &self.properties {
            if let (false, Some(default)) = (map.contains_key(name), &schema.default) {
                map.insert(name.clone(), default.clone());
            }
        }
        for name in self.required.iter().filter(|it| !map.contains_key(*it)) {
            let (message, remedy) = ("the field is missing", format!("add `{name}`"));
            out.push(Diagnostic::error(Reason::FieldMissing, join(path, name), message, remedy));
        }
        for (name, value) in map.iter_mut() {
            let length = path.len();
            path.push_str(if path.is_empty() { "" } else { "." });
            path.push_str(name);
            match (self.properties.get(name), &self.additional_properties) {
                (Some(schema), _) => schema.walk(value, path, out),
                (None, Some(schema)) => schema.walk(value, path, out),
                // `metadata` and the like are open: their schema is the server's own.
                (None, None) if self.properties.is_empty() => {}
                (None, None) => {
                    let near = nearest(name, self.properties.keys());
                    let remedy = near.map_or("remove it".to_owned(), |it| format!("did you mean `{it}`?"));
                    let message = "there is no such field";
                    out.push(Diagnostic::error(Reason::FieldUnknown, path.as_str(), message, remedy));
                }
            }
            path.truncate(length);
        }
    }

    fn array(&self, items: &mut [Value], path: &mut String, out: &mut Vec<Diagnostic>) {
        if let Some(max) = self.max_items.filter(|max| items.len() > *max) {
            let (message, remedy) =
                (format!("there are {} items", items.len()), format!("use at most {max}"));
            out.push(Diagnostic::error(Reason::TooManyItems, path.as_str(), message, remedy));
        }
        if let Some(min) = self.min_items.filter(|min| items.len() < *min) {
            let (message, remedy) =
                (format!("there are {} items", items.len()), format!("use at least {min}"));
            out.push(Diagnostic::error(Reason::TooFewItems, path.as_str(), message, remedy));
        }
        for (index, value) in items.iter_mut().enumerate() {
            let length = path.len();
            path.push_str(&format!("[{index}]"));
            self.items.iter().for_each(|it| it.walk(value, path, out));
            path.truncate(length);
        }
        self.duplicates(items, path, out);
    }

    fn duplicates(&self, items: &[Value], path: &str, out: &mut Vec<Diagnostic>) {
        let key = |item: &Value| -> Option<String> {
            match self.list_type.as_deref()? {
                "map" => {
                    Some(self.list_keys.iter().map(|key| plain(&item[key])).collect::<Vec<_>>().join(", "))
                }
                "set" => Some(plain(item)),
                _ => None,
            }
        };
        let keys: Vec<_> = items.iter().map(key).collect();
        for (index, it) in keys.iter().enumerate().filter(|(_, it)| it.is_some()) {
            if keys[..index].contains(it) {
                let field = format!("{path}[{index}]");
                let message = format!("`{}` is in this list twice", it.as_deref().unwrap_or_default());
                out.push(Diagnostic::error(Reason::ItemDuplicate, field, message, "remove one of them"));
            }
        }
    }

    fn string(&self, text: &str, path: &str, out: &mut Vec<Diagnostic>) {
        let length = text.chars().count();
        if let Some(max) = self.max_length.filter(|max| length > *max) {
            let (message, remedy) =
                (format!("the text has {length} characters"), format!("use at most {max} characters"));
            out.push(Diagnostic::error(Reason::TextTooLong, path, message, remedy));
        } else if let Some(min) = self.min_length.filter(|min| length < *min) {
            let message = match length {
                0 => "the text is empty".to_owned(),
                length => format!("the text has {length} characters"),
            };
            let remedy = match min {
                1 => "write at least one character".to_owned(),
                min => format!("use at least {min} characters"),
            };
            out.push(Diagnostic::error(Reason::TextTooShort, path, message, remedy));
        } else if let Some(pattern) = self.compiled.as_ref().filter(|it| !it.is_match(text)) {
            let remedy = format!("write a text that matches the regular expression {pattern}");
            let message = format!("`{text}` does not have the required form");
            out.push(Diagnostic::error(Reason::PatternMismatch, path, message, remedy));
        }
    }

    fn number(&self, number: f64, path: &str, out: &mut Vec<Diagnostic>) {
        let (min, max) = (self.minimum.unwrap_or(f64::MIN), self.maximum.unwrap_or(f64::MAX));
        if number < min || number > max {
            let remedy = match (self.minimum, self.maximum) {
                (Some(min), Some(max)) => format!("use a number from {min} to {max}"),
                (Some(min), None) => format!("use {min} or more"),
                _ => format!("use at most {max}"),
            };
            let message = format!("{number} is out of range");
            out.push(Diagnostic::error(Reason::NumberOutOfRange, path, message, remedy));
        }
    }
}

// === impl Type ===

impl Type {
    fn accepts(self, value: &Value) -> bool {
        match self {
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "a list",
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "a boolean (true or false)",
        }
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A value without the quotes of a text.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn join(path: &str, name: &str) -> String {
    match path.is_empty() {
        true => name.to_owned(),
        false => format!("{path}.{name}"),
    }
}

/// The known name that is closest to a mistyped one, if one is close.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let ranked = known.map(|it| (distance(&name.to_lowercase(), &it.to_lowercase()), it.as_str()));
    ranked.min().filter(|(distance, it)| *distance <= 2.max(it.len() / 4)).map(|(_, it)| it)
}

/// Whether one name is probably the other, mistyped.
pub(super) fn is_slip(written: &str, meant: &str) -> bool {
    written.len() > 4 && distance(&written.to_lowercase(), &meant.to_lowercase()) <= 2
}

/// The edit distance of two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (at, b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
