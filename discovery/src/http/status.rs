//! Who leads, and who votes.

use axum::response::Response;

use super::{Error, reply::Ctx};

pub(super) async fn leader(ctx: Ctx) -> Result<Response, Error> {
    let leader = ctx.api.replica.leadership().borrow().leader.clone();
    ctx.ok(&leader.unwrap_or_default())
}

pub(super) async fn peers(ctx: Ctx) -> Result<Response, Error> {
    ctx.ok(&ctx.api.agent.peers())
}
