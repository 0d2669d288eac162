//! Why a message is no resource: the field, and what is wrong with it.

use std::fmt;

/// A field that cannot be taken, named by its path: `rules[3].matches[0].path.regex: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    path: String,
    reason: String,
}

impl Invalid {
    /// A field and what is wrong with it.
    pub(super) fn new(field: &str, reason: impl fmt::Display) -> Self {
        Self { path: field.to_owned(), reason: reason.to_string() }
    }

    /// An enum's value that is not set or not known.
    pub(super) fn unknown_value(field: &str, number: i32) -> Self {
        Self::new(field, format!("{number} is not a value that this program knows"))
    }

    /// The same, seen from the message around it.
    pub(super) fn within(mut self, field: &str) -> Self {
        self.path = match (field, &*self.path) {
            (field, "") => field.to_owned(),
            ("", path) => path.to_owned(),
            (field, path) => format!("{field}.{path}"),
        };
        self
    }

    fn at(self, field: &str, index: usize) -> Self {
        self.within(&format!("{field}[{index}]"))
    }

    /// The path of the field.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "{}: {}", self.path, self.reason)
        }
    }
}

impl std::error::Error for Invalid {}

/// Decodes every item of a repeated field. What comes of it is kept for long, so it takes no more room than it needs.
pub(super) fn each<T, U>(
    items: impl IntoIterator<Item = T>,
    field: &str,
    decode: impl Fn(T) -> Result<U, Invalid>,
) -> Result<Vec<U>, Invalid> {
    let decoded = items.into_iter().enumerate();
    let mut decoded: Vec<U> = decoded
        .map(|(index, item)| decode(item).map_err(|invalid| invalid.at(field, index)))
        .collect::<Result<_, _>>()?;
    decoded.shrink_to_fit();
    Ok(decoded)
}

/// Decodes a message that has to be there.
pub(super) fn required<T, U>(
    item: Option<T>,
    field: &str,
    decode: impl FnOnce(T) -> Result<U, Invalid>,
) -> Result<U, Invalid> {
    match item {
        Some(item) => decode(item).map_err(|invalid| invalid.within(field)),
        None => Err(Invalid::new(field, "is not set, or set to a kind that this program does not know")),
    }
}

/// Decodes a message that may be absent.
pub(super) fn optional<T, U>(
    item: Option<T>,
    field: &str,
    decode: impl FnOnce(T) -> Result<U, Invalid>,
) -> Result<Option<U>, Invalid> {
    item.map(decode).transpose().map_err(|invalid| invalid.within(field))
}
