//! Answers as `dig` would show them, packets that are no queries, and one port for UDP and TCP.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType},
};
use model::{Replica, State, check::Verdict, replica::local::LocalReplica};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Config, Server, Zone,
    message::{Asked, Transport, reply},
};
use crate::fixture::{Fixture, instance};

const NOW: u32 = 1_700_000_000;

fn config() -> Config {
    Config {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        service_ttl: BTreeMap::from([
            ("web".to_owned(), Duration::from_secs(5)),
            ("da*".to_owned(), Duration::from_secs(7)),
            ("*".to_owned(), Duration::ZERO),
        ]),
        ..Config::default()
    }
}

fn fixture() -> Fixture {
    let mut f = Fixture::default();
    f.node("Node-1", "10.0.0.1", &[("rack", "a=b"), ("rfc1035-note", "plain text")]);
    f.node("n2.lan", "fd00::2", &[]);
    f.node("named", "host.example.com", &[]);
    f.put(
        instance("Node-1", "web1", "Web", "10.1.0.1", 8080).tags(&["v1", "Blue.one"]).weights(10, 2),
        Verdict::Passing,
    );
    f.put(instance("Node-1", "web2", "Web", "", 8081).tags(&["v2"]).weights(20, 3), Verdict::Warning);
    f.put(instance("n2.lan", "web3", "Web", "", 8082).weights(0, 0), Verdict::Passing);
    f.put(instance("n2.lan", "web4", "Web", "10.1.0.4", 8083).tags(&["v1"]), Verdict::Critical);
    f.put(instance("named", "ext", "external", "", 443), Verdict::Passing);
    f.put(instance("Node-1", "db", "database", "10.1.0.9", 5432), Verdict::Critical);
    f.put(instance("Node-1", "consul", "consul", "", 8300), Verdict::Passing);
    f.put(instance("Node-1", "v6", "data6", "fd00::6", 1), Verdict::Passing);
    f
}

fn query(name: &str, qtype: RecordType) -> Message {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), qtype));
    message
}

/// The bytes of the reply to a query in bytes.
fn respond(state: &State, zone: &Zone, packet: &[u8], transport: Transport, now: u32, rng: &mut StdRng) -> Vec<u8> {
    let query = Message::from_vec(packet).expect("a query");
    let (metadata, question, edns) = (&query.metadata, query.queries.first(), query.edns.as_ref());
    reply(state, zone, Asked { metadata, question, edns, transport }, now, rng).to_vec().expect("encodes")
}

fn send(state: &State, message: &Message) -> Message {
    send_over(state, message, Transport::Udp)
}

fn send_over(state: &State, message: &Message, transport: Transport) -> Message {
    let bytes = message.to_vec().expect("encodes");
    let zone = Zone::new(&config()).expect("a zone");
    let reply = respond(state, &zone, &bytes, transport, NOW, &mut StdRng::seed_from_u64(1));
    Message::from_vec(&reply).expect("decodes")
}

fn lines(records: &[Record]) -> Vec<String> {
    let mut lines: Vec<_> =
        records.iter().map(|r| format!("{} {} {} {}", r.name, r.ttl, r.record_type(), r.data)).collect();
    lines.sort();
    lines
}

/// One line per record, sections told apart: what `dig` would show, sorted.
fn shown(state: &State, name: &str, qtype: RecordType) -> String {
    let reply = send(state, &query(name, qtype));
    assert_eq!(reply.metadata.id, 77);
    assert!(reply.metadata.message_type == MessageType::Response && reply.metadata.recursion_desired);
    let mut out = vec![format!("{:?}", reply.metadata.response_code)];
    out.extend(lines(&reply.answers));
    out.extend(lines(&reply.authorities).into_iter().map(|l| format!("; {l}")));
    out.extend(lines(&reply.additionals).into_iter().map(|l| format!("+ {l}")));
    out.join("\n")
}

const SOA: &str = "; consul. 0 SOA ns.consul. hostmaster.consul. 1700000000 3600 600 86400 0";

