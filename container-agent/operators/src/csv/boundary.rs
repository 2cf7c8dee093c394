//! Where does the first record of a split begin, when nobody has read what is before it?
//!
//! A split may begin inside of a quoted field. Both possibilities are followed over the bytes from the one before the split on:
//! each is dropped when it contradicts the grammar, when a record has the wrong number of fields, or when a record grows longer
//! than `max_record`, which is an error anyway. What is left, if it agrees with itself, is true; otherwise the split is refused.
//! The master compares where neighbours end and begin besides.

use super::record::Dialect;

/// State of the grammar before a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    FieldStart,
    Unquoted,
    Quoted,
    /// After a quote inside of quotes: the end, or the first half of `""`.
    AfterQuote,
    /// After that, `\r`.
    AfterReturn,
}

#[derive(Clone, Debug)]
struct Candidate {
    state: State,
    /// Where the first record after the boundary begins, once it is known.
    first: Option<usize>,
    fields: usize,
    record: usize,
    alive: bool,
    /// How far it made sense.
    lived: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Index of the first record's first byte in the bytes given.
    At(usize),
    /// No record begins in the bytes given, and none can before the file's end.
    None,
    /// More bytes are needed to tell.
    More,
    Ambiguous,
}

/// `bytes` begin one byte before the split. `last`: the file ends with them. `max_record` bounds how far this looks.
pub fn first_record(bytes: &[u8], dialect: Dialect, columns: usize, max_record: usize, last: bool) -> Found {
    let window = &bytes[..bytes.len().min(max_record.saturating_add(1))];
    // Without a quote within reach, the inside of a quoted field would be longer than a record may be.
    let has_quotes = dialect.quoting && memchr::memchr(b'"', window).is_some();
    if !has_quotes && (!dialect.quoting || last || window.len() > max_record) {
        return match memchr::memchr(b'\n', bytes) {
            Some(at) => At(at + 1, bytes.len(), last),
            None if last => Found::None,
            None => Found::More,
        };
    }
    let starts = [State::FieldStart, State::Unquoted, State::Quoted, State::AfterQuote];
    let mut candidates =
        starts.map(|state| Candidate { state, first: None, fields: 1, record: 0, alive: true, lived: 0 });
    for (at, byte) in window.iter().enumerate() {
        for candidate in candidates.iter_mut().filter(|c| c.alive) {
            candidate.lived = at;
            candidate.step(*byte, at, dialect.delimiter, columns, max_record);
        }
    }
    let ended = last && window.len() == bytes.len();
    if ended {
        for candidate in &mut candidates {
            // Nobody closes the quotes any more.
            candidate.alive &= candidate.state != State::Quoted;
        }
    }
    let mut alive: Vec<&Candidate> = candidates.iter().filter(|c| c.alive).collect();
    if alive.is_empty() {
        // The file is malformed ahead. Whoever made sense for longest leads to the mistake, and its place is told there.
        let longest = candidates.iter().map(|c| c.lived).max();
        alive = candidates.iter().filter(|c| Some(c.lived) == longest && c.first.is_some()).collect();
    }
    let first = alive.first().and_then(|c| c.first);
    let agree = alive.iter().all(|c| c.first == first);
    match first {
        Some(at) if agree => At(at, bytes.len(), last),
        _ if alive.is_empty() => Found::Ambiguous,
        None if agree && ended => Found::None,
        _ if ended || window.len() > max_record => Found::Ambiguous,
        _ => Found::More,
    }
}

/// A record cannot begin at the file's end.
#[allow(non_snake_case)]
fn At(at: usize, length: usize, last: bool) -> Found {
    if last && at >= length { Found::None } else { Found::At(at) }
}

impl Candidate {
    fn step(&mut self, byte: u8, at: usize, delimiter: u8, columns: usize, max_record: usize) {
        self.record += 1;
        if self.record > max_record {
            self.alive = false;
            return;
        }
        self.state = match (self.state, byte) {
            (State::Quoted, b'"') => State::AfterQuote,
            (State::Quoted, _) => State::Quoted,
            (State::AfterQuote, b'"') => State::Quoted,
            (State::FieldStart, b'"') => State::Quoted,
            (_, b'\n') => {
                // An empty line is skipped in files of several columns.
                let is_empty = self.record == 1;
                if self.first.is_some() && self.fields != columns && !(is_empty && columns > 1) {
                    self.alive = false;
                    return;
                }
                self.first.get_or_insert(at + 1);
                self.fields = 1;
                self.record = 0;
                State::FieldStart
            }
            (State::AfterReturn, _) => {
                self.alive = false;
                return;
            }
            (_, byte) if byte == delimiter => {
                self.fields += 1;
                State::FieldStart
            }
            (State::AfterQuote, b'\r') => State::AfterReturn,
            (State::AfterQuote, _) => {
                self.alive = false;
                return;
            }
            (State::Unquoted, b'"') => {
                self.alive = false;
                return;
            }
            (State::FieldStart | State::Unquoted, _) => State::Unquoted,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, columns: usize) -> Found {
        first_record(text.as_bytes(), Dialect { delimiter: b',', quoting: true }, columns, 1 << 20, true)
    }

    #[test]
    fn a_boundary_inside_of_quotes_is_recognised() {
        assert_eq!(find("x,y\n1,2\n", 2), Found::At(4));
        // Read from the middle of `"a\nb",1` on, only the inside makes sense of the quote.
        assert_eq!(find("a\nb\",1\n2,3\n\"x\",4\n", 2), Found::At(7));
        assert_eq!(find("x,y", 2), Found::None);
        assert_eq!(find("x,y\n", 2), Found::None);
    }

    #[test]
    fn a_mistake_ahead_does_not_hide_where_the_first_record_begins() {
        assert_eq!(find("x,\"y\"\n1,\"2\"\n1,2,3\n4,5\n", 2), Found::At(6));
    }

    #[test]
    fn what_makes_sense_both_ways_is_refused() {
        // Every quote here may open a field or close one, and no end of file decides.
        let text = "a,\",b\nc,\",d\n".repeat(4);
        let dialect = Dialect { delimiter: b',', quoting: true };
        assert_eq!(first_record(text.as_bytes(), dialect, 3, 30, false), Found::Ambiguous);
    }
}
