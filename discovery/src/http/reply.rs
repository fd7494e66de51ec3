//! Answers: JSON, the headers of reads, blocking, and writes that are visible when the call returns.

use std::time::Duration;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use model::{
    Command, Index, ProposeError, State, Topic,
    command::{Applied, Reply},
    replica::block_until,
};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Api, Error,
    options::{Consistency, Options},
    request::Call,
};

/// How long a write waits for a leader: elections are shorter.
const LEADER_WAIT: Duration = Duration::from_secs(7);
const LEADER_PAUSE: Duration = Duration::from_millis(50);
/// How long a write waits until this replica has it, too.
const VISIBLE_WAIT: Duration = Duration::from_secs(5);

/// What a read found: the index its readers block on, and the answer.
pub(super) type Seen<T> = (Index, Result<T, Error>);

/// One endpoint's call: who is asked, what, and the rest of the path, decoded.
pub(super) struct Ctx {
    pub api: std::sync::Arc<Api>,
    pub call: Call,
    pub rest: String,
}

impl Ctx {
    /// A read with its options, blocking when they say so; `view` looks at one snapshot.
    pub(super) async fn read<T: Serialize>(
        &self,
        options: &Options,
        topics: &[Topic],
        view: impl FnMut(&State) -> Seen<T>,
    ) -> Result<Response, Error> {
        let (index, found) = self.look(options, topics, view).await?;
        let mut response = self.json(StatusCode::OK, &found)?;
        self.describe(response.headers_mut(), options, index);
        Ok(response)
    }

    /// As [`Self::read`], for answers that are not plain JSON.
    pub(super) async fn look<T>(
        &self,
        options: &Options,
        topics: &[Topic],
        mut view: impl FnMut(&State) -> Seen<T>,
    ) -> Result<(Index, T), Error> {
        if options.consistency == Consistency::Consistent {
            self.barrier().await?;
        }
        let (index, found) = block_until(&*self.api.replica, topics, options.index, options.wait, |state| {
            let (index, found) = view(state);
            // An error is an answer: nobody waits for it to change.
            let index = if found.is_err() { Index(u64::MAX) } else { index.max(Index(1)) };
            (index, found)
        })
        .await;
        Ok((index, found?))
    }

    /// Be sure that this replica has everything committed before now.
    async fn barrier(&self) -> Result<(), Error> {
        if self.api.replica.leadership().borrow().is_leader {
            return Ok(());
        }
        // An entry that changes nothing: once it is here, so is all that was before it.
        self.propose(Command::Kv { ops: Vec::new(), at: crate::local::now() }).await.map(drop)
    }

    /// The headers of a read.
    pub(super) fn describe(&self, headers: &mut HeaderMap, options: &Options, index: Index) {
        let replica = &self.api.replica;
        let leadership = replica.leadership();
        let leads = leadership.borrow().is_leader;
        let known = leads || leadership.borrow().leader.is_some();
        let contact = if leads { 0 } else { replica.last_contact().map_or(0, |d| d.as_millis()) };
        let consistency = match options.consistency {
            // Every agent answers from its own replica; only the leader's is the leader's.
            Consistency::Default if leads => "leader",
            Consistency::Default => "stale",
            Consistency::Stale => "stale",
            Consistency::Consistent => "consistent",
        };
        put(headers, "x-consul-index", &index.max(Index(1)).to_string());
        put(headers, "x-consul-knownleader", if known { "true" } else { "false" });
        put(headers, "x-consul-lastcontact", &contact.to_string());
        put(headers, "x-consul-effective-consistency", consistency);
        put(headers, "x-consul-query-backend", "blocking-query");
        if options.cached {
            put(headers, "x-cache", "HIT");
            put(headers, "age", "0");
        }
    }

    /// A body of JSON; four spaces deep with `?pretty`.
    pub(super) fn json<T: Serialize>(&self, status: StatusCode, value: &T) -> Result<Response, Error> {
        let failed = |e: serde_json::Error| Error::Internal(format!("the answer could not be written: {e}"));
        let body = if self.call.has("pretty") {
            let mut out = Vec::new();
            let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, format)).map_err(failed)?;
            out.push(b'\n');
            out
        } else {
            serde_json::to_vec(value).map_err(failed)?
        };
        let mut response = (status, body).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    pub(super) fn ok<T: Serialize>(&self, value: &T) -> Result<Response, Error> {
        self.json(StatusCode::OK, value)
    }

    /// Commit a change. It can be read here when this returns.
    pub(super) async fn propose(&self, command: Command) -> Result<Applied, Error> {
        let replica = &self.api.replica;
        let give_up = Instant::now() + LEADER_WAIT;
        let applied = loop {
            match replica.propose(command.clone()).await {
                Ok(applied) => break applied,
                // Certainly not applied, so that trying again cannot apply it twice.
                Err(ProposeError::NoLeader) if Instant::now() < give_up => tokio::time::sleep(LEADER_PAUSE).await,
                Err(e) => return Err(e.into()),
            }
        };
        let index = applied.index;
        let mut here = replica.waiters().applied();
        let arrived = here.wait_for(|i| *i >= index);
        if replica.snapshot().index < index && tokio::time::timeout(VISIBLE_WAIT, arrived).await.is_err() {
            tracing::warn!(%index, "a committed change has not arrived at this agent yet");
        }
        Ok(applied)
    }

    /// Commit guarded key operations; whether they took place.
    pub(super) async fn propose_kv(&self, command: Command) -> Result<bool, Error> {
        Ok(!matches!(self.propose(command).await?.reply, Reply::Kv { written: false, .. }))
    }
}

/// The rows the filter lets through.
pub(super) fn filtered(options: &Options, rows: Vec<Value>) -> Result<Vec<Value>, Error> {
    let Some(filter) = &options.filter else { return Ok(rows) };
    let mut kept = Vec::with_capacity(rows.len());
    for row in rows {
        if filter.matches(&row).map_err(|e| Error::BadRequest(e.to_string()))? {
            kept.push(row);
        }
    }
    Ok(kept)
}

/// 200 and nothing: what the agent's own endpoints answer.
pub(super) fn empty() -> Response {
    StatusCode::OK.into_response()
}

pub(super) fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