#[test]
#[allow(clippy::too_many_lines)] // One table, one line per question.
fn golden_answers() {
    use RecordType as T;
    let f = fixture();
    let none = format!("NXDomain\n{SOA}");
    let empty = format!("NoError\n{SOA}");
    let cases: Vec<(&str, T, String)> = vec![
        (
            "web.service.consul.",
            T::A,
            "NoError\nweb.service.consul. 5 A 10.0.0.1\nweb.service.consul. 5 A 10.1.0.1".into(),
        ),
        ("WEB.Service.CONSUL.", T::AAAA, "NoError\nWEB.Service.CONSUL. 5 AAAA fd00::2".into()),
        ("web.service.dc1.consul.", T::AAAA, "NoError\nweb.service.dc1.consul. 5 AAAA fd00::2".into()),
        ("web.service.DC1.dc.consul.", T::AAAA, "NoError\nweb.service.DC1.dc.consul. 5 AAAA fd00::2".into()),
        ("web.service.other.consul.", T::A, none.clone()),
        ("v1.web.service.consul.", T::A, "NoError\nv1.web.service.consul. 5 A 10.1.0.1".into()),
        ("blue.one.web.service.consul.", T::A, "NoError\nblue.one.web.service.consul. 5 A 10.1.0.1".into()),
        ("v9.web.service.consul.", T::A, none.clone()),
        ("v1.web.service.consul.", T::AAAA, empty.clone()),
        ("web.service.consul.", T::TXT, empty.clone()),
        ("web.service.consul.", T::MX, empty.clone()),
        (
            "_web._v1.service.consul.",
            T::SRV,
            "NoError\n_web._v1.service.consul. 5 SRV 1 10 8080 0a010001.addr.dc1.consul.\n\
             + 0a010001.addr.dc1.consul. 5 A 10.1.0.1"
                .into(),
        ),
        (
            "_web._v2.consul.",
            T::SRV,
            "NoError\n_web._v2.consul. 5 SRV 1 3 8081 Node-1.node.dc1.consul.\n+ Node-1.node.dc1.consul. 5 A 10.0.0.1"
                .into(),
        ),
        ("_web._v2.consul.", T::A, none.clone()),
        ("_web._udp.service.consul.", T::SRV, none.clone()),
        ("external.service.consul.", T::A, "NoError\nexternal.service.consul. 0 CNAME host.example.com.".into()),
        (
            "external.service.consul.",
            T::SRV,
            "NoError\nexternal.service.consul. 0 SRV 1 1 443 named.node.dc1.consul.".into(),
        ),
        ("data6.service.consul.", T::ANY, "NoError\ndata6.service.consul. 7 AAAA fd00::6".into()),
        ("database.service.consul.", T::A, none.clone()),
        ("database.service.consul.", T::SRV, none.clone()),
        ("nope.service.consul.", T::A, none.clone()),
        ("node-1.node.consul.", T::A, "NoError\nnode-1.node.consul. 0 A 10.0.0.1".into()),
        ("n2.lan.node.dc1.consul.", T::AAAA, "NoError\nn2.lan.node.dc1.consul. 0 AAAA fd00::2".into()),
        ("n2.lan.node.consul.", T::A, empty.clone()),
        ("node-9.node.consul.", T::A, none.clone()),
        ("node-1.node.dc9.consul.", T::A, none.clone()),
        (
            "node-1.node.consul.",
            T::TXT,
            "NoError\nnode-1.node.consul. 0 TXT plain text\nnode-1.node.consul. 0 TXT rack=a=b".into(),
        ),
        ("0a010001.addr.dc1.consul.", T::A, "NoError\n0a010001.addr.dc1.consul. 0 A 10.1.0.1".into()),
        ("0a010001.addr.consul.", T::AAAA, format!("{empty}\n+ 0a010001.addr.consul. 0 A 10.1.0.1")),
        (
            "fd000000000000000000000000000006.addr.consul.",
            T::AAAA,
            "NoError\nfd000000000000000000000000000006.addr.consul. 0 AAAA fd00::6".into(),
        ),
        ("0a01000g.addr.consul.", T::A, none.clone()),
        ("0a01.addr.consul.", T::A, none.clone()),
        (
            "consul.",
            T::SOA,
            format!(
                "NoError\n{}\n; consul. 0 NS Node-1.node.dc1.consul.\n+ Node-1.node.dc1.consul. 0 A 10.0.0.1",
                &SOA[2..]
            ),
        ),
        (
            "Consul.",
            T::NS,
            "NoError\nconsul. 0 NS Node-1.node.dc1.consul.\n+ Node-1.node.dc1.consul. 0 A 10.0.0.1".into(),
        ),
        ("consul.", T::A, empty.clone()),
        ("service.consul.", T::A, empty.clone()),
        ("node.dc1.consul.", T::A, empty),
        ("web.query.consul.", T::A, none.clone()),
        ("a.b.c.consul.", T::A, none.clone()),
        ("_.service.consul.", T::A, none.clone()),
        ("__._tcp.service.consul.", T::SRV, none),
        ("1.0.0.10.in-addr.arpa.", T::PTR, "NoError\n1.0.0.10.in-addr.arpa. 0 PTR Node-1.node.dc1.consul.".into()),
        ("9.0.1.10.in-addr.arpa.", T::PTR, "NoError\n9.0.1.10.in-addr.arpa. 0 PTR database.service.dc1.consul.".into()),
        ("9.9.9.9.in-addr.arpa.", T::PTR, "Refused".into()),
        ("10.in-addr.arpa.", T::PTR, "Refused".into()),
        ("example.com.", T::A, "Refused".into()),
        ("notconsul.", T::A, "Refused".into()),
        (".", T::NS, "Refused".into()),
        ("consul.", T::AXFR, "NotImp".into()),
    ];
    for (name, qtype, expected) in cases {
        assert_eq!(shown(&f.state, name, qtype), expected, "{name} {qtype}");
    }
}

