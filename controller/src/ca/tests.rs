mod asked;

use super::*;
use crate::admission::{Caller, Entitlement, NotEntitled, SameUser};
use fairway_identity::wire::{IdentityClient, IssueRequest};
use fairway_identity::{
    BoxFuture, GrpcIssuer, Identities, InvalidRequest, Issued, Issuer, SpiffeId, TlsIdentity, TokioClock,
    accept, connect, peer_identity,
};
use fairway_runtime::metrics::Outcomes;
use fairway_runtime::{drain, transport};
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData, SanType};
use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;
use x509_parser::prelude::{FromDer, X509Certificate};

const MINUTE: Duration = Duration::from_secs(60);

fn id(text: &str) -> SpiffeId {
    format!("spiffe://cluster.local/{text}").parse().unwrap()
}

fn settings() -> Settings {
    Settings {
        clock: Arc::new(TokioClock::start()),
        lifetime: 10 * MINUTE,
        overlap: MINUTE,
        ..Settings::default()
    }
}

async fn authority_with(settings: Settings) -> Arc<Authority> {
    let opened = Authority::open(
        "cluster.local".parse().unwrap(),
        settings,
        Memory::default(),
        SameUser::as_this_process(),
    );
    opened.await.unwrap()
}

fn csr_for(key: &KeyPair, names: &[&str]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names =
        names.iter().map(|it| SanType::URI(Ia5String::try_from(*it).unwrap())).collect();
    params.serialize_request(key).unwrap().der().to_vec()
}

async fn issue(authority: &Authority, id: &SpiffeId, key: &KeyPair) -> Issued {
    authority.issue(&Caller::ThisProcess, id, &csr_for(key, &[id.as_str()])).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_issued_is_an_svid_for_this_identity_and_key_and_no_more() {
    let authority = authority_with(settings()).await;
    let (web, key) = (id("ns/shop/sa/web"), KeyPair::generate().unwrap());
    let issued = issue(&authority, &web, &key).await;
    assert_eq!(peer_identity(Some(&issued.chain)).unwrap(), web);

    let (_, leaf) = X509Certificate::from_der(&issued.chain[0]).unwrap();
    assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
    assert!(!leaf.basic_constraints().unwrap().unwrap().value.ca);
    let usage = leaf.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
    let extended = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.any);
    assert_eq!(leaf.subject().iter().count(), 0);
    assert!(
        leaf.subject_alternative_name().unwrap().unwrap().critical,
        "as there is no subject (RFC 5280 §4.2.1.6)"
    );
    let lived = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
    assert!((11 * 60..=11 * 60 + 1).contains(&lived), "ten minutes, and one before for skew: {lived} s");
}

