//! Reads: wait if asked to, then answer on one snapshot; and the lists with prefix, filter and pages.

use std::sync::Arc;

use model::{Index, State, Topic, filter::Filter, replica::block_until};
use rand::RngExt;
use serde_json::Value;

use super::{
    Api, Error,
    reply::Reply,
    request::{Query, Request},
};

/// One request being answered.
pub struct Context {
    pub api: Api,
    pub req: Request,
}

/// A read's answer: the body, and where the next page begins.
pub struct Answer {
    pub body: Value,
    pub next_token: Option<String>,
}

impl From<Value> for Answer {
    fn from(body: Value) -> Self {
        Self { body, next_token: None }
    }
}

impl Context {
    #[must_use]
    pub fn snapshot(&self) -> Arc<State> {
        self.api.replica.snapshot()
    }

    /// A blocking read. `index` is what the client waits to rise above; `answer` is asked once, on the last snapshot.
    pub async fn read(
        &self,
        topics: &[Topic],
        index: impl Fn(&State) -> Index,
        answer: impl Fn(&State) -> Result<Answer, Error>,
    ) -> Result<Reply, Error> {
        let (after, wait) = self.req.query.blocking()?;
        if after.0 > 0 {
            // Spread the return of many waiters, so that they do not all come back in one instant.
            let jitter = wait.mul_f64(rand::rng().random_range(0.0..1.0 / 16.0));
            block_until(&*self.api.replica, topics, after, wait + jitter, |s| (index(s), ())).await;
        }
        let state = self.snapshot();
        let at = index(&state);
        let answer = answer(&state)?;
        Ok(Reply::json(answer.body).read_at(at, &*self.api.replica).next_token(answer.next_token))
    }

    /// A read that never waits, at the state's own index.
    pub fn read_now(&self, body: Value) -> Reply {
        Reply::json(body).read_at(self.snapshot().index, &*self.api.replica)
    }
}

/// Where an item stands in a list. The text form is the page token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub u64, pub String);

impl Key {
    fn token(&self) -> String {
        format!("{}.{}", self.0, self.1)
    }

    fn from_token(token: &str) -> Result<Self, Error> {
        token
            .split_once('.')
            .and_then(|(n, id)| Some(Self(n.parse().ok()?, id.to_owned())))
            .ok_or_else(|| Error::BadRequest(format!("next_token {token:?} is not one this API gave out")))
    }
}

/// How a list is cut: read once from the query, so that a mistake is told before anything is waited for.
pub struct Listing {
    filter: Option<Filter>,
    per_page: Option<usize>,
    from: Option<Key>,
    reverse: bool,
}

impl Listing {
    pub fn of(query: &Query) -> Result<Self, Error> {
        let filter = query
            .given("filter")
            .map(|text| {
                text.parse().map_err(|e: model::filter::Error| {
                    Error::BadRequest(format!("failed to read filter expression: {e}"))
                })
            })
            .transpose()?;
        Ok(Self {
            filter,
            per_page: query.per_page()?,
            from: query.given("next_token").map(Key::from_token).transpose()?,
            reverse: query.flag("reverse", false)?,
        })
    }

    /// Order, cut and render items. `full` is what the filter sees, `stub` what the client gets.
    pub fn page<T>(
        &self,
        items: impl Iterator<Item = (Key, T)>,
        full: impl Fn(&T) -> Value,
        stub: impl Fn(&T) -> Value,
    ) -> Result<Answer, Error> {
        let mut items: Vec<(Key, T)> = items.collect();
        items.sort_by(|(a, _), (b, _)| if self.reverse { b.cmp(a) } else { a.cmp(b) });
        let mut body = Vec::new();
        for (key, item) in items {
            let before = self.from.as_ref().is_some_and(|from| if self.reverse { key > *from } else { key < *from });
            if before {
                continue;
            }
            if let Some(filter) = &self.filter
                && !filter.matches(&full(&item)).map_err(|e| Error::BadRequest(e.to_string()))?
            {
                continue;
            }
            if self.per_page.is_some_and(|n| body.len() == n) {
                return Ok(Answer { body: Value::Array(body), next_token: Some(key.token()) });
            }
            body.push(stub(&item));
        }
        Ok(Answer { body: Value::Array(body), next_token: None })
    }
}

/// The index of a set of objects: the newest of them, or the table's when there is none.
pub fn newest(objects: impl Iterator<Item = Index>, table: Index) -> Index {
    objects.max().unwrap_or(table)
}
