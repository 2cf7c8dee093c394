//! `org.apache.hadoop.conf.Configuration`: layers of files, `final`, substitution, and where a value came from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use thiserror::Error;

use crate::defaults::DEFAULTS;

/// As many rounds of substitution as Java makes.
const MAX_SUBSTITUTIONS: usize = 20;

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In Java's own jars.
    Default,
    File {
        name: String,
        is_final: bool,
    },
    /// By this program.
    Program,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigurationError {
    #[error("{file}:{line}: {message}")]
    Xml { file: String, line: u32, message: String },
    #[error("{key} is `{value}` ({origin}); expected {expected}")]
    Value { key: String, value: String, origin: Origin, expected: &'static str },
    #[error("{key} refers to itself through ${{…}}")]
    Cycle { key: String },
}

#[derive(Clone, Debug)]
pub struct Configuration {
    values: BTreeMap<String, (String, Origin)>,
    finals: BTreeSet<String>,
    /// `user.name` and `env.*` for substitution.
    surroundings: BTreeMap<String, String>,
}

/// Gives the text of an included file by its `href`; `Ok(None)` when there is none.
pub type Include<'a> = &'a dyn Fn(&str) -> Result<Option<String>, String>;

impl Configuration {
    /// With Java's defaults. `surroundings` are `user.name` and, as `env.NAME`, the environment.
    pub fn new(surroundings: BTreeMap<String, String>) -> Self {
        let values =
            DEFAULTS.iter().map(|(key, value)| ((*key).to_owned(), ((*value).to_owned(), Origin::Default))).collect();
        Self { values, finals: BTreeSet::new(), surroundings }
    }

    /// Adds a file over what is there. `name` is what messages and origins call it.
    pub fn add(&mut self, text: &str, name: &str, include: Include<'_>) -> Result<(), ConfigurationError> {
        self.add_within(text, name, include, 0)
    }

    fn add_within(
        &mut self,
        text: &str,
        name: &str,
        include: Include<'_>,
        depth: u32,
    ) -> Result<(), ConfigurationError> {
        let wrong = |line: u32, message: String| ConfigurationError::Xml { file: name.to_owned(), line, message };
        let document = roxmltree::Document::parse(text).map_err(|e| wrong(e.pos().row, e.to_string()))?;
        let line = |node: roxmltree::Node<'_, '_>| document.text_pos_at(node.range().start).row;
        let root = document.root_element();
        if root.tag_name().name() != "configuration" {
            let message = format!("the root element is <{}>; expected <configuration>", root.tag_name().name());
            return Err(wrong(line(root), message));
        }
        for node in root.children().filter(roxmltree::Node::is_element) {
            match node.tag_name().name() {
                "property" => self.property(node, name),
                "include" => {
                    let href =
                        node.attribute("href").ok_or_else(|| wrong(line(node), "an include needs `href`".into()))?;
                    if depth >= 16 {
                        return Err(wrong(line(node), format!("{href} is included more than 16 deep")));
                    }
                    let has_fallback = node.children().any(|n| n.tag_name().name() == "fallback");
                    match include(href).map_err(|message| wrong(line(node), format!("{href}: {message}")))? {
                        Some(text) => self.add_within(&text, href, include, depth + 1)?,
                        None if has_fallback => {}
                        None => {
                            return Err(wrong(line(node), format!("the included file {href} is not there")));
                        }
                    }
                }
                // Java ignores what it does not know.
                _ => {}
            }
        }
        Ok(())
    }

    fn property(&mut self, node: roxmltree::Node<'_, '_>, file: &str) {
        let child = |tag: &str| {
            let found = node.children().find(|n| n.tag_name().name() == tag)?;
            Some(found.descendants().filter_map(|n| if n.is_text() { n.text() } else { None }).collect::<String>())
        };
        // Java takes attributes as well.
        let part = |tag: &str| node.attribute(tag).map(str::to_owned).or_else(|| child(tag));
        let Some(key) = part("name").map(|k| k.trim().to_owned()).filter(|k| !k.is_empty()) else {
            return;
        };
        let is_final = part("final").is_some_and(|f| f.trim() == "true");
        if self.finals.contains(&key) {
            return;
        }
        if let Some(value) = part("value") {
            self.values.insert(key.clone(), (value, Origin::File { name: file.to_owned(), is_final }));
        }
        if is_final {
            self.finals.insert(key);
        }
    }

    pub fn set(&mut self, key: &str, value: &str) {
        self.values.insert(key.to_owned(), (value.to_owned(), Origin::Program));
    }

    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.values.get(key).map(|(_, origin)| origin)
    }

    /// As written, without substitution.
    pub fn raw(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|(value, _)| value.as_str())
    }

    /// Substituted and trimmed; nothing for an empty value.
    pub fn get(&self, key: &str) -> Result<Option<String>, ConfigurationError> {
        let Some(raw) = self.raw(key) else {
            return Ok(None);
        };
        let value = self.substitute(key, raw)?;
        Ok(Some(value.trim().to_owned()).filter(|v| !v.is_empty()))
    }

    pub fn get_bool(&self, key: &str) -> Result<bool, ConfigurationError> {
        match self.get(key)?.map(|v| v.to_ascii_lowercase()).as_deref() {
            Some("true") => Ok(true),
            // Java takes whatever is not "true" or "false" for the default, silently.
            Some("false") | None => Ok(false),
            Some(_) => Err(self.unexpected(key, "true or false")),
        }
    }

    pub fn get_u64(&self, key: &str) -> Result<Option<u64>, ConfigurationError> {
        let Some(value) = self.get(key)? else {
            return Ok(None);
        };
        let parsed = match value.strip_prefix("0x").or_else(|| value.strip_prefix("0X")) {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => value.parse(),
        };
        parsed.map(Some).map_err(|_| self.unexpected(key, "a whole number"))
    }

    /// Comma-separated, trimmed, without empty ones.
    pub fn get_list(&self, key: &str) -> Result<Vec<String>, ConfigurationError> {
        let value = self.get(key)?.unwrap_or_default();
        Ok(value.split(',').map(|v| v.trim().to_owned()).filter(|v| !v.is_empty()).collect())
    }

    /// Every key, substituted. A key that cannot be is left as it is written: most are nobody's business here.
    pub fn resolved(&self) -> BTreeMap<String, String> {
        self.values
            .iter()
            .map(|(key, (raw, _))| (key.clone(), self.substitute(key, raw).unwrap_or_else(|_| raw.clone())))
            .collect()
    }

    /// One site file with every key resolved, for those who must not look elsewhere.
    pub fn to_xml(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\"?>\n<configuration>\n");
        for (key, value) in self.resolved() {
            let (key, value) = (quick_xml::escape::escape(&key), quick_xml::escape::escape(&value));
            out.push_str(&format!("<property><name>{key}</name><value>{value}</value></property>\n"));
        }
        out.push_str("</configuration>\n");
        out
    }

    pub(crate) fn unexpected(&self, key: &str, expected: &'static str) -> ConfigurationError {
        ConfigurationError::Value {
            key: key.to_owned(),
            value: self.raw(key).unwrap_or_default().to_owned(),
            origin: self.origin(key).cloned().unwrap_or(Origin::Default),
            expected,
        }
    }

    fn substitute(&self, key: &str, raw: &str) -> Result<String, ConfigurationError> {
        let mut value = raw.to_owned();
        for _ in 0..MAX_SUBSTITUTIONS {
            let Some((begin, end)) = innermost(&value) else {
                return Ok(value);
            };
            let name = &value[begin + 2..end];
            let found = match name.strip_prefix("env.") {
                Some(env) => self.environment(env),
                None => self.surroundings.get(name).cloned().or_else(|| self.raw(name).map(str::to_owned)),
            };
            // What is not known stays as it is written, and Java stops there.
            let Some(found) = found else { return Ok(value) };
            if name == key {
                return Err(ConfigurationError::Cycle { key: key.to_owned() });
            }
            value.replace_range(begin..=end, &found);
        }
        Err(ConfigurationError::Cycle { key: key.to_owned() })
    }

    /// `NAME`, `NAME-default` (when unset) and `NAME:-default` (when unset or empty).
    fn environment(&self, text: &str) -> Option<String> {
        let get = |name: &str| self.surroundings.get(&format!("env.{name}")).cloned();
        match text.find(['-', ':']) {
            None => get(text),
            Some(at) => {
                let (name, rest) = text.split_at(at);
                match rest.strip_prefix(":-") {
                    Some(default) => get(name).filter(|v| !v.is_empty()).or_else(|| Some(default.to_owned())),
                    None => get(name).or_else(|| rest.strip_prefix('-').map(str::to_owned)),
                }
            }
        }
    }
}

