//! Every failure of the API, and the one place where it becomes a status and a text.
//!
//! Clients match on the texts; bodies are the bare message, never JSON.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use model::ProposeError;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    NotFound(String),
    #[error("method {method} not allowed")]
    Method { method: String, allow: String },
    #[error("{0}")]
    TooLarge(String),
    #[error("Content-Encoding {0:?} is not read; send the body as it is")]
    Encoding(String),
    #[error("{0}")]
    Internal(String),
    /// The feature exists in Consul and not here.
    #[error("{what} is not built into Trine; {instead}")]
    NotBuilt { what: &'static str, instead: &'static str },
    #[error(transparent)]
    Propose(#[from] ProposeError),
    #[error("Invalid URL path: not a recognized HTTP API endpoint")]
    NoRoute,
    #[error("Invalid URL path: the API is under /v1/, for example /v1/catalog/services")]
    NoVersion,
}

impl Error {
    const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) | Self::NoRoute | Self::NoVersion => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotBuilt { .. } => StatusCode::NOT_IMPLEMENTED,
            Self::Internal(_) | Self::Propose(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Self::Method { allow, .. } = &self
            && let Ok(allow) = HeaderValue::from_str(allow)
        {
            headers.insert(header::ALLOW, allow);
        }
        response
    }
}