#[tokio::test(start_paused = true)]
async fn serial_numbers_are_random_and_long() {
    let authority = authority_with(settings()).await;
    let (web, key) = (id("ns/shop/sa/web"), KeyPair::generate().unwrap());
    let mut serials = HashSet::new();
    for _ in 0..50 {
        let issued = issue(&authority, &web, &key).await;
        let (_, leaf) = X509Certificate::from_der(&issued.chain[0]).unwrap();
        assert!(leaf.serial.bits() > 96, "a random number of 128 bits is almost never this small");
        serials.insert(leaf.serial.clone());
    }
    assert_eq!(serials.len(), 50);
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_attacks_are_refused() {
    let authority = authority_with(settings()).await;
    let web = id("ns/shop/sa/web");
    let key = KeyPair::generate().unwrap();
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let good = csr_for(&key, &[web.as_str()]);

    let mut bad_signature = good.clone();
    *bad_signature.last_mut().unwrap() ^= 1;
    // Another's public key in a request that one signs oneself.
    let stolen = {
        let victim = KeyPair::generate().unwrap();
        let (own, theirs) = (key.public_key_raw(), victim.public_key_raw());
        let at = good.windows(own.len()).position(|it| it == own).unwrap();
        let mut csr = good.clone();
        csr[at..at + own.len()].copy_from_slice(theirs);
        csr
    };
    let mut trailing = good.clone();
    trailing.push(0);

    for (what, csr, why) in [
        ("a broken signature", bad_signature, InvalidRequest::BadSignature),
        ("a stolen public key", stolen, InvalidRequest::BadSignature),
        (
            "another name",
            csr_for(&key, &["spiffe://cluster.local/ns/shop/sa/admin"]),
            InvalidRequest::OtherName(web.clone()),
        ),
        (
            "one name more",
            csr_for(&key, &[web.as_str(), "spiffe://cluster.local/ns/shop/sa/admin"]),
            InvalidRequest::OtherName(web.clone()),
        ),
        ("RSA of 512 bits", include_bytes!("testdata/rsa512.csr").to_vec(), InvalidRequest::NotP256),
        ("RSA of 2048 bits", include_bytes!("testdata/rsa2048.csr").to_vec(), InvalidRequest::NotP256),
        ("P-384", csr_for(&p384, &[web.as_str()]), InvalidRequest::NotP256),
        ("Ed25519", csr_for(&ed25519, &[web.as_str()]), InvalidRequest::NotP256),
        ("bytes after the end", trailing, InvalidRequest::Malformed),
        ("half of one", good[..good.len() / 2].to_vec(), InvalidRequest::Malformed),
        ("nothing", vec![], InvalidRequest::Malformed),
        ("too much", vec![0x30; 5000], InvalidRequest::TooLong(5000)),
    ] {
        match authority.issue(&Caller::ThisProcess, &web, &csr).await {
            Err(AuthorityError::Request(error)) => assert_eq!(error, why, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    // No name at all is no lie.
    assert!(authority.issue(&Caller::ThisProcess, &web, &csr_for(&key, &[])).await.is_ok());
    assert!(authority.issue(&Caller::ThisProcess, &web, &good).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_an_identity_past_the_entitlement() {
    let authority = authority_with(settings()).await;
    let (web, key) = (id("ns/shop/sa/web"), KeyPair::generate().unwrap());
    let csr = csr_for(&key, &[web.as_str()]);
    let refused = authority.issue(&Caller::Unknown, &web, &csr).await;
    assert!(matches!(refused, Err(AuthorityError::NotEntitled { why: NotEntitled::Unknown, .. })));
    let elsewhere: SpiffeId = "spiffe://elsewhere.example/ns/shop/sa/web".parse().unwrap();
    let refused = authority.issue(&Caller::ThisProcess, &elsewhere, &csr).await;
    assert!(matches!(refused, Err(AuthorityError::OtherTrustDomain { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_under_traffic_fails_no_handshake_and_ends_with_the_old_root_gone() {
    let authority = authority_with(settings()).await;
    let clock = settings().clock;
    let keeper = tokio::spawn({
        let authority = authority.clone();
        async move { authority.keep().await }
    });
    let issuer: Arc<dyn Issuer> = Arc::new(InProcess::new(authority.clone()));
    let node = || {
        let settings =
            fairway_identity::Settings { clock: clock.clone(), ..fairway_identity::Settings::default() };
        Identities::start(issuer.clone(), settings)
    };
    let (near, far) = (node(), node());
    let (web, reviews) = (near.subscribe(&id("ns/shop/sa/web")), far.subscribe(&id("ns/shop/sa/reviews")));
    web.ready().await;
    reviews.ready().await;

    let first = near.bundle().unwrap().roots;
    let mut most = 0;
    for round in 0..1500 {
        if round == 100 {
            authority.rotate().await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        most = most.max(near.bundle().unwrap().roots.len());
        meet(&reviews.current().unwrap(), &web.current().unwrap()).await;
    }
    let last = near.bundle().unwrap().roots;
    assert_eq!((first.len(), most, last.len()), (1, 2, 1));
    assert_ne!(first, last);
    keeper.abort();
}

async fn meet(server: &TlsIdentity, client: &TlsIdentity) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let expected = [server.id().clone()];
    let (accepted, connected) = tokio::join!(accept(server, far), connect(client, near, &expected));
    accepted.unwrap();
    connected.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_root_made_here_is_replaced_before_it_ends() {
    let root_lifetime = 1000 * MINUTE;
    let authority = authority_with(Settings { root_lifetime, ..settings() }).await;
    let first = authority.bundles().borrow().clone().unwrap().roots;
    let kept = authority.clone();
    let keeper = tokio::spawn(async move { kept.keep().await });
    tokio::time::sleep(790 * MINUTE).await;
    assert_eq!(authority.bundles().borrow().clone().unwrap().roots, first);
    tokio::time::sleep(30 * MINUTE).await;
    let now = authority.bundles().borrow().clone().unwrap().roots;
    assert!(now.len() == 1 && now != first, "rotated, and the old one is gone");
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn a_root_whose_certificates_were_made_for_longer_is_forgotten_later() {
    let directory = tempfile::tempdir().unwrap();
    let open = async |lifetime: Duration| {
        let store = FileStore::open(directory.path()).unwrap();
        let settings = Settings { lifetime, ..settings() };
        let authority =
            Authority::open("cluster.local".parse().unwrap(), settings, store, SameUser::as_this_process());
        let authority = authority.await.unwrap();
        let kept = authority.clone();
        let keeper = tokio::spawn(async move { kept.keep().await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        (authority, keeper)
    };
    let (authority, keeper) = open(100 * MINUTE).await;
    keeper.abort();
    assert!(keeper.await.unwrap_err().is_cancelled());
    drop(authority);

    let (authority, keeper) = open(10 * MINUTE).await;
    authority.rotate().await.unwrap();
    let trusted = || authority.bundles().borrow().as_ref().map_or(0, |it| it.roots.len());
    tokio::time::sleep(98 * MINUTE).await;
    assert_eq!(trusted(), 2, "the first one's certificates may be in use");
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(trusted(), 1);
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_work_are_refused() {
    for (lifetime, overlap, root_lifetime, good) in [
        (MINUTE, MINUTE, 15 * MINUTE, true),
        (MINUTE - Duration::from_secs(1), MINUTE, 1000 * MINUTE, false),
        (10 * MINUTE, MINUTE, 59 * MINUTE, false),
        (10 * MINUTE, MINUTE, 60 * MINUTE, true),
    ] {
        let settings = Settings { lifetime, overlap, root_lifetime, ..settings() };
        let opened = Authority::open(
            "cluster.local".parse().unwrap(),
            settings,
            Memory::default(),
            SameUser::as_this_process(),
        );
        assert_eq!(opened.await.is_ok(), good, "{lifetime:?} {overlap:?} {root_lifetime:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_roots_survive_a_restart_in_the_midst_of_a_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let open = async |trust_domain: &str| {
        let store = FileStore::open(&state)?;
        Authority::open(trust_domain.parse().unwrap(), settings(), store, SameUser::as_this_process()).await
    };
    let before = open("cluster.local").await.unwrap();
    before.rotate().await.unwrap();
    let bundle = before.bundles().borrow().clone().unwrap();
    assert_eq!(bundle.roots.len(), 2);
    assert!(matches!(open("cluster.local").await, Err(AuthorityError::Store(StoreError::InUse(_)))));

    for name in ["authority.json", "authority.lock"] {
        let mode = std::fs::metadata(state.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);

    drop(before);
    let after = open("cluster.local").await.unwrap();
    assert_eq!(after.bundles().borrow().clone().unwrap(), bundle);
    assert!(matches!(after.rotate().await, Err(AuthorityError::Rotate(RotateError::UnderWay { .. }))));
    drop(after);
    assert!(matches!(
        open("elsewhere.example").await,
        Err(AuthorityError::Saved(SavedError::OtherTrustDomain { .. }))
    ));
    std::fs::write(state.join("authority.json"), "{").unwrap();
    assert!(matches!(open("cluster.local").await, Err(AuthorityError::Saved(SavedError::Form(_)))));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_cannot_be_stored_is_not_made() {
    struct Full(Memory);
    impl Store for Full {
        fn load(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
            self.0.load()
        }
        fn save(&self, _: String, _: RotationRequest) -> BoxFuture<'_, Result<(), StoreError>> {
            Box::pin(std::future::ready(Err(StoreError::InUse("/full".into()))))
        }
    }
    let trust_domain: fairway_identity::TrustDomain = "cluster.local".parse().unwrap();
    let root = Root::make(&trust_domain, settings().clock.now(), 10_000 * MINUTE).unwrap();
    let saved =
        saved::encode(&Roots::new(root, settings().lifetime, settings().clock.now()), &trust_domain).unwrap();
    let store = Full(Memory::default());
    store.0.save(saved, RotationRequest::Stays).await.unwrap();
    let authority =
        Authority::open(trust_domain, settings(), store, SameUser::as_this_process()).await.unwrap();
    assert!(matches!(authority.rotate().await, Err(AuthorityError::Store(_))));
    assert_eq!(authority.bundles().borrow().clone().unwrap().roots.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_root_of_the_users_signs_if_it_is_one() {
    let trust_domain: fairway_identity::TrustDomain = "cluster.local".parse().unwrap();
    let made = Root::make(&trust_domain, settings().clock.now(), 10_000 * MINUTE).unwrap();
    let pem = pem::encode(&pem::Pem::new("CERTIFICATE", made.certificate().to_vec()));
    let given = Root::from_pem(&pem, &made.key_pem()).unwrap();
    assert_eq!(given.origin(), Origin::Given);
    let authority =
        Authority::with_root(trust_domain, settings(), given, SameUser::as_this_process()).unwrap();
    issue(&authority, &id("ns/shop/sa/web"), &KeyPair::generate().unwrap()).await;

    let other_key = KeyPair::generate().unwrap().serialize_pem();
    assert!(matches!(Root::from_pem(&pem, &other_key), Err(RootError::OtherKey)));
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::default().self_signed(&key).unwrap();
    assert!(matches!(Root::from_pem(&leaf.pem(), &key.serialize_pem()), Err(RootError::NotCa)));
    assert!(matches!(Root::from_pem("nonsense", &other_key), Err(RootError::Pem(_))));
}

/// A controller with its socket; dropping the trigger's drain ends it.
struct Server {
    authority: Arc<Authority>,
    trigger: drain::Trigger,
    serving: tokio::task::JoinHandle<()>,
    uri: String,
    _directory: tempfile::TempDir,
}

async fn server(entitlement: impl Entitlement) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity.sock");
    let authority = Authority::open(
        "cluster.local".parse().unwrap(),
        Settings::default(),
        Memory::default(),
        entitlement,
    )
    .await
    .unwrap();
    let (trigger, watch) = drain::channel();
    let services = tonic::transport::Server::builder().add_service(IdentityService::server(
        authority.clone(),
        watch.clone(),
        Outcomes::default(),
    ));
    let socket = transport::UnixSocket::bind(&path).unwrap();
    let serving = tokio::spawn(async move {
        let stop = async { watch.reached(drain::Phase::Draining).await };
        transport::serve(services, socket, stop).await.unwrap();
    });
    Server { authority, trigger, serving, uri: format!("unix://{}", path.display()), _directory: directory }
}

#[tokio::test]
async fn over_a_unix_socket_proxies_get_identities_and_hear_of_new_roots() {
    let server = server(SameUser::as_this_process()).await;
    let issuer = GrpcIssuer::start(transport::connect(&server.uri, None).unwrap());
    let identities = Identities::start(issuer, fairway_identity::Settings::default());
    let (mut web, reviews) =
        (identities.subscribe(&id("ns/shop/sa/web")), identities.subscribe(&id("ns/shop/sa/reviews")));
    meet(&*reviews.ready().await, &*web.ready().await).await;

    web.changed().await;
    server.authority.rotate().await.unwrap();
    let rotated = async {
        while identities.bundle().unwrap().roots.len() == 1 {
            web.changed().await;
        }
    };
    tokio::time::timeout(MINUTE, rotated).await.expect("the second root is heard of");
    meet(&reviews.current().unwrap(), &web.current().unwrap()).await;

    // The stream of roots is open, and yet the server ends at once.
    let deadlines = drain::Deadlines { linger: Duration::from_secs(10), grace: Duration::from_secs(10) };
    let start = tokio::time::Instant::now();
    assert!(server.trigger.drain(deadlines).await);
    server.serving.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn over_the_socket_the_kernel_says_who_asks() {
    /// Entitled is who the test is.
    struct ThisTest;
    impl Entitlement for ThisTest {
        fn check<'a>(
            &'a self,
            caller: &'a Caller,
            id: &'a SpiffeId,
        ) -> BoxFuture<'a, Result<(), NotEntitled>> {
            let own_pid = i32::try_from(std::process::id()).unwrap();
            let ours = rustix::process::geteuid().as_raw();
            let verdict = match caller {
                Caller::Unix { uid, pid: Some(pid) } if *uid == ours && *pid == own_pid => {
                    if id.namespace() == "shop" {
                        Ok(())
                    } else {
                        Err(NotEntitled::OtherUser { caller: *uid, ours })
                    }
                }
                _ => Err(NotEntitled::Unknown),
            };
            Box::pin(std::future::ready(verdict))
        }
    }
    let server = server(ThisTest).await;
    let mut client = IdentityClient::new(transport::connect(&server.uri, None).unwrap());
    let key = KeyPair::generate().unwrap();
    for (identity, names, code) in [
        ("spiffe://cluster.local/ns/shop/sa/web", vec![], Code::Ok),
        ("spiffe://cluster.local/ns/bank/sa/vault", vec![], Code::PermissionDenied),
        ("spiffe://elsewhere.example/ns/shop/sa/web", vec![], Code::InvalidArgument),
        ("web", vec![], Code::InvalidArgument),
        (
            "spiffe://cluster.local/ns/shop/sa/web",
            vec!["spiffe://cluster.local/ns/shop/sa/admin"],
            Code::InvalidArgument,
        ),
    ] {
        let request =
            IssueRequest { identity: identity.to_owned(), certificate_request: csr_for(&key, &names) };
        let answered = client.issue(request).await.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(answered, code, "{identity} {names:?}");
    }
    let huge = IssueRequest { identity: "x".repeat(100_000), certificate_request: vec![] };
    assert_eq!(client.issue(huge).await.unwrap_err().code(), Code::OutOfRange);
}
