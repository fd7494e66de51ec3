//! `format` and `formatlist`: the verbs `%s %d %f %g %e %x %X %o %b %t %q %v %%`, with width, `-`, `0`, `+` and precision.

use model::driver_config::Value;

use super::{Answer, Args, Function, list_of};
use crate::jobspec::eval::text_of;

/// Wider padding than this is a mistake or an attack.
const MAX_WIDTH: usize = 1024;

pub const FUNCTIONS: &[(&str, Function)] = &[
    ("format", |a| {
        let all = a.at_least(1)?;
        format_one(a, &a.text(&all[0])?, &all[1..]).map(Value::Str)
    }),
    ("formatlist", formatlist),
];

fn formatlist(a: &Args<'_>) -> Answer {
    let all = a.at_least(1)?;
    let spec = a.text(&all[0])?;
    let mut rows = None;
    for v in &all[1..] {
        if let Value::List(l) = v {
            if rows.is_some_and(|n| n != l.len()) {
                return Err(a.fail("the lists must be of one length"));
            }
            rows = Some(l.len());
        }
    }
    let row = |i: usize| -> Result<String, String> {
        let args: Vec<Value> =
            all[1..].iter().map(|v| if let Value::List(l) = v { l[i].clone() } else { v.clone() }).collect();
        format_one(a, &spec, &args)
    };
    let texts: Result<Vec<_>, _> = (0..rows.unwrap_or(1)).map(row).collect();
    Ok(list_of(texts?))
}

#[derive(Default)]
struct Verb {
    left: bool,
    zero: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
}

fn format_one(a: &Args<'_>, spec: &str, args: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut next = args.iter();
    let mut chars = spec.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut verb = Verb::default();
        let mut digits = String::new();
        let mut after_point = false;
        let letter = loop {
            match chars.next() {
                None => return Err(a.fail("the format ends inside a verb")),
                Some('-') => verb.left = true,
                Some('+') => verb.plus = true,
                Some('#' | ' ') => {}
                Some('0') if digits.is_empty() && !after_point => verb.zero = true,
                Some(d) if d.is_ascii_digit() => digits.push(d),
                Some('.') => {
                    verb.width = number(a, &digits)?;
                    digits.clear();
                    after_point = true;
                }
                Some(letter) => break letter,
            }
        };
        if after_point {
            verb.precision = Some(number(a, &digits)?);
        } else {
            verb.width = number(a, &digits)?;
        }
        if letter == '%' {
            out.push('%');
            continue;
        }
        let v = next.next().ok_or_else(|| a.fail(format!("there is no argument for %{letter}")))?;
        out.push_str(&pad(&verb, shown(a, letter, &verb, v)?));
    }
    if next.next().is_some() {
        return Err(a.fail("there are more arguments than verbs"));
    }
    Ok(out)
}

fn number(a: &Args<'_>, digits: &str) -> Result<usize, String> {
    let n = if digits.is_empty() { Ok(0) } else { digits.parse() };
    n.ok().filter(|n| *n <= MAX_WIDTH).ok_or_else(|| a.fail(format!("a width of more than {MAX_WIDTH} makes no sense")))
}

fn shown(a: &Args<'_>, letter: char, verb: &Verb, v: &Value) -> Result<String, String> {
    let sign = |text: String, negative: bool| if verb.plus && !negative { format!("+{text}") } else { text };
    Ok(match letter {
        's' => {
            let s = a.text(v)?;
            verb.precision.map_or(s.clone(), |p| s.chars().take(p).collect())
        }
        'v' => text_of(v).unwrap_or_else(|| serde_json::Value::from(v).to_string()),
        'q' => serde_json::Value::String(a.text(v)?).to_string(),
        't' => match v {
            Value::Bool(b) => b.to_string(),
            other => return Err(a.wrong("true or false for %t", other)),
        },
        'd' => a.int(v).map(|i| sign(i.to_string(), i < 0))?,
        'x' => format!("{:x}", a.int(v)?),
        'X' => format!("{:X}", a.int(v)?),
        'o' => format!("{:o}", a.int(v)?),
        'b' => format!("{:b}", a.int(v)?),
        'f' => a.float(v).map(|f| sign(format!("{f:.*}", verb.precision.unwrap_or(6)), f < 0.0))?,
        'e' => format!("{:.*e}", verb.precision.unwrap_or(6), a.float(v)?),
        'g' => a.float(v)?.to_string(),
        other => return Err(a.fail(format!("there is no verb %{other}"))),
    })
}

fn pad(verb: &Verb, text: String) -> String {
    let missing = verb.width.saturating_sub(text.chars().count());
    match (missing, verb.left, verb.zero) {
        (0, ..) => text,
        (n, true, _) => text + &" ".repeat(n),
        (n, false, true) => match text.strip_prefix('-') {
            Some(rest) => format!("-{}{rest}", "0".repeat(n)),
            None => "0".repeat(n) + &text,
        },
        (n, false, false) => " ".repeat(n) + &text,
    }
}
