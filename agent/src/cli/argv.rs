//! Go-style flags for clap: `-flag`, `--flag`, `-flag=value`, `-flag value`, `-bool=false`.
//!
//! A flag that takes a value takes the next word whatever it looks like, as Go's `flag` package does. Words after `--`
//! and after a command that runs another command are left alone, and so are one-letter flags.

use std::ffi::OsString;

use clap::{Arg, Command};

/// Rewrite `argv` into what clap understands. `root` must have been built.
pub(super) fn normalise(argv: Vec<OsString>, root: &Command) -> Vec<OsString> {
    let mut command = root;
    let mut out = Vec::with_capacity(argv.len());
    let mut words = argv.into_iter();
    out.extend(words.next());
    let mut positionals = 0;
    while let Some(word) = words.next() {
        let Some(text) = word.to_str().map(str::to_owned) else {
            out.push(word);
            continue;
        };
        if text == "--" {
            out.push(word);
            break;
        }
        let Some(dashed) = text.strip_prefix('-').filter(|d| !d.is_empty()) else {
            match command.find_subcommand(&text) {
                Some(sub) if positionals == 0 => command = sub,
                _ => positionals += 1,
            }
            out.push(word);
            if takes_the_rest(command, positionals) {
                break;
            }
            continue;
        };
        let flag = dashed.strip_prefix('-').unwrap_or(dashed);
        let (name, value) = flag.split_once('=').map_or((flag, None), |(n, v)| (n, Some(v.to_owned())));
        match find_flag(command, name) {
            Some(arg) => rewrite(arg, name, value, &mut words, &mut out),
            None if left_alone(command, &text, name) => out.push(word),
            None => out.push(format!("--{flag}").into()),
        }
    }
    out.extend(words);
    out
}

/// Write one known flag in its long (or one-letter) form, its value joined to it.
fn rewrite(
    arg: &Arg,
    name: &str,
    value: Option<String>,
    words: &mut impl Iterator<Item = OsString>,
    out: &mut Vec<OsString>,
) {
    let dashes = if name.chars().count() == 1 { "-" } else { "--" };
    if !arg.get_action().takes_values() {
        match value.as_deref() {
            None | Some("true" | "1" | "t") => out.push(format!("{dashes}{name}").into()),
            Some("false" | "0" | "f") => {}
            Some(other) => out.push(format!("{dashes}{name}={other}").into()),
        }
        return;
    }
    let mut joined = OsString::from(format!("{dashes}{name}"));
    if let Some(v) = value.map(OsString::from).or_else(|| words.next()) {
        joined.push("=");
        joined.push(v);
    }
    out.push(joined);
}

fn find_flag<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    let mut letters = name.chars();
    let letter = letters.next().filter(|_| letters.next().is_none());
    command.get_arguments().find(|a| match letter {
        Some(c) => a.get_short() == Some(c) || a.get_all_short_aliases().is_some_and(|s| s.contains(&c)),
        None => a.get_long() == Some(name) || a.get_all_aliases().is_some_and(|l| l.contains(&name)),
    })
}

/// A number, or several one-letter flags in one word.
fn left_alone(command: &Command, text: &str, name: &str) -> bool {
    if text.starts_with("--") {
        return false;
    }
    let number = text.parse::<f64>().is_ok();
    let letters = name.chars().all(|c| find_flag(command, c.encode_utf8(&mut [0; 4])).is_some());
    number || letters || name.chars().count() == 1
}

/// The positional that was just read swallows all that follows (a command to run).
fn takes_the_rest(command: &Command, positionals: usize) -> bool {
    positionals > 0
        && command
            .get_positionals()
            .any(|a| a.is_trailing_var_arg_set() && a.get_index().is_some_and(|index| positionals >= index))
}
