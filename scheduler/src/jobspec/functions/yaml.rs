//! YAML, written in block style. Texts are always quoted, so that none is read back as a number or a date.

use std::fmt::Write;

use model::driver_config::Value;

/// A value as a YAML document.
pub fn write(v: &Value) -> String {
    let mut out = String::new();
    block(v, 0, &mut out);
    out
}

fn quoted(s: &str) -> String {
    serde_json::Value::String(s.to_owned()).to_string()
}

/// Values that stand on one line.
fn scalar(v: &Value) -> Option<String> {
    Some(match v {
        Value::Null => "null".into(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Float(f) => f.to_string(),
        Value::Str(s) => quoted(s),
        Value::List(l) if l.is_empty() => "[]".into(),
        Value::Map(m) if m.is_empty() => "{}".into(),
        _ => return None,
    })
}

fn block(v: &Value, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    if let Some(s) = scalar(v) {
        let _ = writeln!(out, "{pad}{s}");
        return;
    }
    match v {
        Value::List(l) => {
            for item in l {
                entry(&format!("{pad}-"), item, depth, out);
            }
        }
        Value::Map(m) => {
            for (k, item) in m {
                entry(&format!("{pad}{}:", quoted(k)), item, depth, out);
            }
        }
        _ => {}
    }
}

fn entry(head: &str, item: &Value, depth: usize, out: &mut String) {
    match scalar(item) {
        Some(s) => {
            let _ = writeln!(out, "{head} {s}");
        }
        None => {
            let _ = writeln!(out, "{head}");
            block(item, depth + 1, out);
        }
    }
}
