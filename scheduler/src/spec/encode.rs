//! A job becomes a tree: the inverse of `decode`, with every default written out.

mod group;
mod network;
mod policy;
mod service;
mod task;

use model::{
    Job,
    job::{Parameterized, Periodic},
};

use super::{
    duration, place, schema,
    tree::{Block, Data},
    words::Word,
};

/// The tree of a job.
pub fn job(job: &Job) -> Block {
    let mut b = Block { label: Some(job.id.to_string()), ..Block::default() };
    b.text_field("name", &job.name);
    b.text_field("region", &job.region);
    b.text_field("namespace", job.namespace.as_str());
    b.text_field("type", job.kind.as_str());
    b.int_field("priority", job.priority);
    b.bool_field("all_at_once", job.all_at_once);
    b.strings_field("datacenters", &job.datacenters);
    b.text_field("node_pool", &job.node_pool);
    b.set("meta", Data::Map(job.meta.clone()));
    b.set_blocks("constraint", policy::constraints(&job.constraints));
    b.set_blocks("affinity", policy::affinities(&job.affinities));
    b.set_blocks("spread", policy::spreads(&job.spreads));
    b.set("group", Data::Blocks(job.groups.iter().map(group::group).collect()));
    b.set_blocks("periodic", job.periodic.iter().map(periodic).collect());
    b.set_blocks("parameterized", job.parameterized.iter().map(parameterized).collect());
    state(job, &mut b);
    place::scatter(&mut b, &schema::JOB, "", &job.inert);
    b
}

fn periodic(p: &Periodic) -> Block {
    let mut b = Block::default();
    match p.crons.as_slice() {
        [one] => b.text_field("cron", one),
        many => b.strings_field("crons", many),
    }
    b.text_field("time_zone", &p.time_zone);
    b.bool_field("prohibit_overlap", p.prohibit_overlap);
    b.bool_field("enabled", p.enabled);
    b
}

fn parameterized(p: &Parameterized) -> Block {
    let mut b = Block::default();
    b.text_field("payload", &p.payload);
    b.strings_field("meta_required", &p.meta_required);
    b.strings_field("meta_optional", &p.meta_optional);
    b
}

fn state(job: &Job, b: &mut Block) {
    b.bool_field("@stop", job.stop);
    b.text_field("@status", job.status.as_str());
    b.bool_field("@stable", job.stable);
    b.big_field("@version", job.version);
    b.big_field("@submit_time", job.submit_time.0);
    b.big_field("@create_index", job.create_index.0);
    b.big_field("@modify_index", job.modify_index.0);
    b.big_field("@job_modify_index", job.job_modify_index.0);
}

/// Short forms for filling in a block.
impl Block {
    fn text_field(&mut self, name: &'static str, text: &str) {
        self.set(name, Data::Str(text.to_owned()));
    }

    fn word_field(&mut self, name: &'static str, word: impl Word) {
        self.text_field(name, word.word());
    }

    fn int_field(&mut self, name: &'static str, n: impl Into<i64>) {
        self.set(name, Data::Int(n.into()));
    }

    /// Numbers that count up from 0 never reach 2^63; clients read signed ones.
    fn big_field(&mut self, name: &'static str, n: u64) {
        self.set(name, Data::Int(i64::try_from(n).unwrap_or(i64::MAX)));
    }

    fn bool_field(&mut self, name: &'static str, b: bool) {
        self.set(name, Data::Bool(b));
    }

    fn time_field(&mut self, name: &'static str, d: std::time::Duration) {
        self.set(name, Data::Duration(d.min(duration::MAX)));
    }

    fn strings_field(&mut self, name: &'static str, list: &[String]) {
        self.set(name, Data::Strings(list.to_vec()));
    }
}
