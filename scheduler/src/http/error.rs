//! The one place where a failure becomes a status code and a line of text.
//!
//! Texts are bare messages in `text/plain`, as Nomad's clients expect; several of them match on the words.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use model::{ProposeError, Rejected};

/// Why a request was not answered as asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The request itself is wrong.
    #[error("{0}")]
    BadRequest(String),
    /// `job not found`, `alloc not found`, …
    #[error("{0}")]
    NotFound(String),
    /// No such path: 404 with an empty body.
    #[error("")]
    NoRoute,
    #[error("Invalid method")]
    Method,
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    TooLarge(String),
    /// A format the operator has not enabled.
    #[error("{0}")]
    SwitchedOff(String),
    /// A known endpoint of Nomad's API that Trine does not have.
    #[error("{0} is not built in Trine yet; see docs/compatibility.md")]
    NotBuilt(String),
    /// The request is well formed and cannot be done. Nomad answers these with 500.
    #[error("{0}")]
    Refused(String),
    /// Something is missing for now (a leader, time).
    #[error("{0}")]
    Unavailable(String),
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

impl Error {
    /// The status code that goes with the text.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) | Self::NoRoute | Self::Propose(ProposeError::Rejected(Rejected::NotFound(_))) => {
                StatusCode::NOT_FOUND
            }
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::SwitchedOff(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotBuilt(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused(_) | Self::Propose(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.to_string()));
        *response.status_mut() = self.status();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }
}
