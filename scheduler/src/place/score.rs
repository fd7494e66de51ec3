//! Ranking: how good a node is for one more allocation. Every scorer is a plain function; the result is their mean.

use std::collections::BTreeMap;

use model::{Group, Job, Node, job::Spread, resource::Amount};

use super::constraint;

/// Fuller is better: the fuller a node already is, the more room stays whole elsewhere. 0..=1.
#[must_use]
pub fn binpack(node: &Node, used: Amount) -> f64 {
    let has = node.resources.total.minus(node.resources.reserved);
    let free = |used: u64, has: u64| if has == 0 { 1.0 } else { 1.0 - used as f64 / has as f64 };
    let sum = 10f64.powf(free(used.cpu_mhz, has.cpu_mhz)) + 10f64.powf(free(used.memory_mb, has.memory_mb));
    (20.0 - sum).clamp(0.0, 18.0) / 18.0
}

/// Instances of one group keep away from each other. -1..0.
#[must_use]
pub fn anti_affinity(neighbours: usize, count: u32) -> f64 {
    -((neighbours as f64 + 1.0) / f64::from(count.max(1))).min(1.0)
}

/// The weighted share of affinities that hold; `None` when there is none to weigh.
#[must_use]
pub fn affinity(job: &Job, group: &Group, node: &Node) -> Option<f64> {
    let all = || job.affinities.iter().chain(&group.affinities).chain(group.tasks.iter().flat_map(|t| &t.affinities));
    let total: f64 = all().map(|a| f64::from(a.weight).abs()).sum();
    if total == 0.0 {
        return None;
    }
    let holding = all().filter(|a| constraint::holds(&a.attribute, a.operator, &a.value, node));
    Some(holding.map(|a| f64::from(a.weight)).sum::<f64>() / total)
}

/// All spreads of a group.
pub fn spreads<'a>(job: &'a Job, group: &'a Group) -> impl Iterator<Item = &'a Spread> {
    job.spreads.iter().chain(&group.spreads)
}

/// How much one more instance here evens out the spreads. `counts` answers, per spread, how many instances each value
/// of its attribute has.
#[must_use]
pub fn spread(job: &Job, group: &Group, node: &Node, counts: &[BTreeMap<String, u32>]) -> Option<f64> {
    let total: f64 = spreads(job, group).map(|s| f64::from(s.weight)).sum();
    let mut score = 0.0;
    let mut any = false;
    for (s, counts) in spreads(job, group).zip(counts) {
        any = true;
        let Some(value) = constraint::resolve(&s.attribute, node) else {
            score -= 1.0;
            continue;
        };
        let used = counts.get(value.as_ref()).copied().unwrap_or(0);
        if s.targets.is_empty() {
            score += even(counts, used);
            continue;
        }
        let listed: u32 = s.targets.iter().map(|(_, p)| u32::from(*p)).sum();
        let percent = s
            .targets
            .iter()
            .find(|(v, _)| *v == *value)
            .or_else(|| s.targets.iter().find(|(v, _)| v == "*"))
            .map_or_else(|| 100u32.saturating_sub(listed), |(_, p)| u32::from(*p));
        let desired = f64::from(percent) / 100.0 * f64::from(group.count);
        score += if desired <= 0.0 {
            -1.0
        } else {
            (desired - f64::from(used + 1)) / desired * f64::from(s.weight) / total.max(1.0)
        };
    }
    any.then_some(score)
}

/// Evenly: the further a value is behind the fullest one the better; the fullest themselves are to be avoided.
fn even(counts: &BTreeMap<String, u32>, used: u32) -> f64 {
    let max = counts.values().max().copied().unwrap_or(0);
    if max == 0 {
        return 0.0;
    }
    if used < max { f64::from(max - used) / f64::from(max) } else { -1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::resource::NodeResources;

    #[test]
    fn fuller_nodes_score_higher() {
        let total = Amount { cpu_mhz: 1000, memory_mb: 1000, disk_mb: 0 };
        let node = Node { resources: NodeResources { total, ..Default::default() }, ..Node::default() };
        let at = |n| binpack(&node, Amount { cpu_mhz: n, memory_mb: n, disk_mb: 0 });
        assert_eq!(at(0), 0.0);
        assert_eq!(at(1000), 1.0);
        assert!(at(500) < at(600));
    }

    #[test]
    fn spreads_follow_their_targets_and_even_out() {
        let node = |dc: &str| Node { datacenter: dc.into(), ..Node::default() };
        let spread_by = |targets: &[(&str, u8)]| Job {
            spreads: vec![Spread {
                attribute: "${node.datacenter}".into(),
                weight: 50,
                targets: targets.iter().map(|(v, p)| ((*v).to_owned(), *p)).collect(),
            }],
            ..Job::default()
        };
        let group = Group { count: 10, ..Group::default() };
        let counts = |a: u32, b: u32| vec![BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)])];
        let by_target = spread_by(&[("a", 70), ("b", 30)]);
        let s = |j: &Job, dc: &str, c: &[BTreeMap<String, u32>]| spread(j, &group, &node(dc), c).expect("has a spread");
        assert!(s(&by_target, "a", &counts(1, 1)) > s(&by_target, "b", &counts(1, 1)));
        assert!(s(&by_target, "b", &counts(7, 1)) > s(&by_target, "a", &counts(7, 1)));
        assert_eq!(s(&by_target, "c", &counts(0, 0)), -1.0);
        let even = spread_by(&[]);
        assert!(s(&even, "b", &counts(3, 1)) > s(&even, "a", &counts(3, 1)));
        assert!(s(&even, "c", &counts(3, 1)) > s(&even, "b", &counts(3, 1)));
    }
}
