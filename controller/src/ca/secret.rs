//! The roots in a Secret of the cluster.

use super::store::{RotationRequest, Store, StoreError};
use fairway_identity::BoxFuture;
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams, WatchEvent, WatchParams};
use kube::{Client, Error, ResourceExt};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tracing::warn;

/// The key in the Secret.
const KEY: &str = "authority.json";

/// The annotation of the Secret by which a user asks for new roots; whatever its value.
const ROTATE: &str = "fairway.dev/rotate";

/// The pause after a watch that ended.
const WATCH_AGAIN: Duration = Duration::from_secs(2);

/// A Secret. It is made if it is not there, and written only over what was read: of two replicas that each believe to
/// lead, one hears [`StoreError::Changed`].
pub struct SecretStore {
    api: Api<Secret>,
    namespace: String,
    name: String,
    /// What was read or written last; none when there was nothing.
    seen: Mutex<Option<Secret>>,
}

// === impl SecretStore ===

impl SecretStore {
    /// The Secret of this name.
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            seen: Mutex::default(),
        }
    }

    async fn read(&self) -> Result<Option<String>, StoreError> {
        let found = self.api.get_opt(&self.name).await.map_err(|why| self.failed("read", why))?;
        let text = found.as_ref().map(|it| self.text_of(it)).transpose()?;
        self.remember(found);
        Ok(text)
    }

    async fn write(&self, text: String, request: RotationRequest) -> Result<(), StoreError> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let data = BTreeMap::from([(KEY.to_owned(), ByteString(text.into_bytes()))]);
        let parameters =
            PostParams { field_manager: Some("fairway.dev/controller".to_owned()), dry_run: false };
        let written = match seen {
            None => {
                let secret = Secret { data: Some(data), ..self.empty() };
                self.api.create(&parameters, &secret).await
            }
            Some(mut secret) => {
                // It carries the version that was read: the server writes over that one only.
                secret.data.get_or_insert_default().extend(data);
                if request == RotationRequest::Answered
                    && let Some(annotations) = &mut secret.metadata.annotations
                {
                    annotations.remove(ROTATE);
                }
                self.api.replace(&self.name, &parameters, &secret).await
            }
        };
        match written {
            Ok(secret) => {
                self.remember(Some(secret));
                Ok(())
            }
            // There since we looked, another version since, or gone since.
            Err(Error::Api(status)) if matches!(status.code, 404 | 409) => {
                Err(StoreError::Changed(self.full_name()))
            }
            Err(why) => Err(self.failed("write", why)),
        }
    }

    /// Watches the Secret until it bears the request.
    async fn rotation_requested(&self) {
        loop {
            match self.watch().await {
                Ok(true) => return,
                // The API server ends a watch now and then.
                Ok(false) => {}
                Err(error) => warn!("Secret {} cannot be watched: {error}", self.full_name()),
            }
            tokio::time::sleep(WATCH_AGAIN).await;
        }
    }

    async fn watch(&self) -> Result<bool, Error> {
        let only = WatchParams::default().fields(&format!("metadata.name={}", self.name)).disable_bookmarks();
        // From any version: what is there already comes first.
        let mut events = self.api.watch(&only, "0").await?.boxed();
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(secret) | WatchEvent::Modified(secret)
                    if secret.annotations().contains_key(ROTATE) =>
                {
                    return Ok(true);
                }
                WatchEvent::Error(status) => return Err(Error::Api(status)),
                _ => {}
            }
        }
        Ok(false)
    }

    fn empty(&self) -> Secret {
        let labels = [("app.kubernetes.io/part-of", "fairway"), ("app.kubernetes.io/component", "authority")];
        Secret {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        }
    }

    fn text_of(&self, secret: &Secret) -> Result<String, StoreError> {
        let bytes = secret.data.as_ref().and_then(|it| it.get(KEY));
        let text = bytes.and_then(|it| String::from_utf8(it.0.clone()).ok());
        text.ok_or_else(|| StoreError::NotOurs { secret: self.full_name(), key: KEY })
    }

    fn remember(&self, secret: Option<Secret>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = secret;
    }

    fn failed(&self, what: &'static str, why: Error) -> StoreError {
        StoreError::Secret { what, secret: self.full_name(), why: Box::new(why) }
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl Store for SecretStore {
    fn load(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        Box::pin(self.read())
    }

    fn save(&self, secret: String, request: RotationRequest) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.write(secret, request))
    }

    fn asked(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.rotation_requested())
    }
}
