//! The columns of a file, from its beginning.

use yarn_ml_protocol::{
    job::Source,
    parse::did_you_mean,
    schema::{Column, ColumnType},
};

use super::{
    CsvError, Mistake,
    columns::{boolean, float, integer, timestamp, unescape},
    record::{Dialect, Scan, scan},
};

/// Columns of the files of a source: names from the header or from `schema`; types from `schema`, and where it is silent, from
/// `sample`. `whole`: the sample is the whole file.
pub fn schema(sample: &[u8], whole: bool, source: &Source) -> Result<Vec<Column>, CsvError> {
    let sample = sample.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(sample);
    // `check` has seen that it is ASCII.
    let dialect = Dialect { delimiter: source.delimiter as u8, quoting: source.quoting };
    let mistake = |offset: usize, mistake| CsvError { file: source.path.clone(), offset: offset as u64, mistake };
    let wrong = |message: String| mistake(0, Mistake::Schema { message });
    let mut fields = Vec::new();
    let mut at = 0;
    let names: Vec<String> = if source.header {
        match scan(sample, dialect, whole, &mut fields).map_err(|(n, m)| mistake(n, m))? {
            Scan::Record { length } => at = length,
            Scan::More => return Err(wrong("the header has no end within the first megabyte".into())),
        }
        let name = |f: &super::record::Field| {
            String::from_utf8(unescape(&sample[f.begin..f.end], f.escaped).into_owned())
                .map_err(|_| wrong("the header is not UTF-8".into()))
        };
        fields.iter().map(name).collect::<Result<_, _>>()?
    } else {
        source.schema.keys().cloned().collect()
    };
    for (n, name) in names.iter().enumerate() {
        if name.is_empty() || names[..n].contains(name) {
            let what = if name.is_empty() { "is empty".to_owned() } else { format!("`{name}` is there twice") };
            return Err(wrong(format!("the name of column {} {what}", n + 1)));
        }
    }
    for declared in source.schema.keys() {
        if !names.contains(declared) {
            let hint = did_you_mean(declared, names.iter().map(String::as_str))
                .map(|name| format!("; did you mean `{name}`?"))
                .unwrap_or_default();
            return Err(wrong(format!(
                "`schema` names the column {declared}, which the header has not: {}{hint}",
                names.join(",")
            )));
        }
    }
    let mut guesses = vec![Guess::default(); names.len()];
    while at < sample.len() {
        let length = match scan(&sample[at..], dialect, whole, &mut fields).map_err(|(n, m)| mistake(at + n, m))? {
            Scan::Record { length } => length,
            // The sample ends within a record.
            Scan::More => break,
        };
        let is_empty = fields.len() == 1 && fields[0].begin == fields[0].end && !fields[0].quoted;
        if is_empty && names.len() > 1 {
            at += length;
            continue;
        }
        if fields.len() != names.len() {
            let count = Mistake::FieldCount { expected: names.len(), found: fields.len() };
            return Err(mistake(at, count));
        }
        for (guess, field) in guesses.iter_mut().zip(&fields) {
            let text = unescape(&sample[at + field.begin..at + field.end], field.escaped);
            if !source.nulls.iter().any(|null| null.as_bytes() == text.as_ref()) {
                guess.see(&text, source.timestamp_format.as_deref());
            }
        }
        at += length;
    }
    let columns = names.into_iter().zip(guesses).map(|(name, guess)| {
        let declared = source.schema.get(&name).copied();
        // Whatever the beginning shows, a null may come later.
        Column { column_type: declared.unwrap_or_else(|| guess.column_type()), name, nullable: true }
    });
    Ok(columns.collect())
}

/// Which types every text seen so far could be.
#[derive(Clone, Debug)]
struct Guess {
    seen: bool,
    boolean: bool,
    integer: bool,
    float: bool,
    timestamp: bool,
}

impl Default for Guess {
    fn default() -> Self {
        Self { seen: false, boolean: true, integer: true, float: true, timestamp: true }
    }
}

impl Guess {
    fn see(&mut self, text: &[u8], format: Option<&str>) {
        self.seen = true;
        // `1` and `0` alone are numbers.
        self.boolean = self.boolean && boolean(text).is_some() && integer(text).is_none();
        self.integer = self.integer && integer(text).is_some();
        self.float = self.float && float::<f64>(text).is_some();
        self.timestamp = self.timestamp && timestamp(text, format).is_some();
    }

    fn column_type(&self) -> ColumnType {
        match self {
            Self { seen: false, .. } => ColumnType::String,
            Self { boolean: true, .. } => ColumnType::Bool,
            Self { integer: true, .. } => ColumnType::Int64,
            Self { float: true, .. } => ColumnType::Float64,
            Self { timestamp: true, .. } => ColumnType::Timestamp,
            _ => ColumnType::String,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(json: serde_json::Value) -> Source {
        let mut all = serde_json::json!({"path": "a.csv", "format": "csv", "nulls": ["NA", ""]});
        all.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn types(text: &str, json: serde_json::Value) -> Vec<String> {
        let found = schema(text.as_bytes(), true, &source(json)).unwrap();
        found.iter().map(|c| format!("{} {}", c.name, c.column_type)).collect()
    }

    #[test]
    fn types_are_those_that_every_text_allows() {
        let text = "a,b,c,d,e,f\n1,1.5,x,true,2013-01-01T05:00:00Z,NA\nNA,2,\"y,\n\",false,,\n";
        assert_eq!(
            types(text, serde_json::json!({})),
            ["a int64", "b float64", "c string", "d bool", "e timestamp", "f string"]
        );
        assert_eq!(types(text, serde_json::json!({"schema": {"a": "float32"}}))[0], "a float32");
    }

    #[test]
    fn mistakes_of_the_header_are_named() {
        let fails = |text: &str, json| schema(text.as_bytes(), true, &source(json)).unwrap_err().to_string();
        assert!(fails("a,a\n", serde_json::json!({})).contains("`a` is there twice"));
        let unknown = fails("carrier,b\n", serde_json::json!({"schema": {"carier": "string"}}));
        assert!(unknown.ends_with("did you mean `carrier`?"), "{unknown}");
        assert!(fails("a,b\n1\n", serde_json::json!({})).contains("byte 4: the record has 1 fields; expected 2"));
    }
}
