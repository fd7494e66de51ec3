//! Choices that look random and are not: everything follows from the evaluation's id and the state's index.

use model::{AllocId, DeploymentId, Eval, EvalId, Index};
use uuid::Uuid;

/// Draws and new ids for one evaluation of one snapshot. Written out here rather than taken from a crate, because a
/// plan must not change when a dependency is updated.
#[derive(Clone, Debug)]
pub struct Dice {
    root: Uuid,
    state: u64,
    made: u32,
}

impl Dice {
    #[must_use]
    pub fn new(eval: &Eval, index: Index) -> Self {
        let root = Uuid::new_v5(&eval.id.0, &index.0.to_be_bytes());
        Self { root, state: root.as_u64_pair().0, made: 0 }
    }

    /// The next 64 bits (splitmix64).
    pub fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..n`; 0 when `n` is 0. The bias of the plain remainder does not matter for ports and node order.
    pub fn below(&mut self, n: u64) -> u64 {
        self.roll().checked_rem(n).unwrap_or(0)
    }

    /// Mix a list (Fisher–Yates).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            let j = usize::try_from(self.below(i as u64 + 1)).unwrap_or(0);
            list.swap(i, j);
        }
    }

    fn id(&mut self) -> Uuid {
        self.made += 1;
        Uuid::new_v5(&self.root, &self.made.to_be_bytes())
    }

    pub fn alloc(&mut self) -> AllocId {
        AllocId(self.id())
    }

    pub fn eval(&mut self) -> EvalId {
        EvalId(self.id())
    }

    pub fn deployment(&mut self) -> DeploymentId {
        DeploymentId(self.id())
    }
}
