//! The gate: what passes, what does not, and that the split of the bytes makes no difference.

use proptest::prelude::*;

use super::*;

fn gate() -> Gate {
    Gate::new(1024)
}

fn verdict(bytes: &[u8]) -> Result<(), Refused> {
    gate().watch(bytes)
}

#[test]
fn sound_messages_pass() {
    for text in [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\nPOST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na\nbGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\n\r\n\0\n \r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\0anything\nat all\r",
        "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(verdict(text.as_bytes()), Ok(()), "{text:?}");
    }
}

#[test]
fn the_offending_line_is_pointed_out() {
    let good = "POST / HTTP/1.1\r\nContent-Length: 3\r\n";
    let refused = verdict(format!("{good}Transfer-Encoding: chunked\r\n\r\n").as_bytes());
    assert_eq!(refused, Err(Refused { at: good.len(), in_head: true }));
    let good = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(verdict(format!("{good}+5\r\n").as_bytes()), Err(Refused { at: good.len(), in_head: false }));
}

#[test]
fn heads_are_bounded_by_the_parser_and_the_rest_here() {
    let mut g = gate();
    assert_eq!(g.watch(&[b'a'; 2000]), Ok(()));
    assert!(!g.inside_head(), "left to the parser's own limit");
    let mut long = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;".to_vec();
    long.extend([b'x'; MAX_CHUNK_LINE + 1]);
    assert!(verdict(&long).is_err());
}

#[test]
fn it_knows_when_it_is_inside_a_head() {
    let mut g = gate();
    assert!(!g.inside_head());
    for (bytes, inside) in
        [("GE", true), ("T / HTTP/1.1\r\n", true), ("Content-Length: 2\r\n\r\n", false), ("ab", false), ("G", true)]
    {
        assert_eq!(g.watch(bytes.as_bytes()), Ok(()));
        assert_eq!(g.inside_head(), inside, "after {bytes:?}");
    }
}

proptest! {
    #[test]
    fn the_split_makes_no_difference(
        parts in proptest::collection::vec(prop_oneof![
            Just("POST / HTTP/1.1\r\n"), Just("Content-Length: 3\r\n"), Just("Transfer-Encoding: chunked\r\n"),
            Just("\r\n"), Just("abc"), Just("0\r\n"), Just("3\r\n"), Just("\n"), Just("X: y\r\n"), Just(" "), Just("\0"),
        ], 0..14),
        cut in 0usize..120,
    ) {
        let text = parts.concat();
        let bytes = text.as_bytes();
        let whole = verdict(bytes);
        let (a, b) = bytes.split_at(cut.min(bytes.len()));
        let mut g = gate();
        let first = g.watch(a);
        let split = if first.is_err() { first } else { g.watch(b) };
        prop_assert_eq!(whole.is_ok(), split.is_ok());
    }

    /// A length or coding that passes has exactly one reading.
    #[test]
    fn lengths_that_pass_are_plain_digits(value in "[ -~]{0,8}") {
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {value}\r\n");
        if verdict(head.as_bytes()).is_ok() {
            prop_assert!(!value.trim().is_empty() && value.trim().bytes().all(|b| b.is_ascii_digit()));
        }
    }
}
