//! `/v1/services` and `/v1/service/…`: the catalog's instances that belong to allocations.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Alloc, AllocId, Index, JobKey, Namespace, ServiceName, State, Topic,
    catalog::{Instance, Source},
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Error,
    allocs::found,
    read::{Context, Key, Listing},
    reply::Reply,
    request::{Verb, decode},
    wire::service::{registration, stub},
};

/// The allocation behind an instance, if it has one.
fn owner<'a>(state: &'a State, instance: &Instance) -> Option<&'a Alloc> {
    match &instance.source {
        Source::Alloc(id) => state.allocs.get(id).map(|a| &**a),
        Source::Agent | Source::Catalog | Source::Node => None,
    }
}

pub async fn list(cx: &Context) -> Result<Reply, Error> {
    cx.only(Verb::Get)?;
    let spaces = cx.req.query.namespaces();
    cx.read(
        &[Topic::Services],
        |s| s.tables.services,
        |s| {
            let mut found: BTreeMap<&Namespace, BTreeMap<&ServiceName, BTreeSet<&str>>> = BTreeMap::new();
            for (name, entry) in &s.services {
                for instance in entry.instances.values() {
                    let Some(alloc) = owner(s, instance).filter(|a| spaces.has(&a.job.namespace)) else { continue };
                    let tags = found.entry(&alloc.job.namespace).or_default().entry(name).or_default();
                    tags.extend(instance.tags.iter().map(|t| &**t));
                }
            }
            let rows = found.iter().map(|(namespace, services)| stub(namespace, services));
            Ok(Value::Array(rows.collect()).into())
        },
    )
    .await
}

pub async fn route(cx: &Context, rest: &str) -> Result<Reply, Error> {
    let (name, id) = rest.split_once('/').map_or((rest, None), |(name, id)| (name, Some(id)));
    match (id, cx.req.verb) {
        (None, Verb::Get) if !name.is_empty() => one(cx, decode(name)?.into()).await,
        (Some(_), Verb::Delete) => Err(Error::NotBuilt(
            "removing one registration of a running allocation (stop the allocation instead)".into(),
        )),
        _ => Err(Error::Method),
    }
}

async fn one(cx: &Context, name: ServiceName) -> Result<Reply, Error> {
    let (listing, spaces) = (Listing::of(&cx.req.query)?, cx.req.query.namespaces());
    let choice = cx.req.query.given("choose").map(choice).transpose()?;
    cx.read(
        &[Topic::Service(name.clone())],
        |s| s.service(name.as_str()).map_or(s.tables.service_extinction, |e| e.modify_index),
        |s| {
            let instances = s.service(name.as_str()).into_iter().flat_map(|e| e.instances.values());
            let mut mine: Vec<(&Instance, &Alloc)> = instances
                .filter_map(|i| Some((&**i, owner(s, i)?)))
                .filter(|(_, a)| spaces.has(&a.job.namespace))
                .collect();
            if let Some((n, key)) = &choice {
                mine.sort_by_key(|(i, _)| std::cmp::Reverse(affinity(key, i)));
                mine.truncate(*n);
            }
            let rows = mine.into_iter().map(|(i, a)| (Key(0, i.id.to_string()), registration(i, a, s)));
            listing.page(rows, Clone::clone, Clone::clone)
        },
    )
    .await
}

/// `choose=<how many>|<key>`.
fn choice(text: &str) -> Result<(usize, String), Error> {
    let (n, key) = text.split_once('|').ok_or_else(|| Error::BadRequest("choose must be \"<number>|<key>\"".into()))?;
    let n: usize = n.parse().map_err(|_| Error::BadRequest(format!("choose: {n:?} is not a number")))?;
    if n == 0 || key.is_empty() {
        return Err(Error::BadRequest("choose needs a number above 0 and a key".into()));
    }
    Ok((n, key.to_owned()))
}

/// Rendezvous hashing: every caller with the same key gets the same instances, whoever else comes or goes.
fn affinity(key: &str, instance: &Instance) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{key}|{}", instance.id).as_bytes())
}

/// `GET /v1/job/:id/services`.
pub async fn of_job(cx: &Context, key: &JobKey) -> Result<Reply, Error> {
    cx.read(
        &[Topic::Services],
        |s| s.tables.services,
        |s| Ok(Value::Array(s.allocs_of_job(key).flat_map(|a| registrations(s, a)).collect()).into()),
    )
    .await
}

/// `GET /v1/allocation/:id/services`.
pub async fn of_alloc(cx: &Context, id: AllocId) -> Result<Reply, Error> {
    cx.read(
        &[Topic::Alloc(id), Topic::Services],
        |s| s.allocs.get(&id).map_or(Index(0), |a| a.modify_index).max(s.tables.services),
        |s| Ok(Value::Array(registrations(s, found(s, id)?)).into()),
    )
    .await
}

fn registrations(state: &State, alloc: &Alloc) -> Vec<Value> {
    let places = state.instances_by_alloc.get(&alloc.id).into_iter().flatten();
    let instances = places.filter_map(|(service, id)| {
        let node = model::NodeName::from(alloc.node_name.as_str());
        state.service(service.as_str())?.instances.get(&(node, id.clone()))
    });
    instances.map(|i| registration(i, alloc, state)).collect()
}