#[test]
fn a_critical_node_takes_its_instances_along() {
    let mut f = fixture();
    f.node_check("Node-1", "serfHealth", Verdict::Critical);
    let shown = shown(&f.state, "web.service.consul.", RecordType::SRV);
    assert_eq!(shown.lines().filter(|l| l.contains(" SRV ")).count(), 1, "{shown}");
    assert!(shown.contains("n2.lan.node.dc1.consul."), "{shown}");
}

#[test]
fn only_passing_leaves_warnings_out() {
    let f = fixture();
    let zone = Zone::new(&Config { only_passing: true, ..config() }).expect("a zone");
    let bytes = query("web.service.consul.", RecordType::A).to_vec().expect("encodes");
    let reply = respond(&f.state, &zone, &bytes, Transport::Udp, NOW, &mut StdRng::seed_from_u64(1));
    assert_eq!(Message::from_vec(&reply).expect("decodes").answers.len(), 1);
}

#[test]
fn answers_are_shuffled_by_the_seed_alone() {
    let mut f = Fixture::default();
    f.node("n", "10.0.0.1", &[]);
    for i in 0..8 {
        f.put(instance("n", &format!("i{i}"), "many", &format!("10.0.1.{i}"), 80), Verdict::Passing);
    }
    let zone = Zone::new(&config()).expect("a zone");
    let bytes = query("many.service.consul.", RecordType::A).to_vec().expect("encodes");
    let ask = |seed| respond(&f.state, &zone, &bytes, Transport::Udp, NOW, &mut StdRng::seed_from_u64(seed));
    assert_eq!(ask(3), ask(3));
    let firsts: std::collections::BTreeSet<_> =
        (0..64).map(|seed| Message::from_vec(&ask(seed)).expect("decodes").answers[0].data.to_string()).collect();
    assert_eq!(firsts.len(), 8, "every instance comes first at times: {firsts:?}");
}

fn crowd(n: u32) -> State {
    let mut f = Fixture::default();
    f.node("n", "10.0.0.1", &[]);
    for i in 0..n {
        f.put(instance("n", &format!("i{i}"), "many", &format!("10.2.{}.{}", i / 250, i % 250), 80), Verdict::Passing);
    }
    f.state
}

#[test]
fn what_does_not_fit_is_cut_and_said() {
    let state = crowd(1000);
    for (edns, limit) in [(None, 512), (Some(0), 512), (Some(4096), 1232), (Some(u16::MAX), 1232)] {
        for qtype in [RecordType::A, RecordType::SRV] {
            let mut q = query("many.service.consul.", qtype);
            if let Some(size) = edns {
                let mut e = Edns::new();
                e.set_max_payload(size);
                q.set_edns(e);
            }
            let reply = send(&state, &q);
            let size = reply.to_vec().expect("encodes").len();
            assert!(reply.metadata.truncation && !reply.answers.is_empty());
            assert!(size <= limit && size > limit - 80, "{edns:?} {qtype}: {size} of {limit}");
            assert_eq!(reply.edns.is_some(), edns.is_some());
        }
    }
    let whole = send_over(&state, &query("many.service.consul.", RecordType::A), Transport::Tcp);
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 1000);
    let srv = send_over(&state, &query("many.service.consul.", RecordType::SRV), Transport::Tcp);
    assert_eq!(srv.answers.len(), 1000);
}

#[test]
fn additional_records_go_before_answers() {
    let reply = send(&crowd(8), &query("many.service.consul.", RecordType::SRV));
    assert!(!reply.metadata.truncation, "all answers are there");
    assert_eq!(reply.answers.len(), 8);
    assert!(reply.additionals.len() < 8);
}

