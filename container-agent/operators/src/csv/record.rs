//! Finding the fields of one record.

use super::Mistake;

/// Bytes of a field within the record, without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub begin: usize,
    pub end: usize,
    pub quoted: bool,
    /// Holds `""`.
    pub escaped: bool,
}

/// How fields are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    pub delimiter: u8,
    /// Quotes may surround fields.
    pub quoting: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Scan {
    /// Length including the line break.
    Record { length: usize },
    /// The bytes end before the record does.
    More,
}

/// Finds the first record of `bytes` and its fields. `last`: nothing comes after `bytes`.
pub fn scan(bytes: &[u8], dialect: Dialect, last: bool, fields: &mut Vec<Field>) -> Result<Scan, (usize, Mistake)> {
    fields.clear();
    let delimiter = dialect.delimiter;
    // Most records have no quotes: one look finds their end.
    let found = if dialect.quoting { memchr::memchr2(b'\n', b'"', bytes) } else { memchr::memchr(b'\n', bytes) };
    match found {
        Some(at) if bytes[at] == b'\n' => {
            split_plain(&bytes[..at], delimiter, fields);
            Ok(Scan::Record { length: at + 1 })
        }
        None if last => {
            split_plain(bytes, delimiter, fields);
            Ok(Scan::Record { length: bytes.len() })
        }
        None => Ok(Scan::More),
        Some(_) => scan_quoted(bytes, delimiter, last, fields),
    }
}

fn split_plain(line: &[u8], delimiter: u8, fields: &mut Vec<Field>) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut begin = 0;
    for end in memchr::memchr_iter(delimiter, line) {
        fields.push(Field { begin, end, quoted: false, escaped: false });
        begin = end + 1;
    }
    fields.push(Field { begin, end: line.len(), quoted: false, escaped: false });
}

fn scan_quoted(bytes: &[u8], delimiter: u8, last: bool, fields: &mut Vec<Field>) -> Result<Scan, (usize, Mistake)> {
    let mut at = 0;
    loop {
        if bytes.get(at) == Some(&b'"') {
            let begin = at + 1;
            let mut escaped = false;
            at = begin;
            let end = loop {
                match memchr::memchr(b'"', &bytes[at..]) {
                    None if last => return Err((begin - 1, Mistake::Unterminated)),
                    None => return Ok(Scan::More),
                    Some(n) => match bytes.get(at + n + 1) {
                        Some(b'"') => {
                            escaped = true;
                            at += n + 2;
                        }
                        None if !last => return Ok(Scan::More),
                        _ => break at + n,
                    },
                }
            };
            fields.push(Field { begin, end, quoted: true, escaped });
            at = end + 1;
            match bytes.get(at) {
                None => return Ok(Scan::Record { length: at }),
                Some(b'\n') => return Ok(Scan::Record { length: at + 1 }),
                Some(b'\r') => match bytes.get(at + 1) {
                    Some(b'\n') => return Ok(Scan::Record { length: at + 2 }),
                    None if !last => return Ok(Scan::More),
                    _ => return Err((at, Mistake::AfterQuote)),
                },
                Some(c) if *c == delimiter => at += 1,
                Some(_) => return Err((at, Mistake::AfterQuote)),
            }
        } else {
            let begin = at;
            let next = memchr::memchr3(delimiter, b'\n', b'"', &bytes[at..]);
            if let Some(n) = next
                && bytes[at + n] == b'"'
            {
                return Err((at + n, Mistake::StrayQuote));
            }
            match next {
                Some(n) if bytes[at + n] == b'\n' => {
                    let end = at + n;
                    let text = bytes[begin..end].strip_suffix(b"\r").map_or(end, |t| begin + t.len());
                    fields.push(Field { begin, end: text, quoted: false, escaped: false });
                    return Ok(Scan::Record { length: end + 1 });
                }
                Some(n) => {
                    fields.push(Field { begin, end: at + n, quoted: false, escaped: false });
                    at += n + 1;
                }
                None if last => {
                    let end = bytes.len();
                    let text = bytes[begin..end].strip_suffix(b"\r").map_or(end, |t| begin + t.len());
                    fields.push(Field { begin, end: text, quoted: false, escaped: false });
                    return Ok(Scan::Record { length: end });
                }
                None => return Ok(Scan::More),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMA: Dialect = Dialect { delimiter: b',', quoting: true };

    fn texts(bytes: &str) -> Vec<(String, bool)> {
        let mut fields = Vec::new();
        scan(bytes.as_bytes(), COMMA, true, &mut fields).unwrap();
        fields.iter().map(|f| (bytes[f.begin..f.end].to_owned(), f.quoted)).collect()
    }

    #[test]
    fn fields_are_found_with_and_without_quotes() {
        assert_eq!(texts("a,,b\r\nx"), [("a".into(), false), (String::new(), false), ("b".into(), false)]);
        assert_eq!(
            texts("a,\"b,\n\"\"c\",5\n"),
            [("a".into(), false), ("b,\n\"\"c".into(), true), ("5".into(), false)]
        );
        assert_eq!(texts("\"a\"\r\n"), [("a".into(), true)]);
        let mut fields = Vec::new();
        assert_eq!(scan(b"a,\"b", COMMA, false, &mut fields), Ok(Scan::More));
        assert_eq!(scan(b"a,\"b", COMMA, true, &mut fields), Err((2, Mistake::Unterminated)));
        assert_eq!(scan(b"a,\"b\"c\n", COMMA, true, &mut fields), Err((5, Mistake::AfterQuote)));
        assert_eq!(scan(b"a,\"b\",5\"\n", COMMA, true, &mut fields), Err((7, Mistake::StrayQuote)));
        let plain = Dialect { quoting: false, ..COMMA };
        assert_eq!(scan(b"\"a,b\n\"", plain, true, &mut fields), Ok(Scan::Record { length: 5 }));
    }
}
