//! Any file in any splits is the same rows as in one, or is refused.

use arrow_array::{Array, cast::AsArray, types::Int64Type};
use proptest::prelude::*;

use super::*;

fn source(header: bool, max_record: u64) -> Source {
    serde_json::from_value(serde_json::json!({
        "path": "a.csv", "format": "csv", "nulls": ["NA"], "header": header, "max_record": format!("{max_record}B"),
        "schema": {"a": "string", "b": "string"},
    }))
    .unwrap()
}

fn columns() -> Vec<Column> {
    ["a", "b"].map(|name| Column { name: name.into(), column_type: ColumnType::String, nullable: true }).into()
}

type Row = (Option<String>, Option<String>, i64);

/// Reads one split, in pieces of `piece` bytes.
fn read(text: &[u8], start: u64, length: u64, source: &Source, piece: usize) -> Result<(Vec<Row>, SplitEnd), CsvError> {
    let format = Arc::new(Format::new(source, &columns(), &["a", "b"], &[Metadata::Offset]));
    let split = Split { uri: "a.csv".into(), start, length, file_length: text.len() as u64, ..Split::default() };
    let mut reader = SplitReader::new(format, &split);
    let mut rows = Vec::new();
    while let Some(position) = reader.position() {
        let position = position as usize;
        reader.push(&text[position..text.len().min(position + piece)])?;
        while let Some(batch) = reader.next_batch() {
            for row in 0..batch.num_rows() {
                let text = |column: usize| {
                    let column = batch.column(column).as_string::<i32>();
                    (!column.is_null(row)).then(|| column.value(row).to_owned())
                };
                rows.push((text(0), text(1), batch.column(2).as_primitive::<Int64Type>().value(row)));
            }
        }
    }
    Ok((rows, reader.end().unwrap()))
}

fn whole(text: &[u8], source: &Source) -> Result<(Vec<Row>, SplitEnd), CsvError> {
    read(text, 0, text.len() as u64, source, 1 << 20)
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{0,3}",
        1 => Just("NA".to_owned()),
        2 => "[a-z,\n\r]{0,5}".prop_map(|t| format!("\"{t}\"")),
        1 => "[a-z]{0,2}".prop_map(|t| format!("\"{t}\"\"{t}\"")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn splits_together_are_the_file_or_are_refused(
        rows in prop::collection::vec((field(), field()), 0..12), crlf: bool, trailing: bool, size in 1u64..40, piece in 1usize..50,
    ) {
        let newline = if crlf { "\r\n" } else { "\n" };
        let mut text = rows.iter().map(|(a, b)| format!("{a},{b}")).collect::<Vec<_>>().join(newline);
        if trailing {
            text.push_str(newline);
        }
        let text = text.as_bytes();
        let source = source(false, 64);
        let expected = whole(text, &source).unwrap();
        let mut found = Vec::new();
        let mut end = 0;
        let mut start = 0;
        let mut torn = false;
        while start < text.len() as u64 {
            let length = size.min(text.len() as u64 - start);
            match read(text, start, length, &source, piece) {
                Ok((rows, split)) => {
                    torn |= split.first_offset != end;
                    end = split.end_offset;
                    found.extend(rows);
                }
                // Refused, with its place.
                Err(error) => {
                    prop_assert!(error.offset <= text.len() as u64);
                    return Ok(());
                }
            }
            start += length;
        }
        // What the master would see: neighbours that do not meet, which fails the job.
        if !torn && end == text.len() as u64 {
            prop_assert_eq!(found, expected.0);
        }
    }

    #[test]
    fn files_without_quotes_are_never_refused(
        rows in prop::collection::vec(("[a-z]{0,3}", "[a-z]{0,3}"), 1..20), size in 1u64..40, piece in 1usize..50,
    ) {
        let text = rows.iter().map(|(a, b)| format!("{a},{b}\n")).collect::<String>();
        let text = text.as_bytes();
        let source = source(false, 64);
        let mut found = Vec::new();
        let mut end = 0;
        for start in (0..text.len() as u64).step_by(size as usize) {
            let (rows, split) = read(text, start, size.min(text.len() as u64 - start), &source, piece).unwrap();
            prop_assert_eq!(split.first_offset, end);
            end = split.end_offset;
            found.extend(rows);
        }
        prop_assert_eq!(end, text.len() as u64);
        prop_assert_eq!(found, whole(text, &source).unwrap().0);
    }

    #[test]
    fn hostile_bytes_are_refused(text in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'\n'), Just(b','), any::<u8>()], 1..80), start in 0u64..40) {
        let start = start.min(text.len() as u64 - 1);
        let _ = read(&text, start, 10.min(text.len() as u64 - start), &source(true, 32), 7);
    }
}

#[test]
fn a_line_break_inside_of_quotes_across_a_boundary_is_read_by_the_first_split() {
    let text = b"a,b\nx,\"1\n2\"\ny,3\n";
    let source = source(true, 1 << 20);
    let (first, end) = read(text, 0, 8, &source, 100).unwrap();
    assert_eq!(first, [(Some("x".into()), Some("1\n2".into()), 4)]);
    let (second, next) = read(text, 8, 8, &source, 100).unwrap();
    assert_eq!(second, [(Some("y".into()), Some("3".into()), 12)]);
    assert_eq!((end.end_offset, next.first_offset, next.end_offset), (12, 12, 16));
}

#[test]
fn mistakes_are_told_with_their_place() {
    let fails = |text: &str| whole(text.as_bytes(), &source(true, 40)).unwrap_err().to_string();
    assert_eq!(fails("a,b\n1,2\n1,2,3\n"), "a.csv, byte 8: the record has 3 fields; expected 2");
    assert_eq!(fails("a,c\n"), "a.csv, byte 0: the header is a,c; the first file's was a,b");
    assert!(fails("a,b\n1,\"x\n").starts_with("a.csv, byte 6: a quoted field has no end"));
    assert!(fails(&format!("a,b\n1,{}\n", "x".repeat(50))).contains("longer than `max_record` (40 bytes)"));
}
