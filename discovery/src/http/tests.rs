//! The API as clients call it, over a replica in memory.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt;
use model::{
    Command, Node, NodeStatus, Replica, State, Timestamp, alloc::ClientStatus, check::Verdict,
    replica::local::LocalReplica,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{AgentInfo, Api, router};
use crate::{
    fixture::{Fixture, instance},
    local::Local,
};

mod agent;
mod blocking;
mod kv;

struct Agent;

impl AgentInfo for Agent {
    fn version(&self) -> String {
        "0.1.0".into()
    }
    fn address(&self) -> String {
        "127.0.0.1".into()
    }
    fn is_server(&self) -> bool {
        true
    }
    fn peers(&self) -> Vec<String> {
        vec!["127.0.0.1:4647".into()]
    }
}

struct Bench {
    replica: Arc<LocalReplica>,
    router: Router,
    local: Local,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().expect("text"))
    }

    fn index(&self) -> u64 {
        self.header("x-consul-index").parse().expect("an index")
    }
}

impl Bench {
    fn new(state: State) -> Self {
        let replica = Arc::new(LocalReplica::new(state));
        let local = Local::new(Some(4647));
        let api = Api {
            replica: Arc::clone(&replica) as Arc<dyn Replica>,
            node_name: "n1".into(),
            datacenter: "dc1".into(),
            agent: Arc::new(Agent),
            local: local.clone(),
        };
        Self { replica, router: router(api), local }
    }

    /// With the agent's node `n1` in the catalog.
    fn agent() -> Self {
        let bench = Self::new(State::default());
        let node = Node { name: "n1".into(), address: "10.0.0.1".into(), status: NodeStatus::Ready, ..Node::default() };
        bench.replica.apply(Command::NodeRegister { node: Box::new(node), at: Timestamp(1) }).expect("registers");
        bench
    }

    async fn call(&self, method: &str, path: &str, body: impl Into<Body>) -> Reply {
        let request = Request::builder().method(method).uri(path).body(body.into()).expect("a request");
        self.send(request).await
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let answer = self.router.clone().oneshot(request);
        let response = tokio::time::timeout(Duration::from_secs(20), answer).await.expect("in time").expect("serves");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Reply { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).expect("text") }
    }

    async fn get(&self, path: &str) -> Reply {
        let reply = self.call("GET", path, "").await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.body);
        reply
    }

    async fn put(&self, path: &str, body: Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = self.call("PUT", path, body).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.body);
        reply
    }

    /// The error text of a call, with its status.
    async fn refused(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let reply = self.call(method, path, body.to_owned()).await;
        assert!(!reply.status.is_success(), "{method} {path}: {}", reply.body);
        (reply.status.as_u16(), reply.body)
    }
}

fn catalog() -> State {
    let mut f = Fixture::default();
    f.node("n1", "10.0.0.1", &[("rack", "a")]);
    f.node("n2", "10.0.0.2", &[("rack", "b")]);
    f.node_check("n1", "serfHealth", Verdict::Passing);
    f.put(instance("n1", "web1", "web", "10.1.0.1", 80).tags(&["v1", "urlprefix-/a"]), Verdict::Passing);
    f.put(instance("n2", "web2", "web", "", 81).tags(&["v2"]), Verdict::Warning);
    f.put(instance("n2", "web3", "web", "", 82).tags(&["v1"]), Verdict::Critical);
    f.put(instance("n1", "db1", "db", "", 5432), Verdict::Passing);
    f.state
}

fn ids(rows: &Value, path: &[&str]) -> Vec<String> {
    let rows = rows.as_array().expect("a list");
    rows.iter().map(|r| path.iter().fold(r, |v, k| &v[*k]).as_str().expect("text").to_owned()).collect()
}

