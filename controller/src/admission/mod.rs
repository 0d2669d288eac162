//! Who may have what of the controller: configuration, and identities.
//!
//! On one machine the kernel says whose a program is (`SameUserOnly`). In a cluster a proxy shows a service-account
//! token: [`Authenticated`] has the API server review it ([`Reviewer`], [`Cached`]) and leaves who the proxy is
//! ([`Reviewed`]) with the request; [`ClusterAdmission`] and [`ClusterEntitlement`] then decide by what was compiled, and by
//! what is seen of the pod itself ([`AuthorizationIndex`]).

mod authenticated;
mod authorization_index;
mod cached;
mod cluster;
mod entitlement;
mod own_pods;
mod pod_streams;
mod questions;
mod reviewed;
mod reviewer;
mod same_user;
mod token;

#[cfg(test)]
mod tests;

pub use authenticated::Authenticated;
pub use authorization_index::AuthorizationIndex;
pub use cached::Cached;
pub use cluster::{ClusterAdmission, ClusterEntitlement};
pub use entitlement::{Caller, Entitlement, NotEntitled, SameUser};
pub use own_pods::{PodRejection, ProxyProgram};
pub use reviewed::{NotReviewed, Reviewed, ReviewedPod};
pub use reviewer::{ApiReviewer, ReviewError, Reviewer};
pub(crate) use same_user::SameUserOnly;
pub use token::{Implausible, check as check_token};