/// Of `${a${b}}` the inner one. Names hold no `$`, brace or blank.
fn innermost(value: &str) -> Option<(usize, usize)> {
    let mut from = value.len();
    while let Some(begin) = value[..from].rfind("${") {
        if let Some(length) = value[begin + 2..].find(['}', '$', ' '])
            && length > 0
            && value.as_bytes()[begin + 2 + length] == b'}'
        {
            return Some((begin, begin + 2 + length));
        }
        from = begin;
    }
    None
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("Hadoop's default"),
            Self::File { name, is_final: true } => write!(f, "{name}, final"),
            Self::File { name, is_final: false } => f.write_str(name),
            Self::Program => f.write_str("set by yarn-ml"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn none(_: &str) -> Result<Option<String>, String> {
        Ok(None)
    }

    fn file(properties: &[(&str, &str, bool)]) -> String {
        let mut out = String::from("<configuration>");
        for (name, value, is_final) in properties {
            out.push_str(&format!(
                "<property><name>{name}</name><value>{value}</value><final>{is_final}</final></property>"
            ));
        }
        out + "</configuration>"
    }

    fn read(files: &[&str]) -> Configuration {
        let surroundings = [("user.name", "alice"), ("env.HOST", "h"), ("env.EMPTY", "")];
        let mut conf = Configuration::new(surroundings.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        for (n, text) in files.iter().enumerate() {
            conf.add(text, &format!("{n}.xml"), &none).unwrap();
        }
        conf
    }

    #[test]
    fn later_files_win_but_never_over_final() {
        let conf =
            read(&[&file(&[("a", "1", true), ("b", "1", false)]), &file(&[("a", "2", false), ("b", "2", false)])]);
        assert_eq!(conf.get("a").unwrap().unwrap(), "1");
        assert_eq!(conf.get("b").unwrap().unwrap(), "2");
        assert_eq!(conf.origin("a").unwrap().to_string(), "0.xml, final");
        assert_eq!(conf.origin("fs.defaultFS"), Some(&Origin::Default));
    }

    #[test]
    fn values_are_substituted_as_java_does() {
        let conf = read(&[&file(&[
            ("x", "${y}-${env.HOST}", false),
            ("y", "${user.name}", false),
            ("d", "${env.NO:-def} ${env.EMPTY-kept}|${env.EMPTY:-def}", false),
            ("u", "${unknown}", false),
            ("loop", "${loop2}", false),
            ("loop2", "${loop}", false),
            ("nested", "${y${n}}", false),
            ("n", "", false),
        ])]);
        let get = |key: &str| conf.get(key).unwrap().unwrap();
        assert_eq!(get("x"), "alice-h");
        assert_eq!(get("d"), "def |def");
        assert_eq!(get("u"), "${unknown}");
        assert_eq!(get("nested"), "alice");
        assert_eq!(get("yarn.resourcemanager.address"), "0.0.0.0:8032");
        assert!(matches!(conf.get("loop"), Err(ConfigurationError::Cycle { .. })));
    }

    #[test]
    fn includes_are_read_in_place_and_fall_back() {
        let mut conf = Configuration::new(BTreeMap::new());
        let text = r#"<configuration xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="a.xml"/><xi:include href="no.xml"><xi:fallback/></xi:include></configuration>"#;
        let include = |href: &str| Ok((href == "a.xml").then(|| file(&[("k", "v", false)])));
        conf.add(text, "core-site.xml", &include).unwrap();
        assert_eq!(conf.get("k").unwrap().unwrap(), "v");
        let error = conf.add(text, "core-site.xml", &none);
        assert!(error.unwrap_err().to_string().contains("a.xml is not there"));
    }

    #[test]
    fn mistakes_are_named_by_file_and_line() {
        let mut conf = Configuration::new(BTreeMap::new());
        let error = conf.add("<configuration>\n<property>", "core-site.xml", &none).unwrap_err().to_string();
        assert!(error.starts_with("core-site.xml:"), "{error}");
        let error = conf.add("<conf/>", "core-site.xml", &none).unwrap_err().to_string();
        assert!(error.contains("<conf>"), "{error}");
        let conf = read(&[&file(&[("n", "x", false)])]);
        let error = conf.get_u64("n").unwrap_err().to_string();
        assert_eq!(error, "n is `x` (0.xml); expected a whole number");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(pairs in prop::collection::btree_map("[a-z.]{1,12}", "[ -~]{0,20}", 0..8)) {
            let mut conf = Configuration::new(BTreeMap::new());
            for (key, value) in &pairs {
                conf.set(key, value);
            }
            let mut again = Configuration::new(BTreeMap::new());
            again.add(&conf.to_xml(), "conf.xml", &none).unwrap();
            prop_assert_eq!(again.resolved(), conf.resolved());
        }

        #[test]
        fn hostile_text_is_refused(text in "\\PC{0,80}") {
            let mut conf = Configuration::new(BTreeMap::new());
            let _ = conf.add(&text, "x", &none);
            let _ = conf.add(&format!("<configuration><property><name>a</name><value>{text}</value></property></configuration>"), "x", &none);
            let _ = conf.get("a");
        }
    }
}
