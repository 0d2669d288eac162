//! The Date of a response (RFC 9110 §6.6.1), written once a second.

use http::HeaderValue;
use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

thread_local! {
    static WRITTEN: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
}

/// The present time as a Date field, formatted once a second by each thread.
pub fn now() -> HeaderValue {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    WRITTEN.with_borrow_mut(|(second, date)| {
        if *second != now || date.is_empty() {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now));
            (*second, *date) = (now, HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("")));
        }
        date.clone()
    })
}
