//! Identities for tests: a root made on the spot, certificates good and bad, and an issuer that fails on command.
#![allow(clippy::unwrap_used, reason = "test code: a panic is the failure of the test that called it")]

use crate::{
    BoxFuture, Clock, IssueError, Issued, Issuer, SharedClock, SpiffeId, Svid, SystemClock, TlsIdentity,
    TokioClock, TrustBundle, TrustDomain,
};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Wall time that moves with tokio's clock, and that a test can set.
#[derive(Debug)]
pub struct SettableClock {
    right: TokioClock,
    ahead: Mutex<Duration>,
}

/// A root that signs whatever a test wants.
pub struct TestAuthority {
    trust_domain: TrustDomain,
    root: CertificateDer<'static>,
    signer: rcgen::Issuer<'static, KeyPair>,
}

/// An issuer in the same process, without a network or entitlements, whose failures a test commands.
pub struct TestIssuer {
    clock: SharedClock,
    lifetime: Duration,
    state: Mutex<IssuerState>,
    issued: AtomicUsize,
    bundles: watch::Sender<Option<TrustBundle>>,
}

struct IssuerState {
    authority: Arc<TestAuthority>,
    trouble: Option<IssueError>,
}

// === impl SettableClock ===

impl SettableClock {
    /// A clock that is right.
    pub fn start() -> Arc<Self> {
        Arc::new(Self { right: TokioClock::start(), ahead: Mutex::default() })
    }

    /// From now on it is ahead by this much. Zero: it is right again.
    pub fn set_ahead(&self, ahead: Duration) {
        *self.ahead.lock().unwrap() = ahead;
    }
}

impl Clock for SettableClock {
    fn now(&self) -> SystemTime {
        self.right.now() + *self.ahead.lock().unwrap()
    }
}

// === impl TestAuthority ===

impl TestAuthority {
    /// A new root with a new key.
    pub fn new(trust_domain: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, trust_domain);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        Self { trust_domain: trust_domain.parse().unwrap(), root, signer: rcgen::Issuer::new(params, key) }
    }

    /// The roots of this authority alone, as the first revision.
    pub fn bundle(&self) -> TrustBundle {
        TrustBundle { trust_domain: self.trust_domain.clone(), roots: vec![self.root.clone()], revision: 1 }
    }

    /// The id of a service account in this trust domain.
    pub fn id(&self, namespace: &str, service_account: &str) -> SpiffeId {
        SpiffeId::of_service_account(&self.trust_domain, namespace, service_account).unwrap()
    }

    /// An identity that is good for an hour.
    pub fn identity(&self, namespace: &str, service_account: &str) -> Arc<TlsIdentity> {
        let svid = self.svid(&self.id(namespace, service_account), |_| ());
        let clock: SharedClock = Arc::new(SystemClock);
        Arc::new(TlsIdentity::new(&svid, &self.bundle(), &clock).unwrap())
    }

    /// A certificate that is good for an hour, but for what `adjust` does to it.
    pub fn svid(&self, id: &SpiffeId, adjust: impl FnOnce(&mut CertificateParams)) -> Svid {
        let mut params = leaf(id, SystemTime::now(), Duration::from_secs(3600));
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        Svid {
            id: id.clone(),
            not_before: params.not_before.into(),
            not_after: params.not_after.into(),
            chain: vec![params.signed_by(&key, &self.signer).unwrap().der().clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        }
    }

    /// An issuer that signs with this root; hour-long certificates by the machine's clock.
    pub fn into_issuer(self) -> Arc<TestIssuer> {
        TestIssuer::new(self, Arc::new(SystemClock), Duration::from_secs(3600))
    }
}

fn leaf(id: &SpiffeId, now: SystemTime, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(id.as_str()).unwrap())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = (now - Duration::from_secs(60)).into();
    params.not_after = (now + lifetime).into();
    params
}

// === impl TestIssuer ===

impl TestIssuer {
    /// An issuer whose certificates live this long by this clock.
    pub fn new(authority: TestAuthority, clock: SharedClock, lifetime: Duration) -> Arc<Self> {
        let bundles = watch::Sender::new(Some(authority.bundle()));
        let state = Mutex::new(IssuerState { authority: Arc::new(authority), trouble: None });
        Arc::new(Self { clock, lifetime, state, issued: AtomicUsize::new(0), bundles })
    }

    /// From now on every request fails with this, or none does.
    pub fn set_trouble(&self, trouble: Option<IssueError>) {
        self.state.lock().unwrap().trouble = trouble;
    }

    /// How many requests came, those that failed included.
    pub fn requests(&self) -> usize {
        self.issued.load(Ordering::Relaxed)
    }

    /// From now on another root signs.
    pub fn sign_with(&self, authority: Arc<TestAuthority>) {
        self.state.lock().unwrap().authority = authority;
    }

    /// Publishes these roots as the next revision.
    pub fn set_roots(&self, authorities: &[&TestAuthority]) {
        self.bundles.send_modify(|bundle| {
            let bundle = bundle.as_mut().unwrap();
            bundle.roots = authorities.iter().map(|it| it.root.clone()).collect();
            bundle.revision += 1;
        });
    }

    /// The root that signs now.
    pub fn authority(&self) -> Arc<TestAuthority> {
        self.state.lock().unwrap().authority.clone()
    }

    fn sign(&self, id: &SpiffeId, csr_der: Vec<u8>) -> Result<Issued, IssueError> {
        self.issued.fetch_add(1, Ordering::Relaxed);
        let state = self.state.lock().unwrap();
        if let Some(trouble) = &state.trouble {
            return Err(trouble.clone());
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr_der))
            .map_err(|error| IssueError::Invalid(error.to_string()))?;
        let params = leaf(id, self.clock.now(), self.lifetime);
        let certificate = params.signed_by(&request.public_key, &state.authority.signer).unwrap();
        Ok(Issued { chain: vec![certificate.der().clone()], bundle: self.bundles.borrow().clone().unwrap() })
    }
}

impl Issuer for TestIssuer {
    fn issue(&self, id: SpiffeId, csr_der: Vec<u8>) -> BoxFuture<'_, Result<Issued, IssueError>> {
        Box::pin(async move { self.sign(&id, csr_der) })
    }

    fn bundles(&self) -> watch::Receiver<Option<TrustBundle>> {
        self.bundles.subscribe()
    }
}
