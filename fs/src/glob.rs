//! Hadoop's path patterns: `*`, `?`, `[a-c]`, `[^x]` and `{a,b}`, a folder at a time.

use futures::StreamExt;

use crate::{ErrorKind, FileStatus, FileSystem, FsError, Result};

/// True if the path has a character that means more than itself.
pub fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '[', '{'])
}

/// Every file that a path stands for, sorted by name: itself, the children of a folder, or what a pattern matches. Names that
/// begin with `_` or `.` are hidden, as in Hadoop's `FileInputFormat`. Nothing found is an error.
pub async fn expand(files: &dyn FileSystem, path: &str) -> Result<Vec<FileStatus>> {
    let mut found = Vec::new();
    for pattern in alternatives(path) {
        matching(files, &pattern, &mut found).await?;
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    if found.is_empty() {
        return Err(FsError::new(ErrorKind::NotFound, "find", path, "no file matches"));
    }
    Ok(found)
}

async fn matching(files: &dyn FileSystem, pattern: &str, found: &mut Vec<FileStatus>) -> Result<()> {
    let parts: Vec<&str> = pattern.split('/').filter(|p| !p.is_empty()).collect();
    let plain = parts.iter().take_while(|part| !is_pattern(part)).count();
    let mut folders = vec![format!("/{}", parts[..plain].join("/"))];
    for part in &parts[plain..] {
        let mut next = Vec::new();
        for folder in &folders {
            // A file in the place of a folder matches nothing below it.
            if !files.status(folder).await?.is_dir {
                continue;
            }
            let mut children = files.list(folder);
            while let Some(child) = children.next().await.transpose()? {
                let name = child.path.rsplit('/').next().unwrap_or_default();
                if !is_hidden(name) && matches(part.as_bytes(), name.as_bytes()) {
                    next.push(child.path);
                }
            }
        }
        folders = next;
    }
    for path in folders {
        let status = files.status(&path).await?;
        if !status.is_dir {
            found.push(status);
            continue;
        }
        let mut children = files.list(&path);
        while let Some(child) = children.next().await.transpose()? {
            let name = child.path.rsplit('/').next().unwrap_or_default();
            if !child.is_dir && !is_hidden(name) {
                found.push(child);
            }
        }
    }
    Ok(())
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['_', '.'])
}

/// `a{b,c}d` → `abd`, `acd`; nested braces as well.
fn alternatives(pattern: &str) -> Vec<String> {
    let Some(open) = pattern.find('{') else {
        return vec![pattern.to_owned()];
    };
    let mut depth = 0;
    let mut begin = open + 1;
    let mut inner = Vec::new();
    for (at, c) in pattern.char_indices().skip_while(|(at, _)| *at < open) {
        match c {
            '{' => depth += 1,
            ',' if depth == 1 => {
                inner.push(&pattern[begin..at]);
                begin = at + 1;
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    inner.push(&pattern[begin..at]);
                    return inner
                        .into_iter()
                        .flat_map(|part| alternatives(&format!("{}{part}{}", &pattern[..open], &pattern[at + 1..])))
                        .collect();
                }
            }
            _ => {}
        }
    }
    // An open brace without its end is a character like others.
    vec![pattern.to_owned()]
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|n| matches(rest, &name[n..])),
        Some((b'?', rest)) => !name.is_empty() && matches(rest, &name[1..]),
        Some((b'[', rest)) => {
            let Some(end) = rest.iter().skip(1).position(|c| *c == b']').map(|n| n + 1) else {
                return name.first() == Some(&b'[') && matches(rest, &name[1..]);
            };
            let Some((first, others)) = name.split_first() else {
                return false;
            };
            let (class, negated) = match rest[..end].split_first() {
                Some((b'^' | b'!', class)) => (class, true),
                _ => (&rest[..end], false),
            };
            in_class(class, *first) != negated && matches(&rest[end + 1..], others)
        }
        Some((b'\\', rest)) if !rest.is_empty() => name.first() == rest.first() && matches(&rest[1..], &name[1..]),
        Some((c, rest)) => name.first() == Some(c) && matches(rest, &name[1..]),
    }
}

fn in_class(mut class: &[u8], c: u8) -> bool {
    while let Some((low, rest)) = class.split_first() {
        match rest {
            [b'-', high, after @ ..] => {
                if (*low..=*high).contains(&c) {
                    return true;
                }
                class = after;
            }
            _ => {
                if *low == c {
                    return true;
                }
                class = rest;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_in_hadoop() {
        let yes =
            |pattern: &str, name: &str| alternatives(pattern).iter().any(|p| matches(p.as_bytes(), name.as_bytes()));
        for (pattern, name) in [
            ("*.csv", "a.csv"),
            ("part-?", "part-1"),
            ("[a-c]x", "bx"),
            ("[^a]", "b"),
            ("{a,b{1,2}}.csv", "b2.csv"),
            ("a\\*", "a*"),
        ] {
            assert!(yes(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.csv", "a.tsv"), ("?", ""), ("[a-c]", "d"), ("{a,b}", "c"), ("a\\*", "ab")] {
            assert!(!yes(pattern, name), "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in "[a-c*?{},\\[\\]^\\\\-]{0,12}", name in "[a-c]{0,6}") {
            for pattern in alternatives(&pattern) {
                matches(pattern.as_bytes(), name.as_bytes());
            }
        }
    }
}
