//! A TLS client's first message: what is read of it does not depend on where reads end, and is what rustls reads.
#![no_main]

use fairway_waypoint::listen::hello::HelloReader;
use libfuzzer_sys::fuzz_target;
use rustls::server::Acceptor;

fuzz_target!(|input: (u8, &[u8])| {
    let (step, bytes) = input;
    let whole = HelloReader::default().read(bytes);
    let step = usize::from(step).max(1);
    let (mut pieces, mut end) = (HelloReader::default(), 0);
    let in_pieces = loop {
        end = (end + step).min(bytes.len());
        match pieces.read(&bytes[..end]) {
            Ok(None) if end < bytes.len() => {}
            other => break other,
        }
    };
    assert_eq!(whole, in_pieces);
    let Ok(Some(hello)) = whole else { return };
    assert!(hello.server_name.as_ref().is_none_or(|it| !it.bytes().any(|byte| byte.is_ascii_uppercase())));
    let (mut acceptor, mut rest) = (Acceptor::default(), bytes);
    while !rest.is_empty() {
        if acceptor.read_tls(&mut rest).is_err() {
            return;
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => return assert_eq!(accepted.client_hello().server_name(), hello.server_name.as_deref()),
            // It looks at more than the name.
            Err(_) => return,
        }
    }
});
