//! The grammar of filter expressions, by recursive descent: `or` binds loosest, then `and`, then `not`.

use super::{Error, Expr, MAX_DEPTH, Test, regex};

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A bare word: a selector, a keyword, a number or an unquoted value.
    Word(String),
    Quoted(String),
    /// `==`, `!=`, `(`, `)`, `.`, `[`, `]`.
    Mark(&'static str),
}

pub(super) fn expression(text: &str) -> Result<Expr, Error> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, end: text.chars().count() + 1 };
    let expr = parser.or(0)?;
    match parser.peek() {
        None => Ok(expr),
        Some(_) => Err(parser.wrong("\"and\", \"or\" or the end")),
    }
}

const MARKS: [&str; 7] = ["==", "!=", "(", ")", ".", "[", "]"];

/// Tokens with their column, counted from 1.
fn tokens(text: &str) -> Result<Vec<(Token, usize)>, Error> {
    let chars: Vec<char> = text.chars().collect();
    let mut out = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let (c, column) = (chars[i], i + 1);
        if c.is_whitespace() {
            i += 1;
        } else if c == '"' || c == '`' {
            let (value, next) = quoted(&chars, i)?;
            out.push((Token::Quoted(value), column));
            i = next;
        } else if let Some(mark) =
            MARKS.iter().find(|m| m.chars().enumerate().all(|(n, k)| chars.get(i + n) == Some(&k)))
        {
            out.push((Token::Mark(mark), column));
            i += mark.len();
        } else if is_word(c) {
            let start = i;
            let number = c.is_ascii_digit() || c == '-';
            // A dot parts selectors but belongs to numbers.
            while i < chars.len() && (is_word(chars[i]) || (number && chars[i] == '.')) {
                i += 1;
            }
            out.push((Token::Word(chars[start..i].iter().collect()), column));
        } else {
            return Err(Error::Syntax {
                wanted: "a selector, a value or an operator",
                column,
                found: format!("{c:?}"),
            });
        }
    }
    Ok(out)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | ':')
}

/// The text of a quoted value that begins at `start`, and where it ends. Backquotes know no escapes.
fn quoted(chars: &[char], start: usize) -> Result<(String, usize), Error> {
    let quote = chars[start];
    let mut value = String::new();
    let mut i = start + 1;
    while let Some(&c) = chars.get(i) {
        if c == quote {
            return Ok((value, i + 1));
        }
        if c == '\\' && quote == '"' {
            i += 1;
            match chars.get(i) {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some(&escaped @ ('"' | '\\')) => value.push(escaped),
                // Left as written: regular expressions are full of backslashes.
                Some(&other) => value.extend(['\\', other]),
                None => break,
            }
        } else {
            value.push(c);
        }
        i += 1;
    }
    Err(Error::Syntax { wanted: "a closing quote", column: chars.len() + 1, found: "the end".into() })
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    end: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(t, _)| t)
    }

    fn wrong(&self, wanted: &'static str) -> Error {
        let (column, found) = match self.tokens.get(self.at) {
            None => (self.end, "the end".to_owned()),
            Some((Token::Word(w) | Token::Quoted(w), column)) => (*column, format!("{w:?}")),
            Some((Token::Mark(m), column)) => (*column, format!("{m:?}")),
        };
        Error::Syntax { wanted, column, found }
    }

    fn word(&mut self, word: &str) -> bool {
        let yes = matches!(self.peek(), Some(Token::Word(w)) if w == word);
        self.at += usize::from(yes);
        yes
    }

    fn mark(&mut self, mark: &str) -> bool {
        let yes = matches!(self.peek(), Some(Token::Mark(m)) if *m == mark);
        self.at += usize::from(yes);
        yes
    }

    fn or(&mut self, depth: usize) -> Result<Expr, Error> {
        let mut left = self.and(depth)?;
        while self.word("or") {
            left = Expr::Or(Box::new(left), Box::new(self.and(depth)?));
        }
        Ok(left)
    }

    fn and(&mut self, depth: usize) -> Result<Expr, Error> {
        let mut left = self.not(depth)?;
        while self.word("and") {
            left = Expr::And(Box::new(left), Box::new(self.not(depth)?));
        }
        Ok(left)
    }

    fn not(&mut self, depth: usize) -> Result<Expr, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        if self.word("not") {
            return Ok(Expr::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.mark("(") {
            let inner = self.or(depth + 1)?;
            return if self.mark(")") { Ok(inner) } else { Err(self.wrong("\")\"")) };
        }
        self.test()
    }

    fn test(&mut self) -> Result<Expr, Error> {
        let start = self.at;
        // `value in selector`, where the value may be a bare word.
        if matches!(self.peek(), Some(Token::Word(_) | Token::Quoted(_))) {
            let value = self.value()?;
            let negated = self.word("not");
            if self.word("in") {
                return Ok(Expr::Test { selector: self.selector()?, test: Test::Holds(value), negated });
            }
            self.at = start;
        }
        let selector = self.selector()?;
        let (test, negated) = self.operator()?;
        Ok(Expr::Test { selector, test, negated })
    }

    fn operator(&mut self) -> Result<(Test, bool), Error> {
        if self.mark("==") {
            return Ok((Test::Equals(self.value()?), false));
        }
        if self.mark("!=") {
            return Ok((Test::Equals(self.value()?), true));
        }
        if self.word("is") {
            let negated = self.word("not");
            return if self.word("empty") { Ok((Test::Empty, negated)) } else { Err(self.wrong("\"empty\"")) };
        }
        let negated = self.word("not");
        if self.word("contains") {
            return Ok((Test::Holds(self.value()?), negated));
        }
        if self.word("matches") {
            return Ok((Test::Matches(regex(&self.value()?)?), negated));
        }
        Err(self.wrong("an operator (==, !=, in, contains, matches, is empty)"))
    }

    fn value(&mut self) -> Result<String, Error> {
        match self.peek() {
            Some(Token::Word(w) | Token::Quoted(w)) => {
                let value = w.clone();
                self.at += 1;
                Ok(value)
            }
            _ => Err(self.wrong("a value")),
        }
    }

    fn selector(&mut self) -> Result<Vec<String>, Error> {
        let mut parts = match self.peek() {
            Some(Token::Word(w)) => vec![w.clone()],
            Some(Token::Quoted(p)) if p.starts_with('/') && p.len() > 1 => {
                p[1..].split('/').map(|s| s.replace("~1", "/").replace("~0", "~")).collect()
            }
            _ => return Err(self.wrong("a selector")),
        };
        self.at += 1;
        loop {
            if self.mark(".") {
                match self.peek() {
                    Some(Token::Word(w)) => parts.push(w.clone()),
                    _ => return Err(self.wrong("a field name")),
                }
                self.at += 1;
            } else if self.mark("[") {
                match self.peek() {
                    Some(Token::Quoted(w)) => parts.push(w.clone()),
                    _ => return Err(self.wrong("a quoted key")),
                }
                self.at += 1;
                if !self.mark("]") {
                    return Err(self.wrong("\"]\""));
                }
            } else {
                return Ok(parts);
            }
        }
    }
}
