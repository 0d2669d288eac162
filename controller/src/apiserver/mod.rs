//! Writing to the API server, and what it says when it says no.

#[cfg(test)]
pub(crate) mod testing;

use http::header::CONTENT_TYPE;
use serde_json::Value;
use std::error::Error;

/// Server-side apply: what the manifest says holds, and what this manager said before and does not say now is taken away.
pub(crate) async fn apply(
    client: &kube::Client,
    path: &str,
    manager: &str,
    manifest: &Value,
) -> kube::Result<()> {
    let request = http::Request::patch(format!("{path}?fieldManager={manager}&force=true"))
        .header(CONTENT_TYPE, "application/apply-patch+yaml")
        .body(manifest.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(drop)
}

/// An error of the API server, or of the way to it, in a line.
pub(crate) fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} {}", status.code, status.message),
        kube::Error::Service(error) => format!("it cannot be reached: {}", innermost(&**error)),
        error => error.to_string(),
    }
}

/// The cause of all causes: what wraps it only says that something went wrong.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
