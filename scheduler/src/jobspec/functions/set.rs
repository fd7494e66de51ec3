//! Sets: lists without repetition, in a fixed order.

use model::driver_config::Value;

use super::{Answer, Args, Function, collection::sort_key};
use crate::jobspec::{eval::equal, types::distinct};

/// What a product may make at most.
const MAX_PRODUCT: usize = 10_000;

pub const FUNCTIONS: &[(&str, Function)] = &[
    ("setunion", |a| {
        let lists: Result<Vec<_>, _> = a.at_least(1)?.iter().map(|v| a.list(v)).collect();
        Ok(ordered(lists?.concat()))
    }),
    ("setintersection", |a| {
        let lists: Vec<&[Value]> = a.at_least(1)?.iter().map(|v| a.list(v)).collect::<Result<_, _>>()?;
        let everywhere = |v: &&Value| lists[1..].iter().all(|l| l.iter().any(|x| equal(x, v)));
        Ok(ordered(lists[0].iter().filter(everywhere).cloned().collect()))
    }),
    ("setproduct", setproduct),
];

fn ordered(list: Vec<Value>) -> Value {
    let mut list = distinct(list);
    list.sort_by_key(sort_key);
    Value::List(list)
}

fn setproduct(a: &Args<'_>) -> Answer {
    let lists: Vec<&[Value]> = a.at_least(2)?.iter().map(|v| a.list(v)).collect::<Result<_, _>>()?;
    let size = lists.iter().try_fold(1usize, |n, l| n.checked_mul(l.len()));
    if size.is_none_or(|n| n > MAX_PRODUCT) {
        return Err(a.fail(format!("makes more than {MAX_PRODUCT} combinations")));
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for list in lists {
        let longer = |row: &Vec<Value>| {
            list.iter().map(|v| [row.as_slice(), std::slice::from_ref(v)].concat()).collect::<Vec<_>>()
        };
        rows = rows.iter().flat_map(longer).collect();
    }
    Ok(Value::List(rows.into_iter().map(Value::List).collect()))
}
