//! Splits of one role's input: made from files as they are discovered, handed out by pull, checked when done.
//!
//! A split is never stored: its number, counted over the files, is enough to compute it. What is kept for each is where its
//! records began and ended, because neighbours must meet: nothing torn, nothing missed, nothing read twice.

use std::collections::BTreeSet;

use yarn_ml_protocol::{
    job::Input,
    messages::{Split, SplitDone},
};

use crate::event::SourceFile;

/// Low bits of a split's id; the data epoch stands above them.
const INDEX_BITS: u32 = 40;

#[derive(Debug)]
pub struct Splits {
    stream: String,
    split_size: u64,
    epochs: u32,
    /// Seed of the permutation, if splits are shuffled.
    seed: Option<u64>,
    files: Vec<File>,
    discovered: bool,
    data_epoch: u32,
    /// Splits of this data epoch that are handed out.
    handed: u64,
    /// Order of the current data epoch when shuffled.
    order: Vec<u32>,
    /// Of the first data epoch; later ones must agree.
    read: Vec<Option<Read>>,
    /// Handed out and not done.
    open: BTreeSet<u64>,
    /// Done in data epochs after the first.
    done_later: u64,
}

#[derive(Debug)]
struct File {
    file: SourceFile,
    /// Number of its first split.
    first: u64,
}

/// Where the records of a split began and ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Read {
    first_offset: u64,
    end_offset: u64,
    rows: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Split(Split),
    /// More may come.
    Wait,
    End,
}

impl Splits {
    pub fn new(input: &Input, split_size: u64) -> Self {
        Self {
            stream: input.stream.clone(),
            split_size: split_size.max(1),
            epochs: input.epochs,
            seed: (input.shuffle > 0).then_some(input.seed),
            files: Vec::new(),
            discovered: false,
            data_epoch: 0,
            handed: 0,
            order: Vec::new(),
            read: Vec::new(),
            open: BTreeSet::new(),
            done_later: 0,
        }
    }

    pub fn stream(&self) -> &str {
        &self.stream
    }

    pub fn add(&mut self, files: &[SourceFile]) {
        for file in files.iter().filter(|file| file.length > 0) {
            let first = self.read.len() as u64;
            let count = file.length.div_ceil(self.split_size);
            self.read.resize((first + count) as usize, None);
            self.files.push(File { file: file.clone(), first });
        }
    }

    pub fn finish_discovery(&mut self) {
        self.discovered = true;
    }

    /// The next split for whoever asks.
    pub fn next(&mut self) -> Next {
        // A permutation needs all of its elements.
        if self.seed.is_some() && !self.discovered {
            return Next::Wait;
        }
        let count = self.read.len() as u64;
        if self.handed == count {
            if !self.discovered {
                return Next::Wait;
            }
            if count == 0 || self.data_epoch + 1 >= self.epochs {
                return Next::End;
            }
            self.data_epoch += 1;
            self.handed = 0;
            self.order.clear();
        }
        let index = match self.seed {
            None => self.handed,
            Some(seed) => {
                if self.order.is_empty() {
                    self.order = permutation(count as u32, seed, self.data_epoch);
                }
                u64::from(self.order[self.handed as usize])
            }
        };
        self.handed += 1;
        let split = self.split(index);
        self.open.insert(split.id);
        Next::Split(split)
    }

    fn split(&self, index: u64) -> Split {
        let file = &self.files[self.file_of(index)];
        let start = (index - file.first) * self.split_size;
        Split {
            id: u64::from(self.data_epoch) << INDEX_BITS | index,
            stream: self.stream.clone(),
            uri: file.file.uri.clone(),
            start,
            length: self.split_size.min(file.file.length - start),
            file_length: file.file.length,
            modification_time: file.file.modification_time,
            data_epoch: self.data_epoch,
        }
    }

    fn file_of(&self, index: u64) -> usize {
        self.files.partition_point(|file| file.first <= index) - 1
    }

    /// Checks a finished split against its neighbours and against the first data epoch.
    pub fn done(&mut self, done: &SplitDone) -> Result<(), String> {
        if !self.open.remove(&done.split) {
            return Err(format!("split {} was reported as done and is not handed out", done.split));
        }
        let index = done.split & ((1 << INDEX_BITS) - 1);
        let read = Read { first_offset: done.first_offset, end_offset: done.end_offset, rows: done.rows };
        let at = index as usize;
        match self.read[at] {
            Some(first) if first != read => {
                return Err(format!(
                    "{} was read differently in two passes: records from byte {} to {} ({} rows), then from {} to {} ({} rows)",
                    self.files[self.file_of(index)].file.uri,
                    first.first_offset,
                    first.end_offset,
                    first.rows,
                    read.first_offset,
                    read.end_offset,
                    read.rows,
                ));
            }
            Some(_) => self.done_later += 1,
            None => self.read[at] = Some(read),
        }
        if done.split >> INDEX_BITS > 0 {
            return Ok(());
        }
        self.check(index)
    }

    /// Both borders of a split of the first pass.
    fn check(&self, index: u64) -> Result<(), String> {
        let file = &self.files[self.file_of(index)];
        let last = file.first + file.file.length.div_ceil(self.split_size) - 1;
        let Some(read) = self.read[index as usize] else {
            return Ok(());
        };
        let meet = |end: u64, first: u64| {
            if end == first {
                return Ok(());
            }
            Err(format!(
                "{}: one reader ended at byte {end} and the next began at byte {first}; a line break inside quotes may have been mistaken for the end of a record: set `split_size` larger than the file",
                file.file.uri
            ))
        };
        if index > file.first
            && let Some(before) = self.read[index as usize - 1]
        {
            meet(before.end_offset, read.first_offset)?;
        }
        if index < last {
            if let Some(after) = self.read[index as usize + 1] {
                meet(read.end_offset, after.first_offset)?;
            }
        } else if read.end_offset != file.file.length {
            return Err(format!(
                "{}: the last reader ended at byte {} of {}",
                file.file.uri, read.end_offset, file.file.length
            ));
        }
        Ok(())
    }

