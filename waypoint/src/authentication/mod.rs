//! Whether clients have said who they are, as a policy asks for it.
//!
//! A [`Verifier`] carries out one policy of the configuration. It looks for credentials where the policy says ([`Presented`]), verifies
//! them by each of its methods ([`ApiKeyVerifier`], [`JwtVerifier`]), and says what became of it ([`Verdict`]): who the client is, what the backend is told
//! of that, and which credentials do not go on.
//!
//! Credentials that are not valid are never tried a second way, and never pass for none.

mod api_key;
mod credential;
mod jwt;
#[cfg(test)]
mod tests;
mod token_cache;
mod verifier;

pub use api_key::ApiKeyVerifier;
pub use credential::{Extracted, Presented, strip};
pub use jwt::{JwtVerifier, Verified};
pub use token_cache::{Remembered, TokenCache, TokenDigest};
pub use verifier::{Accepted, Refusal, Verdict, Verifier, Why};
