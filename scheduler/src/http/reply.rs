//! An answer before it is bytes: JSON or text, and the `X-Nomad-*` headers that go with it.

use axum::{body::Body, response::Response};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};
use model::{Index, Replica};
use serde::Serialize;
use serde_json::Value;

const INDEX: HeaderName = HeaderName::from_static("x-nomad-index");
const LAST_CONTACT: HeaderName = HeaderName::from_static("x-nomad-lastcontact");
const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-nomad-knownleader");
const NEXT_TOKEN: HeaderName = HeaderName::from_static("x-nomad-nexttoken");

/// What an answer carries.
#[derive(Debug)]
pub enum Payload {
    Json(Value),
    Text { content_type: &'static str, text: String },
    Empty,
    Stream(Body),
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub payload: Payload,
    pub headers: Vec<(HeaderName, String)>,
}

impl Reply {
    #[must_use]
    pub fn new(payload: Payload) -> Self {
        Self { status: StatusCode::OK, payload, headers: Vec::new() }
    }

    #[must_use]
    pub fn json(value: Value) -> Self {
        Self::new(Payload::Json(value))
    }

    /// The answer of a write: its index goes into the header.
    #[must_use]
    pub fn written(index: Index, value: Value) -> Self {
        Self::json(value).header(INDEX, index.0.max(1).to_string())
    }

    /// A write that answers nothing.
    #[must_use]
    pub fn done(index: Index) -> Self {
        Self::new(Payload::Empty).header(INDEX, index.0.max(1).to_string())
    }

    #[must_use]
    pub fn header(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The three headers every read carries; clients fail without them.
    #[must_use]
    pub fn read_at(self, index: Index, replica: &dyn Replica) -> Self {
        let leadership = replica.leadership();
        let known = {
            let l = leadership.borrow();
            l.is_leader || l.leader.is_some()
        };
        let contact = replica.last_contact().unwrap_or_default();
        self.header(INDEX, index.0.max(1).to_string())
            .header(LAST_CONTACT, contact.as_millis().to_string())
            .header(KNOWN_LEADER, known.to_string())
    }

    /// More pages follow.
    #[must_use]
    pub fn next_token(self, token: Option<String>) -> Self {
        match token {
            Some(token) => self.header(NEXT_TOKEN, token),
            None => self,
        }
    }

    #[must_use]
    pub fn redirect(to: &str) -> Self {
        let mut reply = Self::new(Payload::Empty).header(LOCATION, to.to_owned());
        reply.status = StatusCode::TEMPORARY_REDIRECT;
        reply
    }

    /// To bytes; `pretty` indents by four and ends with a newline.
    #[must_use]
    pub fn into_response(self, pretty: bool) -> Response {
        let (body, content_type) = match self.payload {
            Payload::Json(value) => (Body::from(render(&value, pretty)), Some("application/json")),
            Payload::Text { content_type, text } => (Body::from(text), Some(content_type)),
            Payload::Empty => (Body::empty(), None),
            Payload::Stream(body) => (body, Some("application/json")),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        if let Some(kind) = content_type {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

fn render(value: &Value, pretty: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let written = if pretty {
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, indent))
    } else {
        serde_json::to_writer(&mut out, value)
    };
    // Writing a JSON value into memory has nothing that can fail.
    debug_assert!(written.is_ok());
    if pretty {
        out.push(b'\n');
    }
    out
}