#[tokio::test]
async fn catalog_and_health_reads() {
    let b = Bench::new(catalog());
    assert_eq!(b.get("/v1/catalog/datacenters").await.json(), json!(["dc1"]));
    let services = b.get("/v1/catalog/services").await;
    assert_eq!(services.json(), json!({"db": [], "web": ["urlprefix-/a", "v1", "v2"]}));
    let rows = b.get("/v1/catalog/service/web").await.json();
    assert_eq!(ids(&rows, &["ServiceID"]), ["web1", "web2", "web3"]);
    let row = &rows[0];
    assert_eq!(row["Node"], "n1");
    assert_eq!(row["Address"], "10.0.0.1");
    assert_eq!(row["ServiceAddress"], "10.1.0.1");
    assert_eq!(row["ServicePort"], 80);
    assert_eq!(row["ServiceTags"], json!(["v1", "urlprefix-/a"]));
    assert_eq!(row["ServiceWeights"], json!({"Passing": 1, "Warning": 1}));
    assert_eq!(row["NodeMeta"], json!({"rack": "a"}));
    // Both lists are in the same order: clients pair their rows.
    let health = b.get("/v1/health/service/web").await.json();
    assert_eq!(ids(&health, &["Service", "ID"]), ids(&rows, &["ServiceID"]));
    assert_eq!(ids(&health[0]["Checks"], &["CheckID"]), ["serfHealth", "service:web1"]);
    assert_eq!(health[0]["Checks"][1]["ServiceTags"], json!(["v1", "urlprefix-/a"]));
    for (query, expected) in [
        ("?passing", vec!["web1"]),
        ("?passing=true", vec!["web1"]),
        ("?passing=false", vec!["web1", "web2", "web3"]),
        ("?tag=V1", vec!["web1", "web3"]),
        ("?tag=v1&tag=urlprefix-/a", vec!["web1"]),
        ("?node-meta=rack:b", vec!["web2", "web3"]),
        ("?near=_agent&stale=&dc=DC1", vec!["web1", "web2", "web3"]),
        ("?filter=Service.Port%20%3D%3D%2081", vec!["web2"]),
        ("?filter=%22v1%22+in+Service.Tags+and+Node.Node+%3D%3D+n2", vec!["web3"]),
    ] {
        let rows = b.get(&format!("/v1/health/service/web{query}")).await.json();
        assert_eq!(ids(&rows, &["Service", "ID"]), expected, "{query}");
    }
    assert_eq!(ids(&b.get("/v1/health/service/WEB").await.json(), &["Service", "ID"]).len(), 3);
    assert_eq!(b.get("/v1/catalog/service/nope").await.body, "[]");
    assert_eq!(b.get("/v1/health/service/nope").await.body, "[]");
    assert_eq!(b.get("/v1/catalog/connect/web").await.body, "[]");
}

#[tokio::test]
async fn nodes_and_checks() {
    let b = Bench::new(catalog());
    assert_eq!(ids(&b.get("/v1/catalog/nodes").await.json(), &["Node"]), ["n1", "n2"]);
    assert_eq!(ids(&b.get("/v1/catalog/nodes?filter=Meta.rack==b").await.json(), &["Node"]), ["n2"]);
    let n1 = b.get("/v1/catalog/node/N1").await.json();
    assert_eq!(n1["Node"]["Address"], "10.0.0.1");
    assert_eq!(n1["Services"]["db1"]["Port"], 5432);
    assert_eq!(b.get("/v1/catalog/node/nope").await.body, "null");
    let list = b.get("/v1/catalog/node-services/n1").await.json();
    assert_eq!(ids(&list["Services"], &["ID"]), ["db1", "web1"]);
    assert_eq!(
        ids(&b.get("/v1/health/node/n1").await.json(), &["CheckID"]),
        ["serfHealth", "service:db1", "service:web1"]
    );
    assert_eq!(ids(&b.get("/v1/health/checks/web").await.json(), &["ServiceID"]), ["web1", "web2", "web3"]);
    for (state, expected) in [("any", 5), ("passing", 3), ("warning", 1), ("critical", 1)] {
        assert_eq!(
            b.get(&format!("/v1/health/state/{state}")).await.json().as_array().expect("a list").len(),
            expected
        );
    }
    let check = &b.get("/v1/health/state/warning").await.json()[0];
    assert_eq!(
        (&check["Node"], &check["ServiceName"], &check["Status"]),
        (&json!("n2"), &json!("web"), &json!("warning"))
    );
}

