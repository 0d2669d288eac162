//! Durations as the Gateway API writes them (GEP-2257).

use std::time::Duration;

/// A text that is not a duration of the Gateway API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a duration: it takes one to four of a number with up to five digits and h, m, s or ms (1m30s)"
)]
pub(crate) struct InvalidDuration(String);

/// Parses a duration as GEP-2257 has it: `1h30m`, `500ms`; not `1.5s`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = || InvalidDuration(text.to_owned());
    let (mut rest, mut total, mut parts) = (text, Duration::ZERO, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        if !(1..=5).contains(&digits) || parts == 4 {
            return Err(invalid());
        }
        let number: u64 = number.parse().map_err(|_| invalid())?;
        let (unit, after) = match after {
            it if it.starts_with("ms") => (Duration::from_millis(1), &it[2..]),
            it if it.starts_with('h') => (Duration::from_secs(3600), &it[1..]),
            it if it.starts_with('m') => (Duration::from_secs(60), &it[1..]),
            it if it.starts_with('s') => (Duration::from_secs(1), &it[1..]),
            _ => return Err(invalid()),
        };
        total += unit * u32::try_from(number).map_err(|_| invalid())?;
        (rest, parts) = (after, parts + 1);
    }
    (parts > 0).then_some(total).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_gep_2257() {
        for (text, millis) in [
            ("0s", 0),
            ("0h", 0),
            ("10s", 10_000),
            ("1h", 3_600_000),
            ("1m30s", 90_000),
            ("1h2m3s4ms", 3_723_004),
            ("500ms", 500),
            ("99999h", 99_999 * 3_600_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "1", "s", "1.5s", "-1s", "1d", "100000s", "1s1s1s1s1s", "1s ", "1us", "٣s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