    /// Rows of the files, as far as the first pass has read them.
    pub fn source_rows(&self) -> u64 {
        self.read.iter().flatten().map(|read| read.rows).sum()
    }

    /// Everything was handed out and done, in every data epoch.
    pub fn is_complete(&self) -> bool {
        let all = self.read.len() as u64;
        self.discovered
            && self.open.is_empty()
            && self.read.iter().all(Option::is_some)
            && (all == 0 || self.done_later == all * u64::from(self.epochs.saturating_sub(1)))
    }

    pub fn epochs(&self) -> u32 {
        self.epochs
    }

    pub fn files(&self) -> usize {
        self.files.len()
    }
}

/// Fisher–Yates over a SplitMix64 stream: the same on every machine and in every version.
fn permutation(count: u32, seed: u64, data_epoch: u32) -> Vec<u32> {
    let mut state = seed ^ u64::from(data_epoch).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut random = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let mut order: Vec<u32> = (0..count).collect();
    for last in (1..count as usize).rev() {
        // The bias of the remainder is below 2^-32 for any count that fits.
        let other = (random() % (last as u64 + 1)) as usize;
        order.swap(last, other);
    }
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn input(epochs: u32, shuffle: u32) -> Input {
        serde_json::from_value(
            serde_json::json!({"stream": "s", "epochs": epochs, "shuffle": shuffle, "ring": "64KiB"}),
        )
        .unwrap()
    }

    fn file(name: &str, length: u64) -> SourceFile {
        SourceFile { uri: name.into(), length, modification_time: 1 }
    }

    fn done(split: &Split, first_offset: u64, end_offset: u64) -> SplitDone {
        SplitDone { epoch: 1, split: split.id, first_offset, end_offset, rows: 1 }
    }

    fn take(splits: &mut Splits) -> Split {
        match splits.next() {
            Next::Split(split) => split,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn splits_are_handed_out_while_files_are_found_and_end_when_all_are() {
        let mut splits = Splits::new(&input(1, 0), 10);
        assert_eq!(splits.next(), Next::Wait);
        splits.add(&[file("a", 15), file("empty", 0)]);
        let (first, second) = (take(&mut splits), take(&mut splits));
        assert_eq!((first.start, first.length, second.start, second.length), (0, 10, 10, 5));
        assert_eq!(splits.next(), Next::Wait);
        splits.add(&[file("b", 3)]);
        assert_eq!(take(&mut splits).uri, "b");
        splits.finish_discovery();
        assert_eq!(splits.next(), Next::End);
        assert!(!splits.is_complete());
    }

    #[test]
    fn neighbours_that_do_not_meet_are_refused_whichever_comes_last() {
        for reversed in [false, true] {
            let mut splits = Splits::new(&input(1, 0), 10);
            splits.add(&[file("a", 20)]);
            splits.finish_discovery();
            let (first, second) = (take(&mut splits), take(&mut splits));
            let mut reports = [done(&first, 0, 12), done(&second, 13, 20)];
            if reversed {
                reports.reverse();
            }
            splits.done(&reports[0]).unwrap();
            let error = splits.done(&reports[1]).unwrap_err();
            assert!(error.contains("byte 12") && error.contains("byte 13"), "{error}");
        }
    }

    #[test]
    fn a_file_must_be_read_to_its_end_and_a_split_once() {
        let mut splits = Splits::new(&input(1, 0), 100);
        splits.add(&[file("a", 20)]);
        splits.finish_discovery();
        let only = take(&mut splits);
        assert!(splits.done(&done(&only, 0, 19)).unwrap_err().contains("19 of 20"));
        assert!(splits.done(&done(&only, 0, 20)).unwrap_err().contains("not handed out"));
    }

    proptest! {
        #[test]
        fn every_split_is_handed_out_once_in_each_data_epoch(
            lengths in prop::collection::vec(0u64..50, 0..8), size in 1u64..20, epochs in 1u32..4, shuffle in 0u32..2, seed: u64,
        ) {
            let mut shape = input(epochs, shuffle);
            shape.seed = seed;
            let mut splits = Splits::new(&shape, size);
            let files: Vec<SourceFile> = lengths.iter().enumerate().map(|(n, l)| file(&n.to_string(), *l)).collect();
            splits.add(&files);
            splits.finish_discovery();
            let mut bytes = std::collections::BTreeMap::new();
            let mut last_epoch = 0;
            while let Next::Split(split) = splits.next() {
                prop_assert!(split.data_epoch >= last_epoch);
                last_epoch = split.data_epoch;
                for byte in split.start..split.start + split.length {
                    prop_assert!(bytes.insert((split.data_epoch, split.uri.clone(), byte), ()).is_none());
                }
                splits.done(&done(&split, split.start, split.start + split.length)).unwrap();
            }
            prop_assert_eq!(bytes.len() as u64, lengths.iter().sum::<u64>() * u64::from(epochs));
            prop_assert!(splits.is_complete());
            prop_assert_eq!(splits.next(), Next::End);
        }
    }
}
