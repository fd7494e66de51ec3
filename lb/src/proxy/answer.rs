//! Answers of our own: small, plain, and silent about addresses.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::body::AnswerBody;

/// Why a request got no instance's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub text: String,
    /// The connection is not to be trusted, or of no use, any further.
    pub close: bool,
}

impl Refusal {
    #[must_use]
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), close: false }
    }

    /// The client's fault, in a way that makes the rest of its connection doubtful.
    #[must_use]
    pub fn bad(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, text: text.into(), close: true }
    }

    #[must_use]
    pub fn into_response(self) -> Response<AnswerBody> {
        let reason = self.status.canonical_reason().unwrap_or("Error");
        let body = format!("{} {reason}: {}\n", self.status.as_u16(), self.text);
        let mut response = own(self.status, "text/plain; charset=utf-8", body.into());
        if self.close {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// An answer with these bytes.
#[must_use]
pub fn own(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Own(Some(body).filter(|b| !b.is_empty())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer where no route matches: the operator's page, ours for browsers, a line for the rest.
#[must_use]
pub fn no_route(status: StatusCode, page: Option<&Bytes>, request: &HeaderMap) -> Response<AnswerBody> {
    let html = request.get(header::ACCEPT).is_some_and(|a| a.as_bytes().windows(9).any(|w| w == b"text/html"));
    match page {
        Some(page) => own(status, "text/html; charset=utf-8", page.clone()),
        None if html => own(status, "text/html; charset=utf-8", Bytes::from_static(PAGE.as_bytes())),
        None => Refusal::new(status, "no route matches this host and path").into_response(),
    }
}

const PAGE: &str = include_str!("no_route.html");

/// A redirect to `to`; `None` if it is no header value.
#[must_use]
pub fn redirect(status: u16, to: &str) -> Option<Response<AnswerBody>> {
    let mut response = Response::new(AnswerBody::Own(None));
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_str(to).ok()?);
    Some(response)
}
