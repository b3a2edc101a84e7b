//! Order of rows: by start, then revision, each once.

use crate::block::Rows;

/// Sorts rows, and of equal (start, revision) keeps the one that was written last.
pub fn sort(rows: &mut Rows) {
    let key = |at: &Rows, index: usize| at.get(index).map(|(_, row)| (row.start, row.revision));
    if (1..rows.len()).all(|at| key(rows, at - 1) < key(rows, at)) {
        return;
    }
    // Backwards, because the first of equal ones stays.
    rows.reverse();
    rows.sort_by_key(|(_, row)| (row.start, row.revision));
    rows.dedup_by_key(|(_, row)| (row.start, row.revision));
}

/// Keeps the newest revision of each window of sorted rows.
pub fn newest(rows: &mut Rows) {
    rows.dedup_by(|next, kept| {
        let is_same = next.1.start == kept.1.start;
        if is_same {
            std::mem::swap(next, kept);
        }
        is_same
    });
}
