//! What anybody who reaches the controller's port can say.

use crate::text_of;
use fairway_controller::admission::check_token;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A token, before anybody is asked about it: what passes has three parts and is for us, and passes at any earlier time too.
pub fn token(bytes: &[u8]) {
    let text = text_of(bytes);
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let judged = |now: SystemTime| check_token(text, "fairway.dev", now);
    if judged(at(2_000_000_000)).is_ok() {
        assert_eq!(text.split('.').count(), 3);
        assert_eq!(judged(at(1_000_000_000)), Ok(()));
    }
}