#[tokio::test]
async fn reads_carry_their_headers() {
    let b = Bench::new(catalog());
    let reply = b.get("/v1/health/service/web?cached").await;
    assert!(reply.index() > 0);
    assert_eq!(reply.header("x-consul-knownleader"), "true");
    assert_eq!(reply.header("x-consul-lastcontact"), "0");
    assert_eq!(reply.header("x-consul-effective-consistency"), "leader");
    assert_eq!(reply.header("x-consul-default-acl-policy"), "allow");
    assert_eq!(reply.header("x-cache"), "HIT");
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(Bench::new(State::default()).get("/v1/catalog/services").await.index(), 1, "never 0");
    let pretty = b.get("/v1/catalog/datacenters?pretty").await.body;
    assert_eq!(pretty, "[\n    \"dc1\"\n]\n");
    assert_eq!(b.get("/v1/status/leader").await.body, "\"127.0.0.1:4647\"");
    assert_eq!(b.get("/v1/status/peers").await.json(), json!(["127.0.0.1:4647"]));
}

#[tokio::test]
async fn catalog_registration_round_trip() {
    let b = Bench::new(State::default());
    // Any case of keys, as clients send them.
    let body = json!({"node": "ext", "address": "192.0.2.1", "NodeMeta": {"k": "v"},
        "service": {"service": "mail", "tags": ["smtp"], "port": 25, "Weights": {"Passing": 3, "Warning": 0}},
        "Check": {"Name": "up", "Status": "passing", "ServiceID": "mail", "Definition": {"TCP": "192.0.2.1:25"}}});
    assert_eq!(b.put("/v1/catalog/register", body.clone()).await.body, "true");
    let row = &b.get("/v1/health/service/mail?passing").await.json()[0];
    assert_eq!(row["Service"]["Weights"], json!({"Passing": 3, "Warning": 0}));
    assert_eq!(row["Checks"][0]["CheckID"], "up");
    assert_eq!(row["Checks"][0]["Definition"], json!({"TCP": "192.0.2.1:25"}));
    let index = b.get("/v1/health/service/mail").await.index();
    b.put("/v1/catalog/register", body).await;
    assert_eq!(b.get("/v1/health/service/mail").await.index(), index, "the same again moves nothing");
    b.put("/v1/catalog/deregister", json!({"Node": "EXT", "ServiceID": "mail"})).await;
    assert_eq!(b.get("/v1/health/service/mail").await.body, "[]");
    assert!(b.get("/v1/health/service/mail").await.index() > index);
    b.put("/v1/catalog/deregister", json!({"node": "ext"})).await;
    assert_eq!(b.get("/v1/catalog/nodes").await.body, "[]");
}

