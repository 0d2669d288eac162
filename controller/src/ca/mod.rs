//! The mesh's certificate authority: signs identities for those who are entitled to them, and rotates its roots.
//!
//! [`Roots`] decides which root signs and which are trusted at a time; [`Authority`] holds the state and signs. Nobody
//! reaches it but past an [`Entitlement`](crate::admission::Entitlement): over gRPC ([`IdentityService`]) or in the same process ([`InProcess`]).

mod authority;
mod in_process;
mod published;
mod root;
mod rotation;
mod saved;
mod secret;
mod service;
mod serving;
mod settings;
mod store;

#[cfg(test)]
mod tests;

pub use authority::{Authority, AuthorityError};
pub use in_process::InProcess;
pub(crate) use published::publish;
pub use root::{Origin, Root, RootError};
pub use rotation::{Roots, RotateError};
pub use saved::SavedError;
pub use secret::SecretStore;
pub use service::IdentityService;
pub use serving::Serving;
pub use settings::{Settings, SettingsError};
pub use store::{FileStore, Memory, RotationRequest, Store, StoreError};
