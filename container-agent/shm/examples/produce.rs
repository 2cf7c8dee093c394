//! A producer for tests of the other side: `produce BATCHES ROWS [MODE]` writes batches of the columns `x` float32 (nullable, each
//! third row null), `id` int64 and `s` string into the ring at descriptor 3 and ends. MODE `no-eof` leaves without an end,
//! `wait` stands still before the end until its standard input closes.

use std::{fs::File, io::Read, os::fd::OwnedFd, path::Path};

use yarn_ml_shm::{
    Kind, Producer, Ring,
    dense::{self, Bits, Column, Values},
};

const SCHEMA: &[u8] = br#"{"columns":[{"name":"x","type":"float32","nullable":true},{"name":"id","type":"int64","nullable":false},{"name":"s","type":"string","nullable":false}]}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let (batches, rows): (i64, usize) = (arguments[1].parse()?, arguments[2].parse()?);
    let mode = arguments.get(3).map_or("", String::as_str);
    let path = Path::new("/proc/self/fd/3");
    let file = OwnedFd::from(File::options().read(true).write(true).open(path)?);
    let ring = Ring::create(file, 1 << 20, 1, 5)?;
    let mut producer = Producer::new(ring);
    println!("ready");
    producer.push(Kind::Schema, SCHEMA, || true)?;
    for batch in 0..batches {
        let first = batch * rows as i64;
        let x: Vec<u8> = (0..rows).flat_map(|n| ((first + n as i64) as f32).to_le_bytes()).collect();
        let id: Vec<u8> = (0..rows).flat_map(|n| (first + n as i64).to_le_bytes()).collect();
        let mut validity = vec![0u8; rows.div_ceil(8)];
        (0..rows).filter(|n| n % 3 != 2).for_each(|n| validity[n / 8] |= 1 << (n % 8));
        let texts: Vec<String> = (0..rows).map(|n| format!("row{}", first + n as i64)).collect();
        let mut offsets = vec![0i32];
        texts.iter().for_each(|t| offsets.push(offsets[offsets.len() - 1] + t.len() as i32));
        let text = texts.concat();
        let columns = [
            Column {
                values: Values::Fixed { bytes: &x, width: 4 },
                validity: Some(Bits { bytes: &validity, offset: 0 }),
                nullable: true,
            },
            Column { values: Values::Fixed { bytes: &id, width: 8 }, validity: None, nullable: false },
            Column {
                values: Values::Variable { offsets: &offsets, data: text.as_bytes() },
                validity: None,
                nullable: false,
            },
        ];
        dense::push(&mut producer, &columns, rows, || true)?;
    }
    if mode == "wait" {
        std::io::stdin().read_to_end(&mut Vec::new())?;
    }
    if mode != "no-eof" {
        producer.finish(|| true)?;
    }
    // Until whoever started us has seen enough: the consumer must meet an end, not a dead producer.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
