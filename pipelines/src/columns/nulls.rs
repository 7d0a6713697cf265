//! Which rows of a column are null, as runs: most columns have none, and a field that is missing for long is one run.

use arrow_buffer::{BooleanBufferBuilder, NullBuffer};
use std::ops::Range;

/// The null rows: runs in their order, none empty, none touching another.
#[derive(Debug, Default)]
pub(crate) struct Nulls(Vec<Range<usize>>);

impl Nulls {
    /// Adds rows behind all others.
    pub(crate) fn append(&mut self, rows: Range<usize>) {
        match self.0.last_mut() {
            Some(last) if last.end == rows.start => last.end = rows.end,
            _ => self.0.push(rows),
        }
    }

    /// Takes back what lies at `rows` and beyond.
    pub(crate) fn truncate(&mut self, rows: usize) {
        while self.0.pop_if(|run| run.start >= rows).is_some() {}
        if let Some(last) = self.0.last_mut() {
            last.end = last.end.min(rows);
        }
    }

    /// Whether all of the first `rows` rows are null.
    pub(crate) fn cover(&self, rows: usize) -> bool {
        rows == 0 || self.0.first().is_some_and(|run| run.start == 0 && run.end >= rows)
    }

    /// The bitmap for `rows` rows, or `None` when no row is null.
    pub(crate) fn finish(&self, rows: usize) -> Option<NullBuffer> {
        if self.0.is_empty() {
            return None;
        }
        let mut valid = BooleanBufferBuilder::new(rows);
        for run in &self.0 {
            valid.append_n(run.start - valid.len(), true);
            valid.append_n(run.len(), false);
        }
        valid.append_n(rows - valid.len(), true);
        Some(NullBuffer::new(valid.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_say_what_a_list_of_bits_says(valid: Vec<bool>, kept: prop::sample::Index, more: Vec<bool>) {
            let kept = kept.index(valid.len() + 1);
            let mut nulls = Nulls::default();
            let null_rows = |valid: &[bool], start: usize| -> Vec<usize> {
                valid.iter().enumerate().filter(|(_, valid)| !**valid).map(|(row, _)| start + row).collect()
            };
            for row in null_rows(&valid, 0) {
                nulls.append(row..row + 1);
            }
            nulls.truncate(kept);
            for row in null_rows(&more, kept) {
                nulls.append(row..row + 1);
            }
            let expected = [&valid[..kept], &more].concat();
            prop_assert_eq!(nulls.cover(expected.len()), !expected.contains(&true));
            let bits = nulls.finish(expected.len());
            prop_assert_eq!(bits.is_some(), expected.contains(&false));
            if let Some(bits) = bits {
                prop_assert_eq!(bits.iter().collect::<Vec<bool>>(), expected);
            }
        }
    }
}
