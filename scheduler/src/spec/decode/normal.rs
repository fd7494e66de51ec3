//! Legacy forms, put into today's shape before anything is read: a task without a group, `vault` above the task,
//! services without a name, ports listed the way JSON lists them.

use crate::spec::tree::{Block, Data, Field};

/// Put a job's tree into today's shape.
pub fn job(job: &mut Block) {
    let id = job.str("id").or(job.label.as_deref()).unwrap_or_default().to_owned();
    wrap_lone_tasks(job);
    let inherited = inherit(job);
    let Some(Field { data: Data::Blocks(groups), .. }) = job.fields.get_mut("group") else { return };
    for group in groups {
        group_block(group, &id, &inherited);
    }
}

/// A task directly under the job stands for a group of the same name with that one task.
fn wrap_lone_tasks(job: &mut Block) {
    let Some(Field { place, data: Data::Blocks(tasks) }) = job.fields.remove("task") else { return };
    let wrapped = tasks.into_iter().map(|task| {
        let mut group = Block { label: task.label.clone(), ..Block::at(task.place.clone()) };
        group.set("task", Data::Blocks(vec![task]));
        group
    });
    let field = job.fields.entry("group").or_insert_with(|| Field { place, data: Data::Blocks(Vec::new()) });
    if let Data::Blocks(groups) = &mut field.data {
        groups.extend(wrapped);
    }
}

type Inherited = Vec<(&'static str, Field)>;

/// `vault` and `secret` of a job or group belong to each of its tasks that has none of its own.
fn inherit(block: &mut Block) -> Inherited {
    ["vault", "secret"].into_iter().filter_map(|name| block.fields.remove(name).map(|f| (name, f))).collect()
}

fn group_block(group: &mut Block, job_id: &str, from_job: &Inherited) {
    let name = group.label().to_owned();
    let from_group = inherit(group);
    name_services(group, &format!("{job_id}-{name}"), &[("${JOB}", job_id), ("${TASKGROUP}", &name)]);
    group.fields.get_mut("network").into_iter().for_each(networks);
    if let Some(Data::Blocks(volumes)) = group.fields.get_mut("volume").map(|f| &mut f.data) {
        volumes.sort_by(|a, b| a.label.cmp(&b.label));
    }
    let Some(Field { data: Data::Blocks(tasks), .. }) = group.fields.get_mut("task") else { return };
    for task in tasks {
        for (key, field) in from_group.iter().chain(from_job) {
            task.fields.entry(key).or_insert_with(|| field.clone());
        }
        let own = task.label().to_owned();
        let base = format!("{job_id}-{name}-{own}");
        name_services(
            task,
            &base,
            &[("${JOB}", job_id), ("${TASKGROUP}", &name), ("${TASK}", &own), ("${BASE}", &base)],
        );
        if let Some(Data::Blocks(resources)) = task.fields.get_mut("resources").map(|f| &mut f.data) {
            for r in resources {
                r.fields.get_mut("network").into_iter().for_each(networks);
            }
        }
    }
}

/// Services without a name get the default one; the old placeholders in names are filled in.
fn name_services(holder: &mut Block, default: &str, words: &[(&str, &str)]) {
    let Some(Field { data: Data::Blocks(services), .. }) = holder.fields.get_mut("service") else { return };
    for service in services {
        let given = service.str("name").unwrap_or(default);
        let name = words.iter().fold(given.to_owned(), |n, (from, to)| n.replace(from, to));
        service.set("name", Data::Str(name));
    }
}

/// JSON lists fixed and dynamic ports apart; job files do not.
fn networks(field: &mut Field) {
    let Data::Blocks(networks) = &mut field.data else { return };
    for network in networks {
        let mut ports = network.blocks("port").to_vec();
        ports.extend(network.blocks("@reserved").iter().cloned());
        ports.extend(network.blocks("@dynamic").iter().cloned().map(|mut p| {
            p.fields.remove("static");
            p
        }));
        network.fields.remove("@reserved");
        network.fields.remove("@dynamic");
        network.set_blocks("port", ports);
    }
}
