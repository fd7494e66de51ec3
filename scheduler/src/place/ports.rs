//! Giving ports: the fixed ones a group asks for, and dynamic ones from the node's range.

use model::{
    Alloc, Group, Node, State, TaskName,
    resource::{Network, NetworkMode, PortMapping, PortRequest},
};

use super::usage::{Full, Usage};
use crate::evaluate::dice::Dice;

/// Random draws before the range is searched from one end; beyond a nearly full range this keeps the cost bounded.
const DRAWS: u32 = 20;

/// Every port a group asks for with the task it belongs to: the group's first network, then legacy task networks.
pub fn requests(group: &Group) -> impl Iterator<Item = (Option<&TaskName>, &PortRequest)> {
    fn of<'a>(
        n: Option<&'a Network>,
        task: Option<&'a TaskName>,
    ) -> impl Iterator<Item = (Option<&'a TaskName>, &'a PortRequest)> {
        n.filter(|n| n.mode != NetworkMode::None).into_iter().flat_map(|n| &n.ports).map(move |p| (task, p))
    }
    let tasks = group.tasks.iter().flat_map(|t| of(t.resources.network.as_ref(), Some(&t.name)));
    of(group.networks.first(), None).chain(tasks)
}

/// Host ports the group shares on purpose (`ignore_collision`).
#[must_use]
pub fn shared(group: &Group) -> Vec<u16> {
    requests(group).filter(|(_, p)| p.ignore_collision).filter_map(|(_, p)| p.fixed).collect()
}

/// Assign all ports of a group on a node, or say which one could not be had.
pub fn assign(
    state: &State,
    node: &Node,
    group: &Group,
    usage: &Usage,
    from: Option<&Alloc>,
    dice: &mut Dice,
) -> Result<Vec<PortMapping>, Full> {
    let mut given: Vec<PortMapping> = Vec::new();
    // Fixed ports first, so that no dynamic one takes the number of a later fixed one.
    let fixed = requests(group).filter_map(|(t, p)| Some((t, p, p.fixed?)));
    for (task, request, port) in fixed {
        let dimension = || format!("network: reserved port collision {}={port}", request.label);
        if !request.ignore_collision {
            usage.port_free(state, node, port, from).map_err(|reason| Full { dimension: dimension(), reason })?;
            if let Some(other) = given.iter().find(|g| g.value == port) {
                let reason =
                    format!("port {port} is asked for twice, as \"{}\" and \"{}\"", other.label, request.label);
                return Err(Full { dimension: dimension(), reason });
            }
        }
        given.push(mapping(node, request, port, task));
    }
    for (task, request) in requests(group).filter(|(_, p)| p.fixed.is_none()) {
        let port = dynamic(state, node, usage, from, &given, dice).ok_or_else(|| Full {
            dimension: "network: dynamic port selection failed".into(),
            reason: format!(
                "no free dynamic port for \"{}\" between {} and {} on node {}",
                request.label, node.resources.min_dynamic_port, node.resources.max_dynamic_port, node.name
            ),
        })?;
        given.push(mapping(node, request, port, task));
    }
    // In file order, as the tables show them.
    let order: Vec<_> = requests(group).map(|(t, p)| (t.cloned(), p.label.clone())).collect();
    given.sort_by_key(|g| order.iter().position(|o| o.0 == g.task && o.1 == g.label));
    Ok(given)
}

fn dynamic(
    state: &State,
    node: &Node,
    usage: &Usage,
    from: Option<&Alloc>,
    given: &[PortMapping],
    dice: &mut Dice,
) -> Option<u16> {
    let (min, max) = (node.resources.min_dynamic_port.max(1), node.resources.max_dynamic_port);
    if min > max {
        return None;
    }
    // A dynamic port of the predecessor is not inherited: both may run at once.
    let free = |port: u16| {
        !usage.ports.contains_key(&port)
            && given.iter().all(|g| g.value != port)
            && usage.port_free(state, node, port, from).is_ok()
    };
    let span = u64::from(max - min) + 1;
    let draw = |dice: &mut Dice| min + u16::try_from(dice.below(span)).unwrap_or(0);
    (0..DRAWS).map(|_| draw(dice)).find(|p| free(*p)).or_else(|| (min..=max).find(|p| free(*p)))
}

fn mapping(node: &Node, request: &PortRequest, port: u16, task: Option<&TaskName>) -> PortMapping {
    // Unset and -1 both mean "the same as on the host".
    let to = u16::try_from(request.to).ok().filter(|t| *t > 0).unwrap_or(port);
    PortMapping { label: request.label.clone(), value: port, to, host_ip: node.address.clone(), task: task.cloned() }
}