#[tokio::test]
async fn packets_that_are_not_queries() {
    let (addr, cancel, task) = serve(fixture().state).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    let good = query("web.service.consul.", RecordType::A).to_vec().expect("encodes");
    // Nothing comes back for these, or something harmless; the next query is answered.
    let mut response = good.clone();
    response[2] |= 0x80;
    for dropped in (0..12).map(|n| good[..n].to_vec()).chain([response]) {
        socket.send_to(&dropped, addr).await.expect("sends");
    }
    let ask = async |packet: &[u8]| {
        socket.send_to(packet, addr).await.expect("sends");
        let mut buf = vec![0; 2048];
        let (len, _) =
            timeout(Duration::from_secs(10), socket.recv_from(&mut buf)).await.expect("in time").expect("reads");
        assert!(len >= 12 && buf[2] & 0x80 != 0 && buf[..2] == packet[..2], "a response to this query");
        buf[3] & 0x0f
    };
    let (noerror, formerr, notimp, refused) = (0, 1, 4, 5);
    assert_eq!(ask(&good).await, noerror, "and nothing else was in the socket");
    for n in 12..good.len() {
        assert_eq!(ask(&good[..n]).await, formerr, "{n} bytes");
    }
    for count in [0u16, 2, u16::MAX] {
        let mut q = good.clone();
        q[4..6].copy_from_slice(&count.to_be_bytes());
        assert_eq!(ask(&q).await, formerr, "{count} questions");
    }
    let mut many = good.clone();
    many[10..12].copy_from_slice(&u16::MAX.to_be_bytes());
    assert_eq!(ask(&many).await, formerr);
    let mut status = good.clone();
    status[2] |= 2 << 3;
    assert_eq!(ask(&status).await, notimp);
    // A name that points at itself, and one with a label longer than the packet.
    let mut looped = good[..12].to_vec();
    looped.extend([0xc0, 12, 0, 1, 0, 1]);
    assert_eq!(ask(&looped).await, formerr);
    let mut long = good[..12].to_vec();
    long.extend([63, b'a', 0, 0, 1, 0, 1]);
    assert_eq!(ask(&long).await, formerr);
    let mut chaos = query("version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(ask(&chaos.to_vec().expect("encodes")).await, refused);
    cancel.cancel();
    timeout(Duration::from_secs(5), task).await.expect("ends").expect("no panic");
}

#[test]
fn labels_that_are_not_words_match_nothing() {
    let state = fixture().state;
    for labels in
        [&["a.b", "web", "service", "consul"][..], &["web\0", "service", "consul"], &["web.service", "consul"]]
    {
        let name = Name::from_labels(labels.iter().map(|l| l.as_bytes())).expect("a name");
        let mut q = query("x.", RecordType::A);
        q.queries[0].set_name(name);
        assert_eq!(send(&state, &q).metadata.response_code, ResponseCode::NXDomain, "{labels:?}");
    }
}

#[test]
fn edns_of_the_future_is_refused() {
    let mut q = query("web.service.consul.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    q.set_edns(edns);
    let reply = send(&fixture().state, &q);
    // BADVERS and BADSIG are the same number.
    assert_eq!(u16::from(reply.metadata.response_code), 16);
    assert_eq!(reply.version(), 0);
}

async fn over_tcp(addr: SocketAddr, bytes: &[u8]) -> Message {
    let mut stream = TcpStream::connect(addr).await.expect("connects");
    stream.write_u16(u16::try_from(bytes.len()).expect("short")).await.expect("writes");
    stream.write_all(bytes).await.expect("writes");
    let len = stream.read_u16().await.expect("reads");
    let mut reply = vec![0; len.into()];
    stream.read_exact(&mut reply).await.expect("reads");
    Message::from_vec(&reply).expect("decodes")
}

async fn serve(state: State) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let replica: Arc<dyn Replica> = Arc::new(LocalReplica::new(state));
    let server = Server::bind(config(), replica).await.expect("binds");
    let addr = server.addr();
    assert_ne!(addr.port(), 0);
    let cancel = CancellationToken::new();
    (addr, cancel.clone(), tokio::spawn(server.run(cancel)))
}

#[tokio::test]
async fn one_port_speaks_udp_and_tcp() {
    let (addr, cancel, task) = serve(crowd(200)).await;
    let bytes = query("many.service.consul.", RecordType::A).to_vec().expect("encodes");
    let ask = async {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        socket.send_to(&[0; 5], addr).await.expect("sends");
        socket.send_to(&bytes, addr).await.expect("sends");
        let mut buf = vec![0; 2048];
        let (len, _) = socket.recv_from(&mut buf).await.expect("receives");
        let short = Message::from_vec(&buf[..len]).expect("decodes");
        assert!(short.metadata.truncation && short.answers.iter().all(|r| matches!(r.data, RData::A(_))));
        assert_eq!(over_tcp(addr, &bytes).await.answers.len(), 200);
    };
    timeout(Duration::from_secs(10), ask).await.expect("in time");
    cancel.cancel();
    timeout(Duration::from_secs(5), task).await.expect("ends").expect("no panic");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let replica: Arc<dyn Replica> = Arc::new(LocalReplica::new(State::default()));
    let taken = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    let addr = taken.local_addr().expect("an address");
    let error = Server::bind(Config { addr, ..config() }, Arc::clone(&replica)).await.err().expect("refuses");
    assert!(error.to_string().contains(&addr.to_string()) && error.to_string().contains("ports.dns"), "{error}");
    let bad = Server::bind(Config { domain: "..".into(), ..config() }, replica).await.err().expect("refuses");
    assert!(matches!(bad, super::Error::Domain(_)));
}
