use std::fmt::{self, Write as _};

/// Makes one line of the text of a foreign error: not too long, without characters that control a
/// terminal, and of each URL in it the scheme, host and port alone.
pub(crate) struct Line {
    text: String,
    state: State,
}

/// How many bytes of a text are kept.
const LONGEST: usize = 200;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Text,
    /// What follows `://`, from this byte on; it may turn out to be userinfo.
    Authority(usize),
    /// The path and query of a URL.
    Rest,
    Full,
}

impl Line {
    pub(crate) fn of(text: impl fmt::Display) -> Box<str> {
        let mut line = Self {
            text: String::new(),
            state: State::Text,
        };
        // An error that cannot be shown has no text.
        let _ = write!(line, "{text}");
        line.text.into_boxed_str()
    }

    fn push(&mut self, char: char) {
        match self.state {
            State::Full => return,
            State::Rest if !ends_url(char) => return,
            State::Rest => self.state = State::Text,
            State::Authority(start) => match char {
                '@' => {
                    self.text.truncate(start);
                    return;
                }
                '/' | '?' | '#' | '\\' => {
                    self.text.push_str("/…");
                    self.state = State::Rest;
                    return;
                }
                char if ends_url(char) => self.state = State::Text,
                _ => {}
            },
            State::Text => {}
        }
        if self.text.len().saturating_add(char.len_utf8()) > LONGEST {
            if let State::Authority(start) = self.state {
                self.text.truncate(start);
            }
            self.text.push('…');
            self.state = State::Full;
            return;
        }
        let shown = if char.is_control() { ' ' } else { char };
        self.text.push(shown);
        if self.state == State::Text && self.text.ends_with("://") {
            self.state = State::Authority(self.text.len());
        }
    }
}

fn ends_url(char: char) -> bool {
    char.is_whitespace() || matches!(char, '"' | '<' | '>' | '`' | ')')
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            self.push(char);
            if self.state == State::Full {
                // The rest of an endless text is not asked for.
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_one_line_and_a_url_an_origin() {
        for (text, line) in [
            ("connection reset", "connection reset"),
            ("two\nlines\u{1b}[31m", "two lines [31m"),
            ("url (http://a/b?c=d): no", "url (http://a/…): no"),
            ("https://u:p@h:1", "https://h:1"),
            ("https://u:p@h:1 x", "https://h:1 x"),
            ("\"http://[::1]:80/a'b\"", "\"http://[::1]:80/…\""),
            ("http://h?q=1#f", "http://h/…"),
            ("a://b/c d://e/f", "a://b/… d://e/…"),
        ] {
            assert_eq!(&*Line::of(text), line, "{text}");
        }
    }

    #[test]
    fn a_text_is_cut_between_characters_and_shows_no_half_of_a_password() {
        let long = Line::of("ü".repeat(500));
        assert!(long.len() <= LONGEST + '…'.len_utf8() && long.ends_with("ü…"));
        let long = Line::of(format!("http://user:{}@host/", "secret".repeat(100)));
        assert_eq!(&*long, "http://…");
    }
}
