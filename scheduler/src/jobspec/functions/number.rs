//! Numbers.

use model::driver_config::Value;

use super::{Answer, Args, Function};
use crate::jobspec::eval::whole;

pub const FUNCTIONS: &[(&str, Function)] = &[
    ("abs", |a| match a.exactly()? {
        [Value::Int(i)] => Ok(i.checked_abs().map_or(Value::Float(9_223_372_036_854_775_808.0), Value::Int)),
        [v] => Ok(whole(a.float(v)?.abs())),
    }),
    ("ceil", |a| one(a, f64::ceil)),
    ("floor", |a| one(a, f64::floor)),
    ("signum", |a| {
        let [v] = a.exactly()?;
        let f = a.float(v)?;
        Ok(Value::Int(i64::from(f > 0.0) - i64::from(f < 0.0)))
    }),
    ("log", |a| two(a, |x, base| x.log(base))),
    ("pow", |a| two(a, f64::powf)),
    ("max", |a| fold(a, f64::max)),
    ("min", |a| fold(a, f64::min)),
    ("parseint", parseint),
];

fn finite(a: &Args<'_>, f: f64) -> Answer {
    if f.is_finite() { Ok(whole(f)) } else { Err(a.fail("the result is not a number")) }
}

fn one(a: &Args<'_>, f: impl Fn(f64) -> f64) -> Answer {
    let [v] = a.exactly()?;
    finite(a, f(a.float(v)?))
}

fn two(a: &Args<'_>, f: impl Fn(f64, f64) -> f64) -> Answer {
    let [x, y] = a.exactly()?;
    finite(a, f(a.float(x)?, a.float(y)?))
}

fn fold(a: &Args<'_>, f: impl Fn(f64, f64) -> f64) -> Answer {
    let numbers: Vec<f64> = a.at_least(1)?.iter().map(|v| a.float(v)).collect::<Result<_, _>>()?;
    finite(a, numbers.into_iter().reduce(f).unwrap_or(f64::NAN))
}

fn parseint(a: &Args<'_>) -> Answer {
    let [s, base] = a.exactly()?;
    let (s, base) = (a.text(s)?, a.int(base)?);
    let radix = u32::try_from(base).ok().filter(|b| (2..=36).contains(b));
    let radix = radix.ok_or_else(|| a.fail(format!("the base must be between 2 and 36, not {base}")))?;
    i64::from_str_radix(&s, radix).map(Value::Int).map_err(|_| a.fail(format!("{s:?} is not a number in base {base}")))
}
