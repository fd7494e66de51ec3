//! Packets: what is refused before it is read, and how an answer is made to fit.
//!
//! Never answers an answer, never looks at a packet that does not hold exactly one question. An answer that is too
//! long loses its additional records first, then answers, and then says so (TC).

use hickory_proto::{
    op::{Edns, Message, OpCode, ResponseCode},
    rr::{DNSClass, Record, RecordType},
};
use model::State;
use rand::Rng;
use tracing::warn;

use super::answer::{Answer, Zone, answer};

/// Bytes of a DNS header.
const HEADER: usize = 12;
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

/// The answer to one packet; `None` when it deserves none.
#[must_use]
pub fn respond<R: Rng>(
    state: &State,
    zone: &Zone,
    packet: &[u8],
    transport: Transport,
    now: u32,
    rng: &mut R,
) -> Option<Vec<u8>> {
    let header = packet.get(..HEADER)?;
    let is_response = header[2] & 0x80 != 0;
    if is_response {
        return None;
    }
    if (header[2] >> 3) & 0x0f != 0 {
        return Some(bare(header, ResponseCode::NotImp));
    }
    // Counted before anything is read, because reading trusts the counts.
    if u16::from_be_bytes([header[4], header[5]]) != 1 {
        return Some(bare(header, ResponseCode::FormErr));
    }
    let Ok(query) = Message::from_vec(packet) else { return Some(bare(header, ResponseCode::FormErr)) };
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.queries.clone_from(&query.queries);
    let mut limit = match transport {
        Transport::Udp => UDP_PLAIN,
        Transport::Tcp => u16::MAX,
    };
    if let Some(edns) = &query.edns {
        let mut ours = Edns::new();
        ours.set_max_payload(UDP_MAX).set_version(0).set_dnssec_ok(edns.flags().dnssec_ok);
        reply.set_edns(ours);
        if transport == Transport::Udp {
            limit = edns.max_payload().clamp(UDP_PLAIN, UDP_MAX);
        }
        if edns.version() > 0 {
            reply.metadata.response_code = ResponseCode::BADVERS;
            return encode(&reply);
        }
    }
    let question = query.queries.first()?;
    let found = match (question.query_class(), question.query_type()) {
        (_, RecordType::AXFR | RecordType::IXFR) => refuse(ResponseCode::NotImp),
        (DNSClass::IN | DNSClass::ANY, _) => answer(state, zone, question, now, rng),
        _ => refuse(ResponseCode::Refused),
    };
    reply.metadata.response_code = found.code;
    reply.metadata.authoritative = matches!(found.code, ResponseCode::NoError | ResponseCode::NXDomain);
    fit(reply, found, usize::from(limit))
}

fn refuse(code: ResponseCode) -> Answer {
    Answer { code, ..Answer::default() }
}

/// A header and nothing else, for packets that were not understood.
fn bare(header: &[u8], code: ResponseCode) -> Vec<u8> {
    let mut reply = vec![0; HEADER];
    reply[..2].copy_from_slice(&header[..2]);
    // Response, the same opcode, and whether recursion was desired.
    reply[2] = 0x80 | (header[2] & 0x79);
    reply[3] = code.low();
    reply
}

fn encode(message: &Message) -> Option<Vec<u8>> {
    match message.to_vec() {
        Ok(bytes) => Some(bytes),
        Err(e) => {
            warn!(error = %e, "DNS answer could not be written");
            let mut failed = Message::error_msg(message.metadata.id, OpCode::Query, ResponseCode::ServFail);
            failed.queries.clone_from(&message.queries);
            failed.to_vec().ok()
        }
    }
}

/// As much of the answer as `limit` bytes take.
fn fit(mut reply: Message, mut found: Answer, limit: usize) -> Option<Vec<u8>> {
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
    let whole = encode(&reply)?;
    if whole.len() <= limit {
        return Some(whole);
    }
    reply.additionals.clear();
    if fits(&reply) {
        let most = largest(additionals.len(), |n| fits(&with_additionals(&reply, &additionals[..n])));
        return encode(&with_additionals(&reply, &additionals[..most]));
    }
    let answers = std::mem::take(&mut reply.answers);
    reply.metadata.truncation = true;
    let most = largest(answers.len(), |n| fits(&with_answers(&reply, &answers[..n])));
    encode(&with_answers(&reply, &answers[..most]))
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
