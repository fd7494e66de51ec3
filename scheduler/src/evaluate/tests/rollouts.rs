//! Rolling updates, canaries, and make-before-break (docs/adr/002-make-before-break.md).

use model::{
    Alloc, ClientStatus, Command, DeploymentStatus, Job, Trigger, check::Verdict, deployment::Deployment, job::Update,
};

use crate::{
    reconcile::class,
    world::{World, changed, web},
};

fn deployment(w: &World) -> Deployment {
    Deployment::clone(w.state.latest_deployment(&w.key("web")).expect("has one"))
}

fn serving(w: &World) -> usize {
    w.live("web").iter().filter(|a| class::serving(&w.state, a)).count()
}

fn with(count: u32, update: Update) -> Job {
    let mut job = web(count);
    job.groups[0].update = Some(update);
    job
}

/// New allocations that run beside an older one of their slot and are not healthy yet.
fn in_flight(w: &World) -> usize {
    let live = w.live("web");
    let version = w.state.job(&w.key("web")).map_or(0, |j| j.version);
    let young = |a: &&Alloc| a.job_version == version && !a.healthy();
    live.iter().filter(young).filter(|a| live.iter().any(|b| b.slot == a.slot && b.job_version != version)).count()
}

#[test]
fn a_first_deployment_places_everything_and_succeeds() {
    let mut w = World::new(2);
    w.run(web(3));
    let d = deployment(&w);
    assert_eq!((d.status, d.groups["g"].placed, d.groups["g"].desired_total), (DeploymentStatus::Running, 3, 3));
    w.settle();
    let d = deployment(&w);
    assert_eq!((d.status, d.groups["g"].healthy), (DeploymentStatus::Successful, 3));
    assert!(w.state.job(&w.key("web")).is_some_and(|j| j.stable));
}

#[test]
fn a_rolling_update_never_serves_with_fewer_and_replaces_max_parallel_at_a_time() {
    for max_parallel in [1, 2, 5] {
        let update = Update { max_parallel, ..Update::default() };
        let mut w = World::new(2);
        w.run(with(5, update.clone()));
        w.settle();
        let stopped_before = w.state.allocs.values().filter(|a| a.server_terminal()).count();
        w.run(changed(with(5, update), "new"));
        for _ in 0..30 {
            assert!(serving(&w) >= 5, "serving fell to {}", serving(&w));
            assert!(in_flight(&w) <= max_parallel as usize);
            w.clients();
        }
        assert_eq!(deployment(&w).status, DeploymentStatus::Successful);
        let live = w.live("web");
        assert_eq!((live.len(), live.iter().all(|a| a.job_version == 1)), (5, true));
        let stopped = w.state.allocs.values().filter(|a| a.server_terminal()).count() - stopped_before;
        assert_eq!(stopped, 5, "every old one was stopped, once");
    }
}

#[test]
fn a_static_port_on_one_node_is_handed_over() {
    let mut w = World::new(1);
    let fixed = |mut job: Job| {
        job.groups[0].networks[0].ports[0].fixed = Some(8080);
        job
    };
    w.run(fixed(web(1)));
    w.settle();
    let old = w.live("web")[0].id;
    w.run(fixed(changed(web(1), "new")));
    let new = w.live("web")[0].clone();
    assert_eq!(new.previous, Some(old));
    assert_eq!(new.resources.ports[0].value, 8080);
    assert!(w.state.allocs[&old].server_terminal() && !w.state.allocs[&old].client.terminal());
    w.settle();
    assert_eq!(deployment(&w).status, DeploymentStatus::Successful);
}

#[test]
fn without_room_beside_it_the_old_one_gives_up_its_place() {
    let mut w = World::new(1);
    let big = |mut job: Job| {
        job.groups[0].tasks[0].resources.memory_mb = 1500;
        job
    };
    w.run(big(web(2)));
    w.settle();
    w.run(big(changed(web(2), "new")));
    for _ in 0..10 {
        w.clients();
    }
    assert_eq!(deployment(&w).status, DeploymentStatus::Successful);
    assert!(w.live("web").iter().all(|a| a.job_version == 1));
}

#[test]
fn canaries_run_beside_and_promotion_replaces_the_rest() {
    let update = Update { canary: 1, max_parallel: 5, ..Update::default() };
    let mut w = World::new(2);
    w.run(with(5, update.clone()));
    w.settle();
    assert_eq!(deployment(&w).status, DeploymentStatus::Successful, "the first version needs no canary");
    w.run(changed(with(5, update), "new"));
    w.settle();
    let live = w.live("web");
    assert_eq!((live.len(), live.iter().filter(|a| a.canary).count()), (6, 1));
    let d = deployment(&w);
    assert!(d.awaits_promotion() && d.status == DeploymentStatus::Running);
    assert_eq!(d.description, model::deployment::description::NEEDS_PROMOTION);
    promote(&mut w);
    for _ in 0..10 {
        assert!(serving(&w) >= 5);
        w.clients();
    }
    assert_eq!(deployment(&w).status, DeploymentStatus::Successful);
    let live = w.live("web");
    assert_eq!((live.len(), live.iter().all(|a| a.job_version == 1 && !a.canary)), (5, true));
}

fn promote(w: &mut World) {
    let (id, at) = (deployment(w).id, w.now);
    let eval = w.eval_for(&web(1), Trigger::DeploymentWatcher);
    w.apply(Command::DeploymentPromote { id, groups: Vec::new(), eval, at });
    w.work();
}

