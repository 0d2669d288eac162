//! Certificates, what asks for them, and who they name.

use crate::text_of;
use fairway_identity::wire::IssueResponse;
use fairway_identity::{Issued, SpiffeId, TrustBundle, peer_identity, read_request, wire};
use prost::Message;
use rcgen::PublicKeyData;

/// The controller's answers: no bytes panic, and roots that are taken are some.
pub fn message(bytes: &[u8]) {
    if let Ok(issued) = IssueResponse::decode(bytes).map(Issued::try_from) {
        assert!(
            issued.is_err() || issued.is_ok_and(|it| !it.chain.is_empty() && !it.bundle.roots.is_empty())
        );
    }
    if let Ok(Ok(bundle)) = wire::Bundle::decode(bytes).map(TrustBundle::try_from) {
        assert!(!bundle.roots.is_empty());
        assert_eq!(TrustBundle::try_from(wire::Bundle::from(&bundle)), Ok(bundle));
    }
}

/// A peer's certificate, as it comes out of the handshake: no bytes panic, and what is read is an identity.
pub fn peer(bytes: &[u8]) {
    if let Ok(id) = peer_identity(Some(&[bytes.into()])) {
        assert_eq!(id.as_str().parse::<SpiffeId>().as_ref(), Ok(&id));
    }
}

/// A proxy's certificate request: no bytes panic, and what is taken is a key on P-256.
pub fn request(bytes: &[u8]) {
    let Ok(id) = "spiffe://cluster.local/ns/shop/sa/web".parse() else { return };
    if let Ok(key) = read_request(bytes, &id) {
        assert_eq!(key.der_bytes().len(), 65);
    }
}

/// A SPIFFE id: what parses has the parts that make it up again, and no byte that could hide something.
pub fn spiffe_id(bytes: &[u8]) {
    if let Ok(id) = text_of(bytes).parse::<SpiffeId>() {
        let (domain, namespace, account) = (id.trust_domain(), id.namespace(), id.service_account());
        assert_eq!(format!("spiffe://{domain}/ns/{namespace}/sa/{account}"), id.as_str());
        assert!([domain, namespace, account].iter().all(|it| !it.is_empty() && !it.contains('/')));
        assert!(id.as_str().bytes().all(|it| it.is_ascii_graphic()));
    }
}
