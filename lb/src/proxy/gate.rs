//! Watches the bytes a client sends, and refuses messages that two servers could read differently.
//!
//! The HTTP parser behind it is lenient in places where the standard lets it be: a bare LF ends a line, a length is
//! dropped where there is also a chunked coding. Here a message has one reading or none. Pure: bytes in, verdict out;
//! how the bytes are split makes no difference.

/// A chunk's size line, extensions included.
const MAX_CHUNK_LINE: usize = 1024;
/// All trailers of one message.
const MAX_TRAILERS: usize = 8 * 1024;

/// The bytes of one connection, as far as they have come.
#[derive(Debug)]
pub struct Gate {
    state: State,
    /// The current line, as far as it came in earlier reads.
    line: Vec<u8>,
    head: Head,
    max_line: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Between requests, or inside a head.
    Head,
    /// So many bytes of a body to come.
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Bytes of trailers so far.
    Trailers(usize),
    /// No longer HTTP, or already known to be refused by the parser.
    Open,
}

/// What a head said of its message's length.
#[derive(Debug, Default)]
struct Head {
    started: bool,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

/// The bytes up to here are sound; what follows is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Where in the bytes just given the offending line begins.
    pub at: usize,
    /// Inside a head, which can still be answered.
    pub in_head: bool,
}

impl Gate {
    #[must_use]
    pub fn new(max_line: usize) -> Self {
        Self { state: State::Head, line: Vec::new(), head: Head::default(), max_line }
    }

    /// A head has begun and not ended.
    #[must_use]
    pub fn inside_head(&self) -> bool {
        self.state == State::Head && (self.head.started || !self.line.is_empty())
    }

    /// Take in what was read.
    pub fn watch(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match &mut self.state {
                State::Open => return Ok(()),
                State::Body(left) | State::ChunkData(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= taken as u64;
                    at += taken;
                    if *left == 0 {
                        self.state = if matches!(self.state, State::Body(_)) { State::Head } else { State::ChunkEnd };
                    }
                }
                _ => {
                    let Some(end) = rest.iter().position(|b| *b == b'\n') else {
                        return self.keep(rest).map_err(|()| self.refuse(at));
                    };
                    let (line, length) = (&rest[..=end], end + 1);
                    let whole = if self.line.is_empty() {
                        self.line_end(line)
                    } else {
                        self.line.extend_from_slice(line);
                        let kept = std::mem::take(&mut self.line);
                        self.line_end(&kept)
                    };
                    whole.map_err(|()| self.refuse(at))?;
                    at += length;
                }
            }
        }
        Ok(())
    }

    fn refuse(&self, at: usize) -> Refused {
        Refused { at, in_head: self.state == State::Head }
    }

    /// Keep the start of a line until its end comes.
    fn keep(&mut self, part: &[u8]) -> Result<(), ()> {
        let limit = match self.state {
            State::Head => self.max_line,
            _ => MAX_CHUNK_LINE,
        };
        if self.line.len() + part.len() <= limit {
            self.line.extend_from_slice(part);
            return Ok(());
        }
        if self.state == State::Head {
            // The parser answers 431 when its own limit is reached, and reads no further.
            self.state = State::Open;
            return Ok(());
        }
        Err(())
    }

    /// One line with its LF.
    fn line_end(&mut self, line: &[u8]) -> Result<(), ()> {
        let text = line.strip_suffix(b"\r\n").ok_or(())?;
        if text.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(());
        }
        match &mut self.state {
            State::Head => self.head_line(text),
            State::ChunkSize => {
                let size = chunk_size(text).ok_or(())?;
                self.state = if size == 0 { State::Trailers(0) } else { State::ChunkData(size) };
                Ok(())
            }
            State::ChunkEnd => {
                self.state = State::ChunkSize;
                text.is_empty().then_some(()).ok_or(())
            }
            State::Trailers(seen) => {
                *seen += line.len();
                if *seen > MAX_TRAILERS || text.starts_with(b" ") || text.starts_with(b"\t") {
                    return Err(());
                }
                if text.is_empty() {
                    self.state = State::Head;
                }
                Ok(())
            }
            // Not made of lines; `watch` never comes here.
            State::Body(_) | State::ChunkData(_) | State::Open => Ok(()),
        }
    }

    fn head_line(&mut self, text: &[u8]) -> Result<(), ()> {
        if !self.head.started {
            // A line end or two before a request is tolerated by everybody.
            self.head.started = !text.is_empty();
            // A fragment is for browsers; some servers cut the path there, others do not.
            return if text.contains(&b'#') { Err(()) } else { Ok(()) };
        }
        if text.is_empty() {
            let head = std::mem::take(&mut self.head);
            self.state = match head {
                Head { upgrade: true, .. } => State::Open,
                Head { chunked: true, .. } => State::ChunkSize,
                Head { length: Some(length @ 1..), .. } => State::Body(length),
                Head { .. } => State::Head,
            };
            return Ok(());
        }
        let colon = text.iter().position(|b| *b == b':').ok_or(())?;
        let (name, value) = (&text[..colon], text[colon + 1..].trim_ascii());
        if name.is_empty() || name.iter().any(|b| b.is_ascii_whitespace() || b.is_ascii_control()) {
            return Err(());
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.head.length.is_some() || self.head.chunked {
                return Err(());
            }
            self.head.length = Some(length(value).ok_or(())?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let sound = self.head.length.is_none() && !self.head.chunked && value.eq_ignore_ascii_case(b"chunked");
            if !sound {
                return Err(());
            }
            self.head.chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.head.upgrade = true;
        }
        Ok(())
    }
}

fn length(value: &[u8]) -> Option<u64> {
    // No sign, no list, no space: `parse` alone would take a plus.
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}

fn chunk_size(text: &[u8]) -> Option<u64> {
    let size = text.split(|b| *b == b';').next()?;
    let hex = (1..=15).contains(&size.len()) && size.iter().all(u8::is_ascii_hexdigit);
    (hex && text.len() <= MAX_CHUNK_LINE)
        .then(|| u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests;