#[tokio::test]
#[allow(clippy::too_many_lines)] // One table, one line per refusal.
async fn bad_input_is_refused_with_its_reason() {
    let b = Bench::new(catalog());
    let deep = format!("{{\"Node\":{}", "[".repeat(100_000));
    let long_tag = format!("{{\"Name\":\"a\",\"Tags\":[\"{}\"]}}", "x".repeat(5000));
    let big = "x".repeat(2 << 20);
    for (method, path, body, status, words) in [
        ("GET", "/v1/nope", "", 404, "not a recognized HTTP API endpoint"),
        ("GET", "/", "", 404, "/v1/"),
        ("POST", "/v1/catalog/services", "", 405, "method POST not allowed"),
        ("HEAD", "/v1/status/leader", "", 405, ""),
        ("TRACE", "/v1/kv/a", "", 405, "method TRACE not allowed"),
        ("GET", "/v1/acl/tokens", "", 501, "ACL support is not built"),
        ("PUT", "/v1/acl/bootstrap", "", 501, "ACL support is not built"),
        ("GET", "/v1/query", "", 501, "prepared queries"),
        ("GET", "/v1/operator/raft/configuration", "", 501, "operator API"),
        ("GET", "/v1/catalog/service/", "", 400, "Missing service name"),
        ("GET", "/v1/health/node/", "", 400, "Missing node name"),
        ("GET", "/v1/health/state/", "", 400, "Missing check state"),
        ("GET", "/v1/health/state/odd", "", 400, "Invalid check state"),
        ("GET", "/v1/catalog/services?index=-1", "", 400, "Invalid index"),
        ("GET", "/v1/catalog/services?index=18446744073709551616", "", 400, "Invalid index"),
        ("GET", "/v1/catalog/services?index=1&wait=soon", "", 400, "Invalid wait time"),
        ("GET", "/v1/catalog/services?max_stale=x", "", 400, "Invalid max_stale value \"x\""),
        ("GET", "/v1/catalog/services?stale&consistent", "", 400, "Cannot specify ?stale with ?consistent"),
        ("GET", "/v1/catalog/services?cached&consistent", "", 400, "Cannot specify ?cached with ?consistent"),
        ("GET", "/v1/health/service/web?passing=maybe", "", 400, "Invalid value for ?passing"),
        ("GET", "/v1/health/service/web?filter=%28%28", "", 400, "filter"),
        ("GET", "/v1/health/service/web?filter=Nope%3D%3D1", "", 400, "Nope"),
        ("GET", "/v1/catalog/services?dc=mars", "", 500, "No path to datacenter"),
        ("GET", "/v1/catalog/services?ns=a", "", 400, "Namespaces are a Consul Enterprise feature"),
        ("GET", "/v1/catalog/services?partition=a", "", 400, "Partitions are a Consul Enterprise feature"),
        ("GET", "/v1/catalog/service/a%00b", "", 400, "non-printable"),
        ("GET", "/v1/catalog/service/a%ffb", "", 400, "UTF-8"),
        ("PUT", "/v1/catalog/register", "", 400, "Request decode failed: EOF"),
        ("PUT", "/v1/catalog/register", "{", 400, "Request decode failed"),
        ("PUT", "/v1/catalog/register", &deep, 400, "Request decode failed"),
        ("PUT", "/v1/catalog/register", &big, 413, "too large"),
        ("PUT", "/v1/catalog/register", r#"{"Node":"n"}"#, 400, "Must provide node and address"),
        ("PUT", "/v1/catalog/register", r#"{"Node":"n","Address":"a","Nope":1}"#, 400, "unknown field \"Nope\""),
        ("PUT", "/v1/catalog/register", r#"{"Node":"n","Address":"a","ID":"short"}"#, 400, "Bad node ID"),
        (
            "PUT",
            "/v1/catalog/register",
            r#"{"Node":"n","Address":"a","Datacenter":"mars"}"#,
            500,
            "No path to datacenter",
        ),
        (
            "PUT",
            "/v1/catalog/register",
            r#"{"Node":"n","Address":"a","Check":{"Name":"c","ServiceID":"x"}}"#,
            500,
            "Missing service registration",
        ),
        (
            "PUT",
            "/v1/catalog/register",
            r#"{"Node":"n","Address":"a","Service":{"Service":"s","Address":"0.0.0.0"}}"#,
            400,
            "Invalid service address",
        ),
        ("PUT", "/v1/catalog/deregister", "{}", 400, "Must provide node"),
        ("PUT", "/v1/agent/service/register", "{}", 400, "Missing service name"),
        ("PUT", "/v1/agent/service/register", r#"{"Name":"a","Port":70000}"#, 400, "from 0 to 65535"),
        ("PUT", "/v1/agent/service/register", r#"{"Name":"a","Address":"::"}"#, 400, "Invalid service address"),
        ("PUT", "/v1/agent/service/register", r#"{"Name":"a","Weights":{"Passing":0}}"#, 400, "Invalid Weights"),
        ("PUT", "/v1/agent/service/register", r#"{"Name":"a","Meta":{"a b":"c"}}"#, 400, "Invalid Service Meta"),
        ("PUT", "/v1/agent/service/register", r#"{"Name":"a","Meta":{"consul-x":"c"}}"#, 400, "reserved"),
        ("PUT", "/v1/agent/service/register", &long_tag, 400, "longer than 4096 bytes"),
        ("PUT", "/v1/agent/service/register", r#"{"Name":"a","Connect":{"SidecarService":{}}}"#, 501, "SidecarService"),
        ("PUT", "/v1/agent/service/register", r#"{"Name":"a","Check":{"TCP":"x:1"}}"#, 400, "Interval must be > 0"),
        (
            "PUT",
            "/v1/agent/service/register",
            r#"{"Name":"a","Check":{"TCP":"x:1","HTTP":"http://x","Interval":"1s"}}"#,
            400,
            "only one of",
        ),
        (
            "PUT",
            "/v1/agent/service/register",
            r#"{"Name":"a","Check":{"TTL":"1s","Interval":"1s"}}"#,
            400,
            "Interval and TTL cannot both",
        ),
        (
            "PUT",
            "/v1/agent/service/register",
            r#"{"Name":"a","Check":{"Args":["x"],"Interval":"1s"}}"#,
            400,
            "Scripts are disabled",
        ),
        ("PUT", "/v1/agent/service/register", r#"{"Name":"a","Check":{"AliasService":"x"}}"#, 501, "alias checks"),
        (
            "PUT",
            "/v1/agent/service/register",
            r#"{"Name":"a","Check":{"HTTP":"gopher://x","Interval":"1s"}}"#,
            400,
            "is not a URL",
        ),
        ("PUT", "/v1/agent/check/register", r#"{"TTL":"1s"}"#, 400, "Missing check name"),
        (
            "PUT",
            "/v1/agent/check/register",
            r#"{"Name":"c","TTL":"1s","ServiceID":"x"}"#,
            404,
            "ServiceID \"x\" does not exist",
        ),
        ("PUT", "/v1/agent/check/register", r#"{"Name":"c","TTL":"1s","Status":"odd"}"#, 400, "Bad check status"),
        ("PUT", "/v1/agent/check/pass/nope", "", 404, "Unknown check ID \"nope\""),
        ("PUT", "/v1/agent/check/pass/service:web1", "", 500, "does not have associated TTL"),
        ("PUT", "/v1/agent/check/update/service:web1", r#"{"Status":"odd"}"#, 400, "Invalid check status: 'odd'"),
        ("PUT", "/v1/agent/service/deregister/nope", "", 404, "Unknown service ID \"nope\""),
        ("GET", "/v1/agent/service/nope", "", 404, "unknown service ID: nope"),
        ("PUT", "/v1/agent/maintenance", "", 400, "Missing value for enable"),
        ("PUT", "/v1/agent/service/maintenance/web1?enable=odd", "", 400, "Invalid value for enable: \"odd\""),
        ("PUT", "/v1/agent/service/maintenance/nope?enable=true", "", 404, "Unknown service ID"),
    ] {
        let (got, text) = b.refused(method, path, body).await;
        assert!(got == status && text.contains(words), "{method} {path} {body:.80}: {got} {text}");
    }
    assert_eq!(*b.replica.snapshot(), State { index: b.replica.snapshot().index, ..catalog() }, "nothing was written");
}

#[tokio::test]
async fn options_name_the_methods_and_encodings_are_refused() {
    let b = Bench::new(catalog());
    let reply = b.call("OPTIONS", "/v1/kv/a", "").await;
    assert_eq!((reply.status, reply.header("allow")), (StatusCode::OK, "GET,PUT,DELETE,OPTIONS"));
    let request = Request::put("/v1/kv/a").header("content-encoding", "gzip").body("x".into()).expect("a request");
    assert_eq!(b.send(request).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let request = Request::put("/v1/kv/a").header("content-length", "10000000000").body("x".into()).expect("a request");
    assert_eq!(b.send(request).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}
