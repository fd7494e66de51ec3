//! Keys, values and sessions: guarded writes, locks with their delay, and what a dying session leaves.

use std::sync::Arc;

#[cfg(test)]
mod tests;

use super::{State, Tx};
use crate::{
    check::Verdict,
    command::{Noun, Rejected, Reply},
    id::{Index, SessionId},
    kv::{KvEntry, KvGuard, KvOp, KvTest, Session, SessionBehavior},
    time::Timestamp,
    topic::Topic,
};

/// How many deleted keys are remembered one by one.
const TOMBSTONES_MAX: usize = 8192;

impl State {
    /// Keys under a prefix, in order.
    pub fn kv_under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<KvEntry>)> {
        self.kv.range(Arc::<str>::from(prefix)..).take_while(move |(k, _)| k.starts_with(prefix))
    }

    /// The index a query of a prefix sees: the newest change under it, deletions included.
    #[must_use]
    pub fn kv_prefix_index(&self, prefix: &str) -> Index {
        if prefix.is_empty() {
            return self.tables.kv;
        }
        let live = self.kv_under(prefix).map(|(_, e)| e.modify_index).max();
        let dead = self
            .kv_tombstones
            .range(Arc::<str>::from(prefix)..)
            .take_while(|(k, _)| k.starts_with(prefix))
            .map(|(_, i)| *i)
            .max();
        live.max(dead).unwrap_or_default().max(self.tables.kv_forgotten)
    }

    /// Why a session may not live (any more): its node is gone, or a check it is bound to is gone or critical.
    #[must_use]
    pub fn session_broken(&self, session: &Session) -> Option<String> {
        let Some(node) = self.catalog_nodes.get(&session.node) else {
            return Some("Missing node registration".into());
        };
        session.checks.iter().find_map(|id| {
            let of_services = || self.instances_on(&session.node).find_map(|i| i.checks.get(id));
            match node.checks.get(id).or_else(of_services) {
                None => Some(format!("Missing check '{id}' registration")),
                Some(c) if c.verdict == Verdict::Critical => Some(format!("Check '{id}' is in critical state")),
                Some(_) => None,
            }
        })
    }

    /// The index a query of one key sees: its newest change, deletion included.
    #[must_use]
    pub fn kv_key_index(&self, key: &str) -> Index {
        match self.kv.get(key) {
            Some(entry) => entry.modify_index,
            None => self.kv_tombstones.get(key).copied().unwrap_or_default().max(self.tables.kv_forgotten),
        }
    }
}

impl Tx {
    pub(super) fn kv(&mut self, ops: Vec<KvOp>, at: Timestamp) -> Result<Reply, Rejected> {
        let before = self.s.clone();
        let touched = self.touched.clone();
        for (n, op) in ops.into_iter().enumerate() {
            if !self.kv_op(op, at)? {
                self.s = before;
                self.touched = touched;
                return Ok(Reply::Kv { written: false, failed_op: u32::try_from(n).ok() });
            }
        }
        Ok(Reply::Kv { written: true, failed_op: None })
    }

    /// One operation; false when its guard does not hold.
    fn kv_op(&mut self, op: KvOp, at: Timestamp) -> Result<bool, Rejected> {
        match op {
            KvOp::Put { key, value, flags, guard } => self.kv_put(key.into(), value, flags, guard, at),
            KvOp::Delete { key, guard } => {
                let key: Arc<str> = key.into();
                if let KvGuard::Cas(index) = guard {
                    match self.s.kv.get(&key) {
                        Some(e) if e.modify_index == index => {}
                        // Nothing to delete is success, whatever the index.
                        None => return Ok(true),
                        _ => return Ok(false),
                    }
                }
                self.kv_delete(&key);
                Ok(true)
            }
            KvOp::Check { key, test } => {
                let entry = self.s.kv.get(key.as_str());
                Ok(match test {
                    KvTest::Exists => entry.is_some(),
                    KvTest::NotExists => entry.is_none(),
                    KvTest::Index(index) => entry.is_some_and(|e| e.modify_index == index),
                    KvTest::HeldBy(session) => entry.is_some_and(|e| e.session == Some(session)),
                })
            }
            KvOp::DeleteTree { prefix } => {
                let keys: Vec<_> = self.s.kv_under(&prefix).map(|(k, _)| Arc::clone(k)).collect();
                for key in keys {
                    self.kv_delete(&key);
                }
                Ok(true)
            }
        }
    }