#[test]
fn canaries_promote_themselves_when_told_so() {
    let update = Update { canary: 2, auto_promote: true, max_parallel: 1, ..Update::default() };
    let mut w = World::new(2);
    w.run(with(3, update.clone()));
    w.settle();
    w.run(changed(with(3, update), "new"));
    assert_eq!(deployment(&w).description, model::deployment::description::AUTO_PROMOTION);
    w.settle();
    assert_eq!(deployment(&w).status, DeploymentStatus::Successful);
    assert!(w.live("web").iter().all(|a| a.job_version == 1));
}

#[test]
fn more_canaries_than_instances_shrink_to_the_count() {
    let update = Update { canary: 4, max_parallel: 1, ..Update::default() };
    let mut w = World::new(2);
    w.run(with(2, update.clone()));
    w.settle();
    w.run(changed(with(2, update), "new"));
    w.settle();
    assert_eq!(w.live("web").len(), 6);
    promote(&mut w);
    w.settle();
    assert_eq!(w.live("web").len(), 2);
    assert_eq!(deployment(&w).status, DeploymentStatus::Successful);
}

/// Start what waits, but the new version never becomes healthy.
fn new_version_is_sick(w: &mut World, how: ClientStatus) {
    let ids: Vec<_> = w.live("web").iter().filter(|a| a.job_version == 1).map(|a| a.id).collect();
    for id in ids {
        w.report(id, how, Some(false), Verdict::Critical);
    }
    w.work();
}

#[test]
fn a_sick_version_goes_no_further_and_the_old_one_serves_on() {
    for how in [ClientStatus::Running, ClientStatus::Failed] {
        let update = Update { max_parallel: 2, ..Update::default() };
        let mut w = World::new(2);
        w.run(with(4, update.clone()));
        w.settle();
        w.run(changed(with(4, update.clone()), "new"));
        new_version_is_sick(&mut w, how);
        assert_eq!(serving(&w), 4);
        assert_eq!(w.live("web").iter().filter(|a| a.job_version == 0).count(), 4, "nothing more is replaced");
        w.pass(update.progress_deadline);
        w.work();
        let d = deployment(&w);
        assert_eq!((d.status, d.description.as_str()), (DeploymentStatus::Failed, "Failed due to progress deadline"));
        w.settle();
        assert_eq!(serving(&w), 4);
        assert_eq!(w.live("web").len(), 4, "replacements that never came to are taken away");
    }
}

#[test]
fn auto_revert_goes_back_to_the_stable_version() {
    for canary in [0, 1] {
        let update = Update { auto_revert: true, max_parallel: 2, canary, ..Update::default() };
        let mut w = World::new(2);
        w.run(with(4, update.clone()));
        w.settle();
        let old: Vec<_> = w.live("web").iter().map(|a| a.id).collect();
        w.run(changed(with(4, update.clone()), "new"));
        new_version_is_sick(&mut w, ClientStatus::Running);
        w.pass(update.progress_deadline);
        w.work();
        w.settle();
        let job = w.state.job(&w.key("web")).expect("is there").clone();
        assert_eq!(job.version, 2);
        assert!(job.groups[0].tasks[0].env.is_empty());
        assert_eq!(w.live("web").iter().map(|a| a.id).collect::<Vec<_>>(), old, "those that served serve on");
        assert_eq!(deployment(&w).status, DeploymentStatus::Successful);
        let failed = w.state.deployments.values().find(|d| d.job_version == 1).expect("is kept");
        assert!(failed.description.ends_with("- rolling back to job version 0"), "{}", failed.description);
    }
}

#[test]
fn a_newer_version_takes_over_a_half_done_roll_out() {
    let mut w = World::new(2);
    w.run(web(4));
    w.settle();
    w.run(changed(web(4), "one"));
    w.clients();
    w.clients();
    w.run(changed(web(4), "two"));
    let cancelled = w.state.deployments.values().filter(|d| d.status == DeploymentStatus::Cancelled).count();
    assert_eq!(cancelled, 1);
    for _ in 0..20 {
        assert!(serving(&w) >= 4);
        w.clients();
    }
    let live = w.live("web");
    assert_eq!((live.len(), live.iter().all(|a| a.job_version == 2)), (4, true));
    assert_eq!(deployment(&w).status, DeploymentStatus::Successful);
}

#[test]
fn a_paused_deployment_stands_still() {
    let mut w = World::new(2);
    w.run(web(3));
    w.settle();
    w.run(changed(web(3), "new"));
    let (id, at) = (deployment(&w).id, w.now);
    let status =
        |status, eval| Command::DeploymentStatus { id, status, description: String::new(), revert: None, eval, at };
    w.apply(status(DeploymentStatus::Paused, None));
    w.settle();
    assert_eq!(w.live("web").iter().filter(|a| a.job_version == 0).count(), 2, "the one in hand is finished, no more");
    let eval = Some(w.eval_for(&web(3), Trigger::DeploymentWatcher));
    w.apply(status(DeploymentStatus::Running, eval));
    w.work();
    w.settle();
    assert!(w.live("web").iter().all(|a| a.job_version == 1));
}

#[test]
fn without_deployments_everything_is_replaced_at_once_but_still_beside() {
    let mut w = World::new(2);
    let update = Update { max_parallel: 0, ..Update::default() };
    w.run(with(4, update.clone()));
    w.settle();
    assert!(w.state.deployments.is_empty());
    w.run(changed(with(4, update), "new"));
    assert_eq!(w.live("web").len(), 8);
    for _ in 0..5 {
        assert!(serving(&w) >= 4);
        w.clients();
    }
    let live = w.live("web");
    assert_eq!((live.len(), live.iter().all(|a| a.job_version == 1)), (4, true));
}
