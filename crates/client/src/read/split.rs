use bytes::{Buf, Bytes, BytesMut};

/// Splits bytes into lines, in whatever pieces they come. At most one line is buffered.
#[derive(Debug)]
pub(super) struct Splitter {
    ends: Ends,
    limit: usize,
    /// The beginning of a line whose end has not come yet.
    partial: BytesMut,
    /// Bytes that have come and were not searched yet.
    fresh: Bytes,
    /// Whether a line feed that comes next belongs to the end of the last line.
    after_return: bool,
}

/// What ends a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ends {
    /// A line feed, with or without a carriage return before it.
    Feed,
    /// Either of them, or both in this order.
    ReturnOrFeed,
}

/// A line is longer than the limit.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct TooLong;

impl Splitter {
    pub(super) fn new(ends: Ends, limit: usize) -> Self {
        Self {
            ends,
            limit,
            partial: BytesMut::new(),
            fresh: Bytes::new(),
            after_return: false,
        }
    }

    pub(super) fn limit(&mut self) -> &mut usize {
        &mut self.limit
    }

    /// Adds the next bytes; only once [`next`](Self::next) has no more lines.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.fresh = piece;
    }

    /// Returns the next line without its end; `None` if no whole line has come.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, TooLong> {
        if self.after_return && !self.fresh.is_empty() {
            self.after_return = false;
            if self.fresh.first() == Some(&b'\n') {
                self.fresh.advance(1);
            }
        }
        let is_end =
            |byte: &u8| *byte == b'\n' || (*byte == b'\r' && self.ends == Ends::ReturnOrFeed);
        let Some(at) = self.fresh.iter().position(is_end) else {
            // The last byte may be a carriage return, which does not count.
            if self.length_with(self.fresh.len()) > self.limit.saturating_add(1) {
                return Err(TooLong);
            }
            self.partial.extend_from_slice(&self.fresh);
            self.fresh.clear();
            return Ok(None);
        };
        if self.length_with(at) > self.limit.saturating_add(1) {
            return Err(TooLong);
        }
        let rest = self.fresh.split_to(at);
        self.after_return = self.fresh.first() == Some(&b'\r');
        self.fresh.advance(1);
        self.whole(rest).map(Some)
    }

    /// Returns the rest at the end of the body: a line without an end of its own.
    pub(super) fn last(&mut self) -> Result<Option<Bytes>, TooLong> {
        if self.partial.is_empty() {
            return Ok(None);
        }
        let line = self.partial.split().freeze();
        self.bounded(line).map(Some)
    }

    fn length_with(&self, more: usize) -> usize {
        self.partial.len().saturating_add(more)
    }

    fn whole(&mut self, rest: Bytes) -> Result<Bytes, TooLong> {
        let mut line = if self.partial.is_empty() {
            rest
        } else {
            self.partial.extend_from_slice(&rest);
            self.partial.split().freeze()
        };
        if self.ends == Ends::Feed && line.last() == Some(&b'\r') {
            line.truncate(line.len().saturating_sub(1));
        }
        self.bounded(line)
    }

    fn bounded(&self, line: Bytes) -> Result<Bytes, TooLong> {
        if line.len() > self.limit {
            return Err(TooLong);
        }
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(ends: Ends, limit: usize, pieces: &[&[u8]]) -> Result<Vec<Bytes>, TooLong> {
        let mut splitter = Splitter::new(ends, limit);
        let mut lines = Vec::new();
        for piece in pieces {
            splitter.push(Bytes::copy_from_slice(piece));
            while let Some(line) = splitter.next()? {
                lines.push(line);
            }
        }
        lines.extend(splitter.last()?);
        Ok(lines)
    }

    #[test]
    fn lines_end_where_they_should() {
        use Ends::{Feed, ReturnOrFeed};
        for (ends, text, expected) in [
            (Feed, &b""[..], &[][..]),
            (Feed, b"a", &[&b"a"[..]]),
            (Feed, b"a\n", &[b"a"]),
            (Feed, b"a\nb\r\nc", &[b"a", b"b", b"c"]),
            (Feed, b"\n\r\n\n", &[b"", b"", b""]),
            (Feed, b"a\rb\r\r\nc\r", &[b"a\rb\r", b"c\r"]),
            (ReturnOrFeed, b"a\rb\nc\r\nd", &[b"a", b"b", b"c", b"d"]),
            (ReturnOrFeed, b"\r\r\n\n\n\r", &[b"", b"", b"", b"", b""]),
        ] {
            let split: Vec<_> = text.chunks(1).collect();
            assert_eq!(lines(ends, 10, &[text]).unwrap(), expected, "{text:?}");
            assert_eq!(lines(ends, 10, &split).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_of_the_limit_passes_and_a_longer_one_does_not() {
        for (text, passes) in [
            (&b"abc\nd"[..], true),
            (b"abc\r\nd", true),
            (b"abc", true),
            (b"abcd\n", false),
            (b"abcd\r\n", false),
            (b"abcd", false),
            (b"abc\rd\n", false),
        ] {
            let split: Vec<_> = text.chunks(1).collect();
            for pieces in [&[text][..], &split] {
                let read = lines(Ends::Feed, 3, pieces);
                assert_eq!(read.is_ok(), passes, "{text:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_split(
            text in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..80),
            pieces in 1_usize..9,
            limit in 0_usize..40,
            ends in prop_oneof![Just(Ends::Feed), Just(Ends::ReturnOrFeed)],
        ) {
            let split: Vec<_> = text.chunks(pieces).collect();
            assert_eq!(lines(ends, limit, &split), lines(ends, limit, &[&text]));
        }
    }
}
