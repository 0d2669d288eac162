//! The authority: holds the roots, asks whether a caller is entitled, signs, and moves the rotation on.

use super::root::{Root, RootError, SKEW};
use super::rotation::{Roots, RotateError};
use super::saved::{self, SavedError};
use super::settings::{Settings, SettingsError};
use super::store::{RotationRequest, Store, StoreError};
use crate::admission::{Caller, Entitlement, NotEntitled};
use arc_swap::ArcSwap;
use fairway_identity::{
    InvalidRequest, Issued, RequestedKey, SpiffeId, TrustBundle, TrustDomain, read_request,
};
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Mutex, watch};
use tracing::{error, info, warn};

/// A machine that sleeps, or whose clock is set, reaches the next event while tokio's clock stands still.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(300);

/// The pause after a step of the rotation that failed, such as on a full disk.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Signs identities. The one way in is [`Authority::issue`], past the entitlement.
pub struct Authority {
    trust_domain: TrustDomain,
    settings: Settings,
    entitlement: Box<dyn Entitlement>,
    store: Box<dyn Store>,
    roots: ArcSwap<Roots>,
    /// One change of the roots at a time.
    changing: Mutex<()>,
    bundles: watch::Sender<Option<TrustBundle>>,
}

/// A certificate with which the controller serves.
pub(super) struct ServingCertificate {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// Why an identity is not issued, or the authority does not work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The caller may not have it.
    #[error("not entitled to {id}: {why}")]
    NotEntitled {
        /// What was asked for.
        id: SpiffeId,
        /// The reason, as the caller is told.
        why: NotEntitled,
    },
    /// The identity that is asked for is of another trust domain.
    #[error("{id} is not of the trust domain {ours}")]
    OtherTrustDomain {
        /// What was asked for.
        id: SpiffeId,
        /// Whose identities are signed here.
        ours: TrustDomain,
    },
    /// The request is not one.
    #[error(transparent)]
    Request(#[from] InvalidRequest),
    /// The root has ended; somebody has to give a new one.
    #[error("the root certificate has ended")]
    RootEnded,
    /// The signing itself failed.
    #[error("cannot sign: {0}")]
    Signing(#[from] rcgen::Error),
    /// No root to sign with.
    #[error(transparent)]
    Root(#[from] RootError),
    /// They were there and are not any more.
    #[error("the stored roots have vanished")]
    NoRoots,
    /// The TLS library refuses a certificate that was made here.
    #[error("the TLS library refuses the certificate: {0}")]
    Tls(#[from] rustls::Error),
    /// The roots cannot be loaded or stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored is not what was stored.
    #[error("the stored roots cannot be used: {0}")]
    Saved(#[from] SavedError),
    /// The settings do not hold together.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Signing does not work at the moment; the caller tries again.
    #[error(transparent)]
    Rotate(#[from] RotateError),
}

// === impl Authority ===

impl Authority {
    /// Goes on with the roots that are stored; with none stored, makes and stores one.
    pub async fn open(
        trust_domain: TrustDomain,
        settings: Settings,
        store: impl Store,
        entitlement: impl Entitlement,
    ) -> Result<Arc<Self>, AuthorityError> {
        settings.check()?;
        let now = settings.clock.now();
        let loaded = store.load().await?.map(|text| saved::decode(&text, &trust_domain)).transpose()?;
        let new = match &loaded {
            // Before anything is signed that lives as long as is set now.
            Some(roots) => roots.signing_for(settings.lifetime, now),
            None => {
                info!(%trust_domain, "no roots yet: making one");
                let root = Root::make(&trust_domain, now, settings.root_lifetime)?;
                Some(Roots::new(root, settings.lifetime, now))
            }
        };
        let saved = match &new {
            Some(new) => store.save(saved::encode(new, &trust_domain)?, RotationRequest::Stays).await,
            None => Ok(()),
        };
        let roots = match saved {
            Ok(()) => new.or(loaded).ok_or(AuthorityError::NoRoots)?,
            // Another replica was here a moment ago; those are the mesh's.
            Err(StoreError::Changed(_)) => {
                let text = store.load().await?.ok_or(AuthorityError::NoRoots)?;
                saved::decode(&text, &trust_domain)?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self::assemble(trust_domain, settings, store, entitlement, roots))
    }

    /// Signs with a root that the user gives, and stores nothing.
    pub fn with_root(
        trust_domain: TrustDomain,
        settings: Settings,
        root: Root,
        entitlement: impl Entitlement,
    ) -> Result<Arc<Self>, AuthorityError> {
        settings.check()?;
        let roots = Roots::new(root, settings.lifetime, settings.clock.now());
        Ok(Self::assemble(trust_domain, settings, super::Memory::default(), entitlement, roots))
    }

    fn assemble(
        trust_domain: TrustDomain,
        settings: Settings,
        store: impl Store,
        entitlement: impl Entitlement,
        roots: Roots,
    ) -> Arc<Self> {
        let bundles = watch::Sender::new(Some(roots.bundle(&trust_domain)));
        Arc::new(Self {
            trust_domain,
            settings,
            entitlement: Box::new(entitlement),
            store: Box::new(store),
            roots: ArcSwap::from_pointee(roots),
            changing: Mutex::new(()),
            bundles,
        })
    }

    /// Whose identities are signed here.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The roots and every change of them.
    pub fn bundles(&self) -> watch::Receiver<Option<TrustBundle>> {
        self.bundles.subscribe()
    }

    /// Signs a certificate for `id` and the key of the request, if the caller is entitled to it.
    pub async fn issue(
        &self,
        caller: &Caller,
        id: &SpiffeId,
        csr_der: &[u8],
    ) -> Result<Issued, AuthorityError> {
        if id.trust_domain() != self.trust_domain.as_str() {
            return Err(AuthorityError::OtherTrustDomain { id: id.clone(), ours: self.trust_domain.clone() });
        }
        let entitled = self.entitlement.check(caller, id).await;
        entitled.map_err(|why| AuthorityError::NotEntitled { id: id.clone(), why })?;
        let key = read_request(csr_der, id)?;
        self.sign(id, &key)
    }

    fn sign(&self, id: &SpiffeId, key: &RequestedKey) -> Result<Issued, AuthorityError> {
        let now = self.settings.clock.now();
        let roots = self.roots.load();
        let root = roots.signer(now);
        let not_after = (now + self.settings.lifetime).min(root.not_after());
        if not_after <= now {
            return Err(AuthorityError::RootEnded);
        }
        let leaf = leaf(id, now, not_after)?.signed_by(key, root.issuer())?;
        Ok(Issued { chain: vec![leaf.der().clone()], bundle: roots.bundle(&self.trust_domain) })
    }

    /// Makes a key and signs a certificate with which the controller itself serves under these DNS names. It is no
    /// identity: nobody in the mesh takes it for one.
    pub(super) fn issue_serving(&self, names: &[String]) -> Result<ServingCertificate, AuthorityError> {
        let now = self.now();
        let roots = self.roots.load();
        let root = roots.signer(now);
        let not_after = (now + self.settings.lifetime).min(root.not_after());
        if not_after <= now {
            return Err(AuthorityError::RootEnded);
        }
        let key = KeyPair::generate()?;
        let names: Result<Vec<SanType>, rcgen::Error> =
            names.iter().map(|it| Ok(SanType::DnsName(Ia5String::try_from(it.as_str())?))).collect();
        let mut params = bare(now, not_after);
        params.subject_alt_names = names?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let not_before = params.not_before.into();
        let leaf = params.signed_by(&key, root.issuer())?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Ok(ServingCertificate { chain: vec![leaf.der().clone()], key, not_before, not_after })
    }

    pub(super) fn now(&self) -> SystemTime {
        self.settings.clock.now()
    }

    /// Begins a rotation to a new root that is made here.
    pub async fn rotate(&self) -> Result<(), AuthorityError> {
        self.begin(self.make_root()?, RotationRequest::Stays).await
    }

    /// Begins a rotation to this root.
    pub async fn rotate_to(&self, root: Root) -> Result<(), AuthorityError> {
        self.begin(root, RotationRequest::Stays).await
    }

    fn make_root(&self) -> Result<Root, RootError> {
        Root::make(&self.trust_domain, self.settings.clock.now(), self.settings.root_lifetime)
    }

    async fn begin(&self, root: Root, request: RotationRequest) -> Result<(), AuthorityError> {
        let _one_at_a_time = self.changing.lock().await;
        let rotated = self.roots.load().rotated(root, self.settings.clock.now(), self.settings.overlap)?;
        self.commit(rotated, request).await?;
        info!(trust_domain = %self.trust_domain, overlap = ?self.settings.overlap, "a new root is trusted and signs after the overlap");
        Ok(())
    }

    /// Moves rotations on when their time has come, and begins one before a root that was made here ends. Run it for as
    /// long as the authority lives.
    pub async fn keep(&self) {
        loop {
            let mut changed = self.bundles.subscribe();
            let wait = match self.step().await {
                Ok(next) => {
                    let left =
                        next.map(|at| at.duration_since(self.settings.clock.now()).unwrap_or_default());
                    left.map_or(LOOK_AT_THE_CLOCK, |left| left.min(LOOK_AT_THE_CLOCK))
                }
                Err(error) => {
                    error!("a step of the root rotation failed, it is tried again: {error}");
                    if matches!(error, AuthorityError::Store(StoreError::Changed(_))) {
                        self.reload().await;
                    }
                    TRY_AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // Someone's `rotate` brings the next event nearer.
                _ = changed.changed() => {}
                () = self.store.asked() => {
                    if let Err(error) = self.rotate_as_asked().await {
                        error!("a rotation of the roots was asked for and failed, it is tried again: {error}");
                        tokio::time::sleep(TRY_AGAIN).await;
                    }
                }
            }
        }
    }

    /// What is written over is what bears the request, so it is read again first; the write takes the request off.
    async fn rotate_as_asked(&self) -> Result<(), AuthorityError> {
        self.reload().await;
        match self.begin(self.make_root()?, RotationRequest::Answered).await {
            Err(AuthorityError::Rotate(why)) => {
                warn!("a rotation of the roots was asked for: {why}");
                let _one_at_a_time = self.changing.lock().await;
                let same = Roots::clone(&self.roots.load());
                self.commit(same, RotationRequest::Answered).await
            }
            outcome => outcome,
        }
    }

    async fn step(&self) -> Result<Option<SystemTime>, AuthorityError> {
        {
            let _one_at_a_time = self.changing.lock().await;
            let now = self.settings.clock.now();
            // Also here: another replica's roots may have been read since the start.
            let signing = self.roots.load().signing_for(self.settings.lifetime, now);
            if let Some(roots) = signing {
                self.commit(roots, RotationRequest::Stays).await?;
            }
            let advanced = self.roots.load().advanced(now);
            if let Some(roots) = advanced {
                self.commit(roots, RotationRequest::Stays).await?;
                info!(trust_domain = %self.trust_domain, "the root rotation has moved on");
            }
        }
        if self.roots.load().wants_rotation(self.settings.clock.now()) {
            self.rotate().await?;
        }
        Ok(self.roots.load().next_event())
    }

    /// Somebody else changed the roots: theirs are the mesh's.
    async fn reload(&self) {
        let _one_at_a_time = self.changing.lock().await;
        let loaded = async {
            let text = self.store.load().await?.ok_or(AuthorityError::NoRoots)?;
            Ok::<_, AuthorityError>(saved::decode(&text, &self.trust_domain)?)
        };
        match loaded.await {
            Ok(roots) => self.take(roots),
            Err(error) => error!("the roots cannot be read again: {error}"),
        }
    }

    /// Stored first: a root that peers have heard of and that a crash then forgets would be a mesh split in two.
    async fn commit(&self, roots: Roots, request: RotationRequest) -> Result<(), AuthorityError> {
        self.store.save(saved::encode(&roots, &self.trust_domain)?, request).await?;
        self.take(roots);
        Ok(())
    }

    fn take(&self, roots: Roots) {
        let bundle = roots.bundle(&self.trust_domain);
        self.roots.store(Arc::new(roots));
        self.bundles.send_replace(Some(bundle));
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

/// An X.509-SVID (X509-SVID §4): no subject, one URI, no right to sign others.
fn leaf(id: &SpiffeId, now: SystemTime, not_after: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = bare(now, not_after);
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(id.as_str())?)];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// What all leaves have in common.
fn bare(now: SystemTime, not_after: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&rand::random::<[u8; 16]>()));
    params.distinguished_name = DistinguishedName::new();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.not_before = (now - SKEW).into();
    params.not_after = not_after.into();
    params
}