    fn kv_put(
        &mut self,
        key: Arc<str>,
        value: bytes::Bytes,
        flags: u64,
        guard: KvGuard,
        at: Timestamp,
    ) -> Result<bool, Rejected> {
        let old = self.s.kv.get(&key).cloned();
        let mut next = KvEntry {
            value,
            flags,
            lock_index: old.as_ref().map_or(0, |o| o.lock_index),
            session: old.as_ref().and_then(|o| o.session),
            create_index: old.as_ref().map_or(self.index, |o| o.create_index),
            modify_index: self.index,
        };
        match guard {
            KvGuard::None => {}
            KvGuard::Cas(index) => {
                if old.as_ref().map_or(Index(0), |o| o.modify_index) != index {
                    return Ok(false);
                }
            }
            KvGuard::Acquire(session) => {
                if !self.s.sessions.contains_key(&session) {
                    return Err(Rejected::Invalid(format!("invalid session \"{session}\"")));
                }
                match self.s.lock_delays.get(&key) {
                    Some(until) if *until > at => return Ok(false),
                    Some(_) => _ = self.s.lock_delays.remove(&key),
                    None => {}
                }
                match next.session {
                    Some(holder) if holder != session => return Ok(false),
                    Some(_) => {}
                    None => next.lock_index += 1,
                }
                next.session = Some(session);
            }
            KvGuard::Release(session) => {
                if next.session != Some(session) {
                    return Ok(false);
                }
                next.session = None;
            }
        }
        self.kv_store(key, next);
        Ok(true)
    }

    fn kv_store(&mut self, key: Arc<str>, mut entry: KvEntry) {
        if let Some(old) = self.s.kv.get(&key) {
            entry.modify_index = old.modify_index;
            if **old == entry {
                return;
            }
            entry.modify_index = self.index;
        }
        self.s.kv_tombstones.remove(&key);
        self.s.kv.insert(Arc::clone(&key), Arc::new(entry));
        self.touch_key(&key);
    }

    fn kv_delete(&mut self, key: &Arc<str>) {
        if self.s.kv.remove(key).is_some() {
            if self.s.kv_tombstones.len() >= TOMBSTONES_MAX {
                // From here on every prefix counts as changed now: readers look once more than they need to.
                self.s.kv_tombstones.clear();
                self.s.tables.kv_forgotten = self.index;
            }
            self.s.kv_tombstones.insert(Arc::clone(key), self.index);
            self.touch_key(key);
        }
    }

    fn touch_key(&mut self, key: &Arc<str>) {
        self.s.tables.kv = self.index;
        self.touch(Topic::Kv);
        self.touch(Topic::Key(key.to_string()));
    }

    pub(super) fn session_create(&mut self, mut session: Session) -> Result<Reply, Rejected> {
        if self.s.sessions.contains_key(&session.id) {
            return Err(Rejected::Conflict(format!("session {} exists", session.id)));
        }
        if let Some(why) = self.s.session_broken(&session) {
            return Err(Rejected::Invalid(why));
        }
        session.create_index = self.index;
        session.modify_index = self.index;
        self.s.sessions.insert(session.id, Arc::new(session));
        self.touch_sessions();
        Ok(Reply::Done)
    }

    pub(super) fn session_renew(&mut self, id: SessionId, expires_at: Timestamp) -> Result<Reply, Rejected> {
        let mut next = self.s.sessions.get(&id).map(|s| Session::clone(s)).ok_or(Rejected::NotFound(Noun::Session))?;
        next.expires_at = expires_at;
        self.s.sessions.insert(id, Arc::new(next));
        Ok(Reply::Done)
    }

    pub(super) fn session_destroy(&mut self, id: SessionId, at: Timestamp) -> Result<Reply, Rejected> {
        let Some(session) = self.s.sessions.remove(&id) else { return Ok(Reply::Done) };
        let held: Vec<_> =
            self.s.kv.iter().filter(|(_, e)| e.session == Some(id)).map(|(k, _)| Arc::clone(k)).collect();
        let over: Vec<_> =
            self.s.lock_delays.iter().filter(|(_, until)| **until <= at).map(|(k, _)| Arc::clone(k)).collect();
        for key in over {
            self.s.lock_delays.remove(&key);
        }
        for key in held {
            match session.behavior {
                SessionBehavior::Delete => self.kv_delete(&key),
                SessionBehavior::Release => {
                    if let Some(entry) = self.s.kv.get(&key) {
                        let mut next = KvEntry::clone(entry);
                        next.session = None;
                        next.modify_index = self.index;
                        self.kv_store(Arc::clone(&key), next);
                    }
                }
            }
            if !session.lock_delay.is_zero() {
                self.s.lock_delays.insert(key, at + session.lock_delay);
            }
        }
        self.touch_sessions();
        Ok(Reply::Done)
    }

    fn touch_sessions(&mut self) {
        self.s.tables.sessions = self.index;
        self.touch(Topic::Sessions);
    }
}
