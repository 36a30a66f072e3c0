//! Rust's text taken apart into code, comments and strings: as much of a lexer
//! as the checks need.

/// A Rust file taken apart.
pub struct Lexed {
    /// The words and marks of the code, without comments and literals' insides.
    pub tokens: Vec<Token>,
    /// The comments, each on its line; everything else is blank.
    pub comments: String,
}

/// A word (identifier, keyword, number) or a single mark of punctuation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    /// Counted from 1.
    pub line: usize,
}

impl Lexed {
    pub fn new(source: &str) -> Lexed {
        let mut splitter = Splitter {
            source: source.chars().collect(),
            at: 0,
            code: String::with_capacity(source.len()),
            comments: String::with_capacity(source.len()),
        };
        splitter.run();
        Lexed { tokens: tokens(&splitter.code), comments: splitter.comments }
    }

    /// Do the tokens from `index` on read so?
    pub fn reads(&self, index: usize, words: &[&str]) -> bool {
        let found = self.tokens[index..].iter().map(|token| token.text.as_str());
        self.tokens.len() - index >= words.len() && found.zip(words).all(|(a, b)| a == *b)
    }

    /// The indices from which on the tokens read so.
    pub fn find(&self, words: &[&str]) -> impl Iterator<Item = usize> {
        (0..self.tokens.len()).filter(move |index| self.reads(*index, words))
    }

    /// Does `#![word(argument)]` stand in it?
    pub fn has_inner_attribute(&self, word: &str, argument: &str) -> bool {
        self.find(&["#", "!", "[", word, "(", argument, ")", "]"]).next().is_some()
    }

    /// The index of the `}` that closes the `{` at `open`, or the last index.
    pub fn closing(&self, open: usize) -> usize {
        let mut depth = 0;
        for (index, token) in self.tokens.iter().enumerate().skip(open) {
            match token.text.as_str() {
                "{" => depth += 1,
                "}" if depth == 1 => return index,
                "}" => depth -= 1,
                _ => {}
            }
        }
        self.tokens.len().saturating_sub(1)
    }

    /// The last index of the item that begins at `start`: its `;` or its `}`.
    pub fn item_end(&self, start: usize) -> usize {
        let mut depth = 0;
        for (index, token) in self.tokens.iter().enumerate().skip(start) {
            match token.text.as_str() {
                "(" | "[" => depth += 1,
                ")" | "]" => depth -= 1,
                ";" if depth == 0 => return index,
                "{" if depth == 0 => return self.closing(index),
                _ => {}
            }
        }
        self.tokens.len().saturating_sub(1)
    }
}

struct Splitter {
    source: Vec<char>,
    at: usize,
    code: String,
    comments: String,
}

impl Splitter {
    fn run(&mut self) {
        while self.at < self.source.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '/') => self.line_comment(),
                ('/', '*') => self.block_comment(),
                ('"', _) => self.string(),
                ('\'', _) => self.quote(),
                ('r', '#' | '"') if self.is_raw_string() => self.raw_string(),
                _ => self.take_code(),
            }
        }
    }

    fn peek(&self, ahead: usize) -> char {
        self.source.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn take_code(&mut self) {
        let c = self.peek(0);
        self.code.push(c);
        self.comments.push(if c == '\n' { '\n' } else { ' ' });
        self.at += 1;
    }

    fn take_comment(&mut self) {
        let c = self.peek(0);
        self.comments.push(c);
        self.code.push(if c == '\n' { '\n' } else { ' ' });
        self.at += 1;
    }

    /// Leaves a character out of both, but for the lines.
    fn skip(&mut self) {
        let blank = if self.peek(0) == '\n' { '\n' } else { ' ' };
        self.code.push(blank);
        self.comments.push(blank);
        self.at += 1;
    }

    fn line_comment(&mut self) {
        while self.at < self.source.len() && self.peek(0) != '\n' {
            self.take_comment();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.source.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.take_comment();
                    continue;
                }
            }
            self.take_comment();
            self.take_comment();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.skip();
        while self.at < self.source.len() {
            match self.peek(0) {
                '\\' => self.skip(),
                '"' => return self.skip(),
                _ => {}
            }
            self.skip();
        }
    }

    /// A character literal, or else a lifetime, which is code.
    fn quote(&mut self) {
        if self.peek(1) == '\\' {
            // The quote, the backslash and what it escapes, which may be a quote.
            (0..3).for_each(|_| self.skip());
            while self.at < self.source.len() && self.peek(0) != '\'' {
                self.skip();
            }
            self.skip();
        } else if self.peek(2) == '\'' {
            (0..3).for_each(|_| self.skip());
        } else {
            self.take_code();
        }
    }

    /// At an `r`: `r"`, `br#"`, but neither `r#keyword` nor the end of a word.
    fn is_raw_string(&self) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let before = |back: usize| self.at.checked_sub(back).map_or(' ', |i| self.source[i]);
        let starts = match before(1) {
            'b' | 'c' => !is_word(before(2)),
            c => !is_word(c),
        };
        let hashes = self.source[self.at + 1..].iter().take_while(|c| **c == '#').count();
        starts && self.peek(1 + hashes) == '"'
    }

    fn raw_string(&mut self) {
        let hashes = self.source[self.at + 1..].iter().take_while(|c| **c == '#').count();
        (0..hashes + 2).for_each(|_| self.skip());
        while self.at < self.source.len() {
            let ends = self.peek(0) == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == '#');
            self.skip();
            if ends {
                (0..hashes).for_each(|_| self.skip());
                return;
            }
        }
    }
}

fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (index, text) in code.lines().enumerate() {
        let line = index + 1;
        let mut word = String::new();
        for c in text.chars().chain([' ']) {
            if c.is_alphanumeric() || c == '_' {
                word.push(c);
                continue;
            }
            if !word.is_empty() {
                tokens.push(Token { text: std::mem::take(&mut word), line });
            }
            if !c.is_whitespace() {
                tokens.push(Token { text: c.to_string(), line });
            }
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        Lexed::new(source).tokens.into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let source = "a /* x /* y */ z */ b // c\n\"d\\\"e\" f 'g' '\\'' h 'i' b\"j\" k";
        assert_eq!(words(source), ["a", "b", "f", "h", "b", "k"]);
        let lexed = Lexed::new(source);
        assert!(lexed.comments.contains("/* x /* y */ z */"), "{}", lexed.comments);
        assert!(lexed.comments.contains("// c"));
        assert!(!lexed.comments.contains('d'));
    }

    #[test]
    fn raw_strings_end_at_as_many_hashes() {
        assert_eq!(words(r###"a r#"b " unsafe"# c br"d" e"###), ["a", "c", "b", "e"]);
        assert_eq!(words("for r#type in bar\"x\""), ["for", "r", "#", "type", "in", "bar"]);
    }

    #[test]
    fn lifetimes_are_code_and_lines_are_counted() {
        assert_eq!(words("&'a str"), ["&", "'", "a", "str"]);
        let lexed = Lexed::new("a\n\"s\n s\"\n/* c\n */ b");
        let lines: Vec<usize> = lexed.tokens.iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 5]);
    }

    #[test]
    fn items_end_at_their_brace_or_semicolon() {
        let lexed = Lexed::new("fn a(x: [u8; 2]) { { } } b");
        assert_eq!(lexed.item_end(0), lexed.tokens.len() - 2);
        let lexed = Lexed::new("mod a; b");
        assert_eq!(lexed.item_end(0), 2);
    }
}
