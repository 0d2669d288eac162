//! A request's target and Host as routes see them: what is taken is in one form, and that form is its own.
#![no_main]

use fairway_config::model::normalised_path;
use fairway_waypoint::host::normalise_host;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (path, host) = input;
    if let Some(once) = normalised_path(path) {
        let twice = normalised_path(&once).expect("what was taken is taken again");
        assert_eq!(once, twice);
        assert!(!once.split('/').any(|segment| segment == ".." || segment == "."));
    }
    if let Ok(host) = normalise_host(host) {
        assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'/' || byte == b'@'));
    }
});
