//! Evaluations that are not due yet.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use model::{Eval, EvalId, Timestamp};

/// By due time.
#[derive(Debug, Default)]
pub struct Delayed {
    due: BTreeSet<(Timestamp, EvalId)>,
    evals: HashMap<EvalId, (Timestamp, Arc<Eval>)>,
}

impl Delayed {
    /// Hold an evaluation until `at`; a second call moves it.
    pub fn insert(&mut self, at: Timestamp, eval: Arc<Eval>) {
        self.remove(eval.id);
        self.due.insert((at, eval.id));
        self.evals.insert(eval.id, (at, eval));
    }

    pub fn remove(&mut self, id: EvalId) {
        if let Some((at, _)) = self.evals.remove(&id) {
            self.due.remove(&(at, id));
        }
    }

    /// When the next one is due.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Take everything that is due.
    pub fn due(&mut self, now: Timestamp) -> Vec<Arc<Eval>> {
        let mut out = Vec::new();
        while let Some((at, id)) = self.due.first().copied() {
            if at > now {
                break;
            }
            self.due.remove(&(at, id));
            out.extend(self.evals.remove(&id).map(|(_, e)| e));
        }
        out
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.evals.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.evals.is_empty()
    }
}
