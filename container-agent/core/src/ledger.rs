//! Which batches went to the trainer, and how many of their rows it has acknowledged.

use std::collections::VecDeque;

/// Batches are numbered from 0 without gaps; an acknowledgement covers all up to its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Rows of the batches that are produced and not acknowledged, oldest first.
    open: VecDeque<u64>,
    /// Number of the first one in `open`.
    acknowledged_batches: u64,
    acknowledged_rows: u64,
    produced_rows: u64,
}

/// The trainer, or a chief for it, acknowledges what was never produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckError {
    pub seq: u64,
    pub produced_batches: u64,
}

impl Ledger {
    /// The next batch went into the ring.
    pub fn produce(&mut self, rows: u64) {
        self.open.push_back(rows);
        self.produced_rows += rows;
    }

    /// Every batch up to `seq` was applied. Repeating an older number is no mistake: acknowledgements may be told twice.
    pub fn acknowledge(&mut self, seq: u64) -> Result<(), AckError> {
        if seq >= self.produced_batches() {
            return Err(AckError { seq, produced_batches: self.produced_batches() });
        }
        while self.acknowledged_batches <= seq {
            // The check above bounds seq by the batches in `open`.
            self.acknowledged_rows += self.open.pop_front().unwrap_or_default();
            self.acknowledged_batches += 1;
        }
        Ok(())
    }

    pub fn produced_batches(&self) -> u64 {
        self.acknowledged_batches + self.open.len() as u64
    }

    pub fn produced_rows(&self) -> u64 {
        self.produced_rows
    }

    pub fn acknowledged_batches(&self) -> u64 {
        self.acknowledged_batches
    }

    pub fn acknowledged_rows(&self) -> u64 {
        self.acknowledged_rows
    }

    /// Rows of the first `batches` batches.
    pub fn rows_of(&self, batches: u64) -> u64 {
        let open = batches.saturating_sub(self.acknowledged_batches) as usize;
        self.acknowledged_rows + self.open.iter().take(open).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_acknowledgement_covers_all_before_it_and_nothing_that_was_not_produced() {
        let mut ledger = Ledger::default();
        for rows in [10, 20, 5] {
            ledger.produce(rows);
        }
        ledger.acknowledge(1).unwrap();
        assert_eq!((ledger.acknowledged_rows(), ledger.acknowledged_batches()), (30, 2));
        ledger.acknowledge(0).unwrap();
        assert_eq!(ledger.acknowledged_rows(), 30);
        assert_eq!(ledger.rows_of(3), 35);
        assert_eq!(ledger.acknowledge(3), Err(AckError { seq: 3, produced_batches: 3 }));
    }

    proptest! {
        #[test]
        fn it_counts_like_a_plain_list(rows in prop::collection::vec(0u64..100, 0..50), acks in prop::collection::vec(0u64..60, 0..20)) {
            let mut ledger = Ledger::default();
            rows.iter().for_each(|r| ledger.produce(*r));
            let mut highest = 0;
            for ack in acks {
                prop_assert_eq!(ledger.acknowledge(ack).is_ok(), ack < rows.len() as u64);
                if ack < rows.len() as u64 {
                    highest = highest.max(ack + 1);
                }
                prop_assert_eq!(ledger.acknowledged_rows(), rows[..highest as usize].iter().sum::<u64>());
                prop_assert_eq!(ledger.produced_rows(), rows.iter().sum::<u64>());
            }
        }
    }
}
