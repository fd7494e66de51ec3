//! Base64, JSON, YAML (writing), CSV (reading), URLs.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use model::driver_config::Value;

use super::{Answer, Args, Function, yaml};

/// Everything that RFC 3986 does not leave alone.
const ESCAPED: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub const FUNCTIONS: &[(&str, Function)] = &[
    ("base64decode", |a| {
        let text = a.text(a.exactly::<1>()?[0])?;
        let bytes = STANDARD.decode(text.trim()).map_err(|e| a.fail(e))?;
        String::from_utf8(bytes).map(Value::Str).map_err(|_| a.fail("the decoded bytes are not UTF-8 text"))
    }),
    ("base64encode", |a| Ok(Value::Str(STANDARD.encode(a.text(a.exactly::<1>()?[0])?)))),
    ("jsondecode", |a| {
        let text = a.text(a.exactly::<1>()?[0])?;
        serde_json::from_str::<serde_json::Value>(&text).map(|v| Value::from(&v)).map_err(|e| a.fail(e))
    }),
    ("jsonencode", |a| Ok(Value::Str(serde_json::Value::from(a.exactly::<1>()?[0]).to_string()))),
    ("yamlencode", |a| Ok(Value::Str(yaml::write(a.exactly::<1>()?[0])))),
    ("yamldecode", |a| Err(a.fail("reading YAML is not built in; write the data as JSON and use jsondecode()"))),
    ("csvdecode", csvdecode),
    ("urlencode", |a| {
        let text = a.text(a.exactly::<1>()?[0])?;
        Ok(Value::Str(percent_encoding::utf8_percent_encode(&text, ESCAPED).to_string().replace("%20", "+")))
    }),
];

fn csvdecode(a: &Args<'_>) -> Answer {
    let text = a.text(a.exactly::<1>()?[0])?;
    let mut rows = rows(a, &text)?.into_iter();
    let header = rows.next().unwrap_or_default();
    let row = |cells: Vec<String>| {
        if cells.len() != header.len() {
            return Err(a.fail(format!("a row has {} columns, the first line has {}", cells.len(), header.len())));
        }
        let map: BTreeMap<_, _> = header.iter().cloned().zip(cells.into_iter().map(Value::Str)).collect();
        Ok(Value::Map(map))
    };
    rows.map(row).collect::<Result<_, _>>().map(Value::List)
}

/// Rows of cells; quoted cells may hold commas, line breaks and doubled quotes.
fn rows(a: &Args<'_>, text: &str) -> Result<Vec<Vec<String>>, String> {
    let mut out = Vec::new();
    let mut row: Vec<String> = Vec::new();
    let mut cell = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quoted) {
            ('"', true) if chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            ('"', true) => quoted = false,
            ('"', false) if cell.is_empty() => quoted = true,
            (',', false) => row.push(std::mem::take(&mut cell)),
            ('\r', false) if chars.peek() == Some(&'\n') => {}
            ('\n', false) => {
                row.push(std::mem::take(&mut cell));
                out.push(std::mem::take(&mut row));
            }
            _ => cell.push(c),
        }
    }
    if quoted {
        return Err(a.fail("a quote is not closed"));
    }
    if !(cell.is_empty() && row.is_empty()) {
        row.push(cell);
        out.push(row);
    }
    out.retain(|r| r.len() > 1 || r.first().is_some_and(|c| !c.is_empty()));
    Ok(out)
}
