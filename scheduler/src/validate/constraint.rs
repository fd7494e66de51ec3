//! Constraints, affinities and spreads.

use model::job::{Affinity, Constraint, Operator, Spread};

use super::Report;
use crate::spec::words::Word;

/// Longer patterns are refused before they are compiled.
const MAX_PATTERN: usize = 1024;

pub fn all(constraints: &[Constraint], affinities: &[Affinity], spreads: &[Spread], place: &str, report: &mut Report) {
    for c in constraints {
        comparison(&c.attribute, c.operator, &c.value, "constraint", place, report);
    }
    for a in affinities {
        report.rule(a.weight != 0, place, || "an affinity's \"weight\" must not be 0; leave the block out".into());
        comparison(&a.attribute, a.operator, &a.value, "affinity", place, report);
    }
    for (i, s) in spreads.iter().enumerate() {
        spread(s, place, report);
        report.rule(!spreads[..i].iter().any(|o| o.attribute == s.attribute), place, || {
            format!("there are two spreads over {:?}; put all targets into one", s.attribute)
        });
    }
}

fn comparison(attribute: &str, operator: Operator, value: &str, what: &str, place: &str, report: &mut Report) {
    let word = operator.word();
    if operator == Operator::DistinctHosts {
        return;
    }
    report.rule(!attribute.is_empty(), place, || format!("a {what} needs an \"attribute\""));
    match operator {
        Operator::IsSet | Operator::IsNotSet => {
            report.rule(value.is_empty(), place, || format!("{word:?} takes no \"value\""));
        }
        Operator::DistinctProperty => {
            let fine = value.is_empty() || value.parse::<u32>().is_ok_and(|n| n > 0);
            report.rule(fine, place, || format!("{word:?} takes a number of 1 or more, not {value:?}"));
        }
        Operator::Regexp => {
            if value.len() > MAX_PATTERN {
                report.error(place, format!("the pattern of a {what} is longer than {MAX_PATTERN} bytes"));
            } else if let Err(e) = regex::RegexBuilder::new(value).size_limit(1 << 20).build() {
                report.error(place, format!("{value:?} is not a regular expression: {}", last_line(&e.to_string())));
            }
        }
        _ => report.rule(!value.is_empty(), place, || format!("a {what} with {word:?} needs a \"value\"")),
    }
}

/// The library explains over several lines, the last of which says why.
fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}

fn spread(s: &Spread, place: &str, report: &mut Report) {
    report.rule(!s.attribute.is_empty(), place, || "a spread needs an \"attribute\"".into());
    report.rule((1..=100).contains(&s.weight), place, || {
        format!("a spread's \"weight\" must be between 1 and 100, not {}", s.weight)
    });
    let sum: u32 = s.targets.iter().map(|(_, p)| u32::from(*p)).sum();
    report.rule(sum <= 100, place, || {
        format!("the targets of the spread over {:?} add up to {sum} percent", s.attribute)
    });
    for (i, (value, _)) in s.targets.iter().enumerate() {
        report.rule(!s.targets[..i].iter().any(|(o, _)| o == value), place, || {
            format!("the spread over {:?} has the target {value:?} twice", s.attribute)
        });
    }
}
