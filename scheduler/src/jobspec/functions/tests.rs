//! Functions of job files, by example.

use super::*;
use crate::jobspec::eval::{Declared, Root};

fn eval(text: &str) -> Result<Value, String> {
    let expr = hcl_edit::parser::parse_expr(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    Root::new(text, None, Declared::default()).scope().eval(&expr).map_err(|e| e.message)
}

/// The JSON form of what an expression gives.
#[track_caller]
fn is(text: &str, json: &str) {
    let v = eval(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(serde_json::Value::from(&v).to_string(), json, "{text}");
}

#[test]
fn texts() {
    is(r#"upper("a-${lower("B")}")"#, r#""A-B""#);
    is(r#"title("hello big world")"#, r#""Hello Big World""#);
    is(r#"join(",", ["a", "b"], ["c"])"#, r#""a,b,c""#);
    is(r#"split(",", "a,b")"#, r#"["a","b"]"#);
    is(r#"substr("hello", 1, 3)"#, r#""ell""#);
    is(r#"substr("hello", -3, -1)"#, r#""llo""#);
    is(r#"replace("a.b.c", ".", "-")"#, r#""a-b-c""#);
    is(r#"replace("a1b22", "/[0-9]+/", "n")"#, r#""anbn""#);
    is(r#"regex_replace("a1b22", "([a-z])", "<$1>")"#, r#""<a>1<b>22""#);
    is(r#"trim("xxhixx", "x")"#, r#""hi""#);
    is(r#"strlen("héllo")"#, "5");
    is(r#"format("%s-%03d-%5.2f-%t|%-4s|%q", "a", 7, 1.5, true, "x", "y")"#, r#""a-007- 1.50-true|x   |\"y\"""#);
    is(r#"formatlist("%s:%d", ["a", "b"], 80)"#, r#"["a:80","b:80"]"#);
}

#[test]
fn numbers() {
    is("max(1, 5, 3) + min(2, 4) * 2", "9");
    is("ceil(1.2) + floor(1.8) + abs(-3) + signum(-2)", "5");
    is("pow(2, 10)", "1024");
    is(r#"parseint("ff", 16)"#, "255");
    is("7 / 2", "3.5");
    is("7 % 4", "3");
    assert!(eval("1 / 0").is_err_and(|e| e.contains("divides by zero")));
}

#[test]
fn collections() {
    is(r#"merge({a = 1}, {b = 2})"#, r#"{"a":1,"b":2}"#);
    is("chunklist([1, 2, 3], 2)", "[[1,2],[3]]");
    is(r#"lookup({a = 1}, "b", 9)"#, "9");
    is("flatten([[1], [2, [3]]])", "[1,2,3]");
    is("range(1, 7, 2)", "[1,3,5]");
    is(r#"setproduct(["a"], [1, 2])"#, r#"[["a",1],["a",2]]"#);
    is("setintersection([3, 1, 2], [2, 3])", "[2,3]");
    is(r#"zipmap(["a"], [1])"#, r#"{"a":1}"#);
    is("element([1, 2, 3], 4)", "2");
    is(r#"coalesce("", null, "x")"#, r#""x""#);
    is("slice([1, 2, 3], 1, 2)", "[2]");
    assert!(eval("range(1000000000)").is_err_and(|e| e.contains("more than 1024")));
    assert!(eval("setproduct(range(1000), range(1000))").is_err());
}

#[test]
fn encodings_and_digests() {
    is(r#"base64decode(base64encode("hé"))"#, r#""hé""#);
    is(r#"jsondecode("{\"a\":[1]}").a[0]"#, "1");
    is(r#"jsonencode({a = [1, true]})"#, r#""{\"a\":[1,true]}""#);
    is(r#"yamlencode({a = [1]})"#, r#""\"a\":\n  - 1\n""#);
    is(r#"csvdecode("a,b\n1,\"x,y\"\n")"#, r#"[{"a":"1","b":"x,y"}]"#);
    is(r#"urlencode("a b/c")"#, r#""a+b%2Fc""#);
    is(r#"md5("hello world")"#, r#""5eb63bbbe01eeed093cb22bb8f5acdc3""#);
    is(r#"sha1("hello world")"#, r#""2aae6c35c94fcfb415dbe95f408b9ce91ee846ed""#);
    is(r#"substr(sha256("hello world"), 0, 8)"#, r#""b94d27b9""#);
    is(r#"uuidv5("dns", "www.example.com")"#, r#""2ed6657d-e927-568b-95e1-2665a8aea6a2""#);
}

#[test]
fn networks_and_times() {
    is(r#"cidrhost("10.0.0.0/8", 5)"#, r#""10.0.0.5""#);
    is(r#"cidrhost("10.12.112.0/20", -1)"#, r#""10.12.127.255""#);
    is(r#"cidrnetmask("172.16.0.0/12")"#, r#""255.240.0.0""#);
    is(r#"cidrsubnet("172.16.0.0/12", 4, 2)"#, r#""172.18.0.0/16""#);
    is(r#"cidrsubnets("10.1.0.0/16", 4, 4, 8, 4)"#, r#"["10.1.0.0/20","10.1.16.0/20","10.1.32.0/24","10.1.48.0/20"]"#);
    is(r#"timeadd("2026-02-28T23:59:30Z", "45s")"#, r#""2026-03-01T00:00:15Z""#);
    is(r#"formatdate("DD MMM YYYY hh:mm 'at' EEEE", "2018-01-02T23:12:01Z")"#, r#""02 Jan 2018 23:12 at Tuesday""#);
}

#[test]
fn try_and_can_look_before_they_leap() {
    is(r#"try({a = 1}.b, "fallback")"#, r#""fallback""#);
    is(r#"can(tonumber.x)"#, "false");
    is(r#"can(upper("x"))"#, "true");
}

#[test]
fn loops_and_conditions() {
    is(r#"[for i, v in ["a", "b"] : "${i}${v}" if v != "a"]"#, r#"["1b"]"#);
    is(r#"{for k, v in {x = 1} : upper(k) => v * 2}"#, r#"{"X":2}"#);
    is(r#"[{a = 1}, {a = 2}][*].a"#, "[1,2]");
    is(r#""%{ for x in ["a", "b"] ~}${x},%{ endfor ~}""#, r#""a,b,""#);
    is(r#""%{ if false }a%{ else }b%{ endif }""#, r#""b""#);
    is("true ? 1 : 2", "1");
}

#[test]
fn mistakes() {
    assert_eq!(eval("uper(1)"), Err("there is no function \"uper\". Did you mean \"upper\"?".into()));
    assert!(eval("upper()").is_err_and(|e| e == "upper() takes 1 argument, not 0"));
    assert!(eval(r#"file("/etc/passwd")"#).is_err_and(|e| e.contains("filesystem function disabled")));
}
