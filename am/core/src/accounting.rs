//! Was every sample trained on? Asked once, when every trainer says that it is done.

use std::{collections::BTreeMap, fmt::Write};

use yarn_ml_protocol::report::RowCounts;

use crate::{
    ranks::{Ranks, Slot},
    splits::Splits,
};

/// Sums over the ranks; `source` from the splits.
pub fn totals(ranks: &Ranks, splits: &BTreeMap<String, Splits>) -> RowCounts {
    let mut total = RowCounts { source: splits.values().map(Splits::source_rows).sum(), ..RowCounts::default() };
    for slot in &ranks.0 {
        let rows = counts(slot);
        total.read += rows.read;
        total.filtered += rows.filtered;
        total.produced += rows.produced;
        total.fed += rows.fed;
        total.acknowledged += rows.acknowledged;
        total.skipped += rows.skipped;
        total.replayed += rows.replayed;
    }
    total
}

pub fn counts(slot: &Slot) -> RowCounts {
    RowCounts {
        source: 0,
        read: slot.rows.read,
        filtered: slot.rows.filtered,
        produced: slot.rows.produced,
        fed: slot.rows.fed,
        acknowledged: slot.rows.acknowledged,
        committed: 0,
        skipped: slot.rows.skipped,
        replayed: slot.rows.replayed,
    }
}

/// The differences, named by rank; `None` when every row of every data epoch was acknowledged.
pub fn missing(ranks: &Ranks, splits: &BTreeMap<String, Splits>) -> Option<String> {
    let mut text = String::new();
    for slot in ranks.0.iter().filter(|slot| splits.contains_key(&slot.rank.role)) {
        let rows = slot.rows;
        if rows.acknowledged < rows.produced {
            let _ = write!(
                text,
                "\n{} acknowledged {} of {} rows ({} of {} batches missing)",
                slot.rank,
                rows.acknowledged,
                rows.produced,
                rows.produced_batches - rows.acknowledged_batches.min(rows.produced_batches),
                rows.produced_batches,
            );
        }
    }
    for (role, splits) in splits {
        let of_role = || ranks.0.iter().filter(|slot| slot.rank.role == *role);
        let acknowledged: u64 = of_role().map(|slot| slot.rows.acknowledged).sum();
        let filtered: u64 = of_role().map(|slot| slot.rows.filtered).sum();
        if !splits.is_complete() {
            let _ = write!(text, "\nrole {role} ended before all of `{}` was read", splits.stream());
            continue;
        }
        let wanted = splits.source_rows() * u64::from(splits.epochs());
        if acknowledged + filtered != wanted {
            let _ = write!(
                text,
                "\nrole {role} acknowledged {acknowledged} rows in all, and `{}` has {} × {} epochs = {wanted}",
                splits.stream(),
                splits.source_rows(),
                splits.epochs(),
            );
        }
    }
    (!text.is_empty()).then(|| {
        format!(
            "the trainers ended without having trained on every row; an early end is declared by yarn_ml.stop(reason){text}"
        )
    })
}
