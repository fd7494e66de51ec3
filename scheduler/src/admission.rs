//! Refusing a job at the door when the agents' own roles make it impossible: its static port is one that every node it
//! could run on uses for itself. Waiting for room would be waiting for ever, so the answer comes at once.

use model::{Job, Node, State};

use crate::place::{feasible, ports, usage::role_name};

/// The attribute prefix under which nodes name the ports of their own roles; the value is the role.
pub const PORT_ATTRIBUTE: &str = "unique.trine.port.";

/// Whether a job may be registered; the reason names port, label, role, node, and the setting that frees it.
pub fn check(state: &State, job: &Job) -> Result<(), String> {
    for group in &job.groups {
        let fixed = ports::requests(group).filter(|(_, p)| !p.ignore_collision);
        for (label, port) in fixed.filter_map(|(_, p)| Some((&p.label, p.fixed?))) {
            let suits = |n: &&std::sync::Arc<Node>| {
                feasible::in_reach(job, n).is_ok()
                    && feasible::open(n).is_ok()
                    && feasible::suits(job, group, n).is_ok()
            };
            let mut nodes = state.nodes.values().filter(suits).peekable();
            let Some(first) = nodes.peek().copied() else { continue };
            let attribute = format!("{PORT_ATTRIBUTE}{port}");
            let holder = |n: &Node| n.attributes.get(&attribute).cloned();
            let Some(role) = holder(first) else { continue };
            if nodes.all(|n| holder(n).is_some()) {
                return Err(format!(
                    "port {port} (label \"{label}\") is held by this agent's own {} on node {}; {}",
                    role_name(&role),
                    first.name,
                    remedy(&role)
                ));
            }
        }
    }
    Ok(())
}

/// What to change in the agent's configuration.
fn remedy(role: &str) -> String {
    match role {
        "lb" | "lb_admin" => "set lb { enabled = false } in its configuration to run one as a job".into(),
        "dns" | "catalog" | "discovery" => {
            "set discovery { enabled = false } in its configuration, or give the job another port".into()
        }
        other => format!("choose another port for the job, or move the agent with ports {{ {other} = … }}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{World, node, web};

    fn on_9999() -> Job {
        let mut job = web(1);
        job.groups[0].networks[0].ports[0].fixed = Some(9999);
        job
    }

    #[test]
    fn a_port_of_the_agents_own_role_is_refused_by_name() {
        let mut w = World::new(0);
        assert!(check(&w.state, &on_9999()).is_ok(), "without nodes there is nothing to say yet");
        let mut n = node(1);
        n.attributes.insert("unique.trine.port.9999".into(), "lb".into());
        w.add(n);
        assert_eq!(
            check(&w.state, &on_9999()).expect_err("held"),
            "port 9999 (label \"http\") is held by this agent's own load balancer on node n1; set lb { enabled = false } \
             in its configuration to run one as a job"
        );
        assert!(check(&w.state, &web(1)).is_ok());
        // Another node is free: it can run there.
        w.add(node(2));
        assert!(check(&w.state, &on_9999()).is_ok());
    }
}
