//! Expressions as clients send them, and the ones that must be refused.

use proptest::prelude::*;
use serde_json::json;

use super::{Error, Filter, MAX_DEPTH, MAX_LENGTH};

fn ask(text: &str) -> Result<bool, Error> {
    let object = json!({
        "Name": "web", "Count": 5, "Ratio": 0.5, "Stop": false, "Empty": "", "None": null,
        "Tags": ["a", "traefik.enable=true"], "Ports": [80, 443],
        "Meta": {"rack": "r1", "a b": "c", "os.name": "linux"},
        "Node": {"Datacenter": "dc1"},
    });
    text.parse::<Filter>()?.matches(&object)
}

#[test]
fn expressions_that_hold() {
    for text in [
        r#"Name == "web""#,
        "Name == web",
        "Name==`web`",
        r#"Name != "db""#,
        "Count == 5",
        "Ratio == 0.5",
        "Stop == false",
        "Stop != true",
        r#"Tags contains "traefik.enable=true""#,
        r#""traefik.enable=true" in Tags"#,
        "a in Tags",
        "b not in Tags",
        r#"Tags not contains "b""#,
        "443 in Ports",
        "Name contains we",
        "rack in Meta",
        r#"Meta["a b"] == "c""#,
        r#"Meta["os.name"] == linux"#,
        "Meta.rack == r1",
        r#""/Meta/rack" == r1"#,
        "Meta.absent != x",
        "Meta.absent is empty",
        "Empty is empty",
        "None is empty",
        "Tags is not empty",
        r#"Name matches "^w.b$""#,
        r#"Name not matches "^x\d""#,
        "Node.Datacenter == dc1 and Name == web",
        "Name == x or Name == web",
        "not Name == x",
        "not (Name == web and Count == 6)",
        "Name == x or Name == y or (Count == 5 and not Stop == true)",
        // `and` binds tighter than `or`.
        "Name == web or Name == x and Count == 0",
        "Tags.1 == `traefik.enable=true`",
    ] {
        assert_eq!(ask(text), Ok(true), "{text}");
    }
}

#[test]
fn expressions_that_do_not() {
    for text in
        ["Name == WEB", "Meta.absent == x", "None == x", "x in Meta", "Count != 5", "Tags is empty", "None contains a"]
    {
        assert_eq!(ask(text), Ok(false), "{text}");
    }
}

#[test]
fn mistakes_are_told() {
    for (text, wanted) in [
        ("", "expected a selector at column 1, found the end"),
        ("Name", "expected an operator"),
        ("Name ==", "expected a value at column 8"),
        ("Name == \"x", "expected a closing quote"),
        ("(Name == x", "expected \")\""),
        ("Name == x Name", "expected \"and\", \"or\" or the end at column 11"),
        ("Name is full", "expected \"empty\""),
        ("Name = x", "expected a selector, a value or an operator at column 6"),
        ("Nme == x", "there is no field \"Nme\""),
        ("Name matches \"(\"", "not a regular expression"),
        ("Tags == a", "Tags is a list; == cannot be used"),
        ("Count == five", "\"five\" is not a number, as Count is"),
        ("Stop == 1", "\"1\" is not true or false"),
        ("Count matches \"5\"", "Count is a number; matches cannot be used"),
    ] {
        let told = ask(text).expect_err(text).to_string();
        assert!(told.contains(wanted), "{text}: {told}");
    }
}

#[test]
fn hostile_expressions_are_bounded() {
    assert!(matches!(ask(&"x".repeat(MAX_LENGTH + 1)), Err(Error::TooLong)));
    let deep = format!("{}Name == x{}", "(".repeat(MAX_DEPTH + 2), ")".repeat(MAX_DEPTH + 2));
    assert!(matches!(ask(&deep), Err(Error::TooDeep)));
    assert!(matches!(ask(&"not ".repeat(MAX_DEPTH + 2)), Err(Error::TooDeep)));
    // An hour of `and`s is flat: it costs a deep tree on the left, walked by recursion.
    let long = vec!["Stop == false"; MAX_LENGTH / 20].join(" and ");
    assert_eq!(ask(&long), Ok(true));
    assert!(matches!(ask(r#"Name matches "(a{1000}){1000}""#), Err(Error::Regex(_))));
}

proptest! {
    #[test]
    fn no_text_brings_the_reader_down(text in ".{0,200}", words in "([a-z(). !=\"`\\[\\]]|and|or|not|in|is|empty|Name|Tags){0,60}") {
        for text in [text, words] {
            let _: Result<bool, Error> = ask(&text);
        }
    }
}
