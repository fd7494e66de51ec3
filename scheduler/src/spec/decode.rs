//! A tree becomes a job: legacy forms are put right, policies laid over each other, defaults filled in.

mod group;
mod network;
mod normal;
mod policy;
mod service;
mod task;

use model::{
    Index, Job, JobKind, Timestamp,
    job::{Parameterized, Periodic},
};

use super::{
    place, schema,
    tree::{Block, Error},
    words::word,
};

/// Turn the tree of a `job` block into a job.
///
/// # Errors
/// The first thing that cannot be meant: an unknown word, a number out of range, a name used twice.
pub fn job(mut block: Block) -> Result<Job, Error> {
    normal::job(&mut block);
    let kind: JobKind = word(&block, "type")?.unwrap_or_default();
    let id = block.str("id").or(block.label.as_deref()).unwrap_or_default().to_owned();
    let mut inert = Vec::new();
    place::collect(&block, &schema::JOB, "", &mut inert);
    let defaults = Job::default();
    let mut job = Job {
        name: block.str("name").unwrap_or(&id).to_owned(),
        id: id.into(),
        namespace: block.str("namespace").map_or(defaults.namespace, Into::into),
        region: block.str("region").map_or(defaults.region, str::to_owned),
        kind,
        priority: priority(&block)?,
        all_at_once: block.flag("all_at_once"),
        datacenters: some_or(block.strings("datacenters"), defaults.datacenters),
        node_pool: block.str("node_pool").map_or(defaults.node_pool, str::to_owned),
        constraints: policy::constraints(&block)?,
        affinities: policy::affinities(&block)?,
        spreads: policy::spreads(&block)?,
        meta: block.map("meta"),
        periodic: block.one("periodic").map(periodic).transpose()?,
        parameterized: block.one("parameterized").map(parameterized),
        inert,
        ..Job::default()
    };
    job.groups = group::groups(&block, kind)?;
    state(&block, &mut job)?;
    Ok(job)
}

fn some_or<T>(list: Vec<T>, default: Vec<T>) -> Vec<T> {
    if list.is_empty() { default } else { list }
}

fn priority(block: &Block) -> Result<u8, Error> {
    match block.int("priority") {
        None | Some(0) => Ok(Job::default().priority),
        Some(p) if (1..=100).contains(&p) => Ok(u8::try_from(p).unwrap_or(100)),
        Some(p) => Err(block.fail("priority", format!("\"priority\" must be between 1 and 100, not {p}"))),
    }
}

fn periodic(block: &Block) -> Result<Periodic, Error> {
    let mut crons = block.strings("crons");
    if let Some(one) = block.str("cron") {
        if !crons.is_empty() {
            return Err(block.fail("cron", "\"cron\" and \"crons\" cannot both be set; use \"crons\""));
        }
        crons.push(one.to_owned());
    }
    Ok(Periodic {
        crons,
        time_zone: block.str("time_zone").unwrap_or("UTC").to_owned(),
        prohibit_overlap: block.flag("prohibit_overlap"),
        enabled: block.bool("enabled").unwrap_or(true),
    })
}

fn parameterized(block: &Block) -> Parameterized {
    Parameterized {
        payload: block.str("payload").unwrap_or("optional").to_owned(),
        meta_required: block.strings("meta_required"),
        meta_optional: block.strings("meta_optional"),
    }
}

/// What the state has written into a job that comes back through JSON; job files cannot name these.
fn state(block: &Block, job: &mut Job) -> Result<(), Error> {
    job.stop = block.flag("@stop");
    job.status = word(block, "@status")?.unwrap_or_default();
    job.stable = block.flag("@stable");
    job.version = block.number("@version")?.unwrap_or(0);
    job.submit_time = Timestamp(block.number("@submit_time")?.unwrap_or(0));
    job.create_index = Index(block.number("@create_index")?.unwrap_or(0));
    job.modify_index = Index(block.number("@modify_index")?.unwrap_or(0));
    job.job_modify_index = Index(block.number("@job_modify_index")?.unwrap_or(0));
    Ok(())
}

/// Two blocks of one kind with the same label.
fn refuse_twins(blocks: &[Block], what: &str) -> Result<(), Error> {
    for (i, b) in blocks.iter().enumerate() {
        if blocks[..i].iter().any(|o| o.label == b.label) {
            return Err(Error::new(&b.place, format!("{what} {:?} is defined twice; names must be unique", b.label())));
        }
    }
    Ok(())
}
