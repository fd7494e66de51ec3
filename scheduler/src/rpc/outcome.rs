//! What became of a forwarded proposal, as bytes: a version byte, then postcard.

use model::{
    command::{Applied, Rejected},
    replica::ProposeError,
};
use serde::{Deserialize, Serialize};

const FORMAT: u8 = 1;

/// [`ProposeError`] on the wire. Append variants; never reorder them.
#[derive(Serialize, Deserialize)]
enum Failure {
    Rejected(Rejected),
    NoLeader,
    Unknown(String),
    Stopped(String),
}

pub fn encode(outcome: Result<Applied, ProposeError>) -> Result<Vec<u8>, postcard::Error> {
    let wire = outcome.map_err(|e| match e {
        ProposeError::Rejected(r) => Failure::Rejected(r),
        ProposeError::NoLeader => Failure::NoLeader,
        ProposeError::Unknown(text) => Failure::Unknown(text),
        ProposeError::Stopped(text) => Failure::Stopped(text),
    });
    postcard::to_extend(&wire, vec![FORMAT])
}

pub fn decode(bytes: &[u8]) -> Result<Applied, ProposeError> {
    let unreadable = |why: String| ProposeError::Unknown(format!("the server's answer could not be read: {why}"));
    let body = match bytes.split_first() {
        Some((&FORMAT, body)) => body,
        Some((found, _)) => return Err(unreadable(format!("format {found}, this agent knows {FORMAT}"))),
        None => return Err(unreadable("it is empty".to_owned())),
    };
    let wire: Result<Applied, Failure> = postcard::from_bytes(body).map_err(|e| unreadable(e.to_string()))?;
    wire.map_err(|f| match f {
        Failure::Rejected(r) => ProposeError::Rejected(r),
        Failure::NoLeader => ProposeError::NoLeader,
        Failure::Unknown(text) => ProposeError::Unknown(text),
        Failure::Stopped(text) => ProposeError::Stopped(text),
    })
}

#[cfg(test)]
mod tests {
    use model::{command::Reply, id::Index};

    use super::*;

    #[test]
    fn every_outcome_survives_the_wire() {
        let outcomes = [
            Ok(Applied { index: Index(7), reply: Reply::Kv { written: true, failed_op: None } }),
            Err(ProposeError::Rejected(Rejected::Conflict("no".into()))),
            Err(ProposeError::NoLeader),
            Err(ProposeError::Unknown("x".into())),
            Err(ProposeError::Stopped("disk full".into())),
        ];
        for outcome in outcomes {
            let shown = format!("{outcome:?}");
            assert_eq!(format!("{:?}", decode(&encode(outcome).unwrap())), shown);
        }
    }

    #[test]
    fn garbage_is_unknown_never_a_panic() {
        for bytes in [&b""[..], b"\x02", b"\x01", b"\x01\xff\xff\xff", b"\x01\x01\x09"] {
            assert!(matches!(decode(bytes), Err(ProposeError::Unknown(_))), "{bytes:?}");
        }
    }
}
