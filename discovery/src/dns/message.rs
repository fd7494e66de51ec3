//! From a parsed query to a whole reply: what is refused, and how an answer is made to fit.
//!
//! An answer that is too long loses its additional records first, then answers, and then says so (TC). Pure.

use hickory_proto::{
    op::{Edns, Message, Metadata, OpCode, Query, ResponseCode},
    rr::{DNSClass, Record, RecordType},
};
use model::State;
use rand::Rng;

use super::answer::{Answer, Zone, answer};

/// The largest datagram sent: no link on the way has to cut it up.
const UDP_MAX: u16 = 1232;
/// Datagrams to clients that do not say what they can take.
const UDP_PLAIN: u16 = 512;
/// The smallest record: a pointer for the name, type, class, ttl, length, and four bytes of address.
const RECORD_MIN: usize = 16;
/// Answers sent over TCP.
const TCP_ANSWERS_MAX: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// A query as it was parsed.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub metadata: &'a Metadata,
    /// The only question; none when there was not exactly one.
    pub question: Option<&'a Query>,
    pub edns: Option<&'a Edns>,
    pub transport: Transport,
}

/// The reply to one query. `now` is Unix time in seconds.
#[must_use]
pub fn reply<R: Rng>(state: &State, zone: &Zone, asked: Asked<'_>, now: u32, rng: &mut R) -> Message {
    let mut reply = Message::response(asked.metadata.id, asked.metadata.op_code);
    reply.metadata.recursion_desired = asked.metadata.recursion_desired;
    reply.queries.extend(asked.question.cloned());
    let mut limit = match asked.transport {
        Transport::Udp => UDP_PLAIN,
        Transport::Tcp => u16::MAX,
    };
    if let Some(edns) = asked.edns {
        let mut ours = Edns::new();
        ours.set_max_payload(UDP_MAX).set_version(0).set_dnssec_ok(edns.flags().dnssec_ok);
        reply.set_edns(ours);
        if asked.transport == Transport::Udp {
            limit = edns.max_payload().clamp(UDP_PLAIN, UDP_MAX);
        }
        if edns.version() > 0 {
            reply.metadata.response_code = ResponseCode::BADVERS;
            return reply;
        }
    }
    let found = match asked.question {
        _ if asked.metadata.op_code != OpCode::Query => refuse(ResponseCode::NotImp),
        None => refuse(ResponseCode::FormErr),
        Some(q) => match (q.query_class(), q.query_type()) {
            (_, RecordType::AXFR | RecordType::IXFR) => refuse(ResponseCode::NotImp),
            (DNSClass::IN | DNSClass::ANY, _) => answer(state, zone, q, now, rng),
            _ => refuse(ResponseCode::Refused),
        },
    };
    reply.metadata.response_code = found.code;
    reply.metadata.authoritative = matches!(found.code, ResponseCode::NoError | ResponseCode::NXDomain);
    fit(reply, found, usize::from(limit))
}

fn refuse(code: ResponseCode) -> Answer {
    Answer { code, ..Answer::default() }
}

/// As much of the answer as `limit` bytes take.
fn fit(mut reply: Message, mut found: Answer, limit: usize) -> Message {
    // What cannot fit whatever it is, is not even tried: the cost of an answer is bounded by its limit.
    let most = (limit / RECORD_MIN).min(TCP_ANSWERS_MAX);
    let cut = found.answers.len() > most;
    found.answers.truncate(most);
    found.additionals.truncate(most);
    let Answer { answers, authorities, additionals, .. } = found;
    reply.metadata.truncation = cut;
    reply.authorities = authorities;
    let fits = |m: &Message| m.to_vec().is_ok_and(|b| b.len() <= limit);

    reply.answers = answers;
    reply.additionals.clone_from(&additionals);
    if fits(&reply) {
        return reply;
    }
    reply.additionals.clear();
    if fits(&reply) {
        let most = largest(additionals.len(), |n| fits(&with_additionals(&reply, &additionals[..n])));
        return with_additionals(&reply, &additionals[..most]);
    }
    let answers = std::mem::take(&mut reply.answers);
    reply.metadata.truncation = true;
    let most = largest(answers.len(), |n| fits(&with_answers(&reply, &answers[..n])));
    with_answers(&reply, &answers[..most])
}

fn with_answers(reply: &Message, answers: &[Record]) -> Message {
    let mut next = reply.clone();
    next.answers = answers.to_vec();
    next
}

fn with_additionals(reply: &Message, additionals: &[Record]) -> Message {
    let mut next = reply.clone();
    next.additionals = additionals.to_vec();
    next
}

/// The largest `n` up to `max` for which `holds`, which gets harder as `n` grows; 0 when none does.
fn largest(max: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, max);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if holds(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}
