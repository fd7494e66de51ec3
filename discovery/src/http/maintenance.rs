//! Maintenance: a critical check that takes a node or a service out until it is removed.

use axum::response::Response;
use model::{
    Command, InstanceId, catalog::Check, check::Verdict, command::CatalogRegistration, driver_config, id::Index,
};

use super::{
    Error,
    agent_services::{find, node_record, own_node, unknown},
    reply::{Ctx, empty},
};

const NODE: &str = "_node_maintenance";
const SERVICE: &str = "_service_maintenance:";

/// Whether a check is one of these.
pub(super) fn is_maintenance(check: &str) -> bool {
    check == NODE || check.starts_with(SERVICE)
}

fn enable(ctx: &Ctx) -> Result<bool, Error> {
    match ctx.call.get("enable") {
        None | Some("") => Err(Error::BadRequest("Missing value for enable".into())),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(Error::BadRequest(format!("Invalid value for enable: {other:?}"))),
    }
}

pub(super) async fn node(ctx: Ctx) -> Result<Response, Error> {
    let enable = enable(&ctx)?;
    let default = "Maintenance mode is enabled for this node, but no reason was provided. This is a default message.";
    set(ctx, enable, NODE.to_owned(), None, "Node Maintenance Mode", default).await
}

pub(super) async fn service(ctx: Ctx) -> Result<Response, Error> {
    let enable = enable(&ctx)?;
    let id = ctx.rest.clone();
    if find(&ctx.api.replica.snapshot(), &own_node(&ctx.api), &id).is_none() {
        return Err(unknown(&id));
    }
    let check = format!("{SERVICE}{id}");
    let default =
        "Maintenance mode is enabled for this service, but no reason was provided. This is a default message.";
    set(ctx, enable, check, Some(id.into()), "Service Maintenance Mode", default).await
}

async fn set(
    ctx: Ctx,
    enable: bool,
    id: String,
    owner: Option<InstanceId>,
    name: &str,
    default_reason: &str,
) -> Result<Response, Error> {
    let node = own_node(&ctx.api);
    if !enable {
        ctx.propose(Command::CatalogDeregister { node, instance: None, check: Some(id.into()) }).await?;
        return Ok(empty());
    }
    let reason = ctx.call.get("reason").filter(|r| !r.is_empty()).unwrap_or(default_reason).to_owned();
    let check = Check {
        id: id.into(),
        name: name.into(),
        verdict: Verdict::Critical,
        notes: reason,
        output: String::new(),
        kind: "maintenance".into(),
        definition: None,
        foreign_definition: driver_config::Value::Null,
        create_index: Index(0),
        modify_index: Index(0),
    };
    let registration = CatalogRegistration {
        node: node_record(&ctx.api, &ctx.api.replica.snapshot()),
        skip_node_update: true,
        instance: None,
        replace_checks: false,
        checks: vec![(owner, check)],
    };
    ctx.propose(Command::CatalogRegister(Box::new(registration))).await?;
    Ok(empty())
}
