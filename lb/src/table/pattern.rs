//! Host patterns that are not a plain `*.suffix`: `*` is any text, dots included, and `?` any one character.

#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    reversed: String,
}

impl Pattern {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), reversed: text.chars().rev().collect() }
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The pattern from its end, which orders patterns by how deep in the domain they go.
    #[must_use]
    pub fn reversed(&self) -> &str {
        &self.reversed
    }

    /// Whether the whole of `host` matches. Linear in practice: only the last `*` is ever tried again.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        let (p, h) = (self.text.as_bytes(), host.as_bytes());
        let (mut i, mut j) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while j < h.len() {
            match p.get(i) {
                Some(b'*') => {
                    star = Some((i, j));
                    i += 1;
                }
                Some(c) if *c == b'?' || *c == h[j] => {
                    i += 1;
                    j += 1;
                }
                _ => match &mut star {
                    Some((at, taken)) => {
                        *taken += 1;
                        i = *at + 1;
                        j = *taken;
                    }
                    None => return false,
                },
            }
        }
        p[i..].iter().all(|c| *c == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        let m = |p: &str, h: &str| Pattern::new(p).matches(h);
        assert!(m("a*.com", "abc.x.com") && m("*", "") && m("*a*b", "xayaab") && m("a?c", "abc"));
        assert!(!m("a*.com", "b.com") && !m("a?c", "ac") && !m("", "a") && !m("*a", "ab"));
    }
}
