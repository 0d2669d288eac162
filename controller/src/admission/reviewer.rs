//! Asks the API server whose a token is.

use super::reviewed::{NotReviewed, Reviewed};
use crate::resources::proxy_pod::AUDIENCE;
use fairway_identity::BoxFuture;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::{Api, PostParams};
use kube::{Client, Error};
use std::net::IpAddr;
use std::time::Duration;

/// Says whose a token is.
pub trait Reviewer: Send + Sync + 'static {
    /// Errs if the token says nothing, or that cannot be found out.
    fn review<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Reviewed, ReviewError>>;

    /// The same, where it is known from which address the token came: one address cannot bring about any number of reviews.
    fn review_from<'a>(
        &'a self,
        _source: Option<IpAddr>,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Reviewed, ReviewError>> {
        self.review(token)
    }
}

/// Why it is not known whose a token is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// It is nobody's that we could believe.
    #[error(transparent)]
    NotReviewed(#[from] NotReviewed),
    /// It may be somebody's.
    #[error("the API server cannot be asked whose the token is: {0}")]
    Unavailable(String),
}

/// Asks the API server (TokenReview).
#[derive(Clone)]
pub struct ApiReviewer {
    client: Client,
}

const ANSWER: Duration = Duration::from_secs(10);

// === impl ApiReviewer ===

impl ApiReviewer {
    /// Asks with the controller's own rights.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    async fn ask(&self, token: &str) -> Result<Reviewed, ReviewError> {
        let spec =
            TokenReviewSpec { audiences: Some(vec![AUDIENCE.to_owned()]), token: Some(token.to_owned()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let asked = tokio::time::timeout(ANSWER, api.create(&PostParams::default(), &review)).await;
        let answer = asked.map_err(|_| ReviewError::Unavailable("it does not answer".to_owned()))?;
        let answer = answer.map_err(|error| match error {
            Error::Api(status) if status.code == 403 => ReviewError::Unavailable(format!(
                "{}; give the controller's ClusterRole create of tokenreviews",
                status.message
            )),
            error => ReviewError::Unavailable(error.to_string()),
        })?;
        Ok(Reviewed::read(&answer.status.unwrap_or_default(), AUDIENCE)?.until_end_of(token))
    }
}

impl Reviewer for ApiReviewer {
    fn review<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Reviewed, ReviewError>> {
        Box::pin(self.ask(token))
    }
}

impl std::fmt::Debug for ApiReviewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiReviewer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_does_not_answer_is_not_waited_for() {
        let silent = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, Infallible>>()
        });
        let reviewer = ApiReviewer::new(Client::new(silent, "default"));
        let began = tokio::time::Instant::now();
        let answer = reviewer.review("token").await;
        assert!(matches!(answer, Err(ReviewError::Unavailable(_))), "{answer:?}");
        assert_eq!(began.elapsed(), ANSWER);
    }
}
