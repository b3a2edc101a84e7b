//! A list of which one line is selected, by its name, so that the selection stays when the order changes.

/// What a list shows first, and which line is selected.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    /// The name of the selected line.
    pub(super) selected: Option<String>,
    /// The number of the column that it is sorted by.
    pub(super) sort: usize,
    /// Whether the order is turned round.
    pub(super) is_reversed: bool,
}

impl List {
    /// Selects the line that is `by` lines below the selected one, as far as there are lines.
    pub(super) fn step(&mut self, names: &[String], by: isize) {
        let at = self.position(names).unwrap_or(0).saturating_add_signed(by).min(names.len().saturating_sub(1));
        self.selected = names.get(at).cloned();
    }

    /// Returns the number of the selected line; the first one if none is.
    pub(super) fn position(&self, names: &[String]) -> Option<usize> {
        let selected = self.selected.as_ref().and_then(|name| names.iter().position(|found| found == name));
        selected.or((!names.is_empty()).then_some(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selection_follows_its_name_and_stays_in_the_list() {
        let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mut list = List::default();
        assert_eq!(list.position(&names("a b c")), Some(0));
        list.step(&names("a b c"), 1);
        assert_eq!(list.selected.as_deref(), Some("b"));
        assert_eq!(list.position(&names("b c a")), Some(0));
        list.step(&names("b c a"), 10);
        assert_eq!(list.selected.as_deref(), Some("a"));
        list.step(&names("a b c"), -10);
        assert_eq!(list.selected.as_deref(), Some("a"));
        assert_eq!(list.position(&names("b c")), Some(0), "it has gone");
        assert_eq!(list.position(&[]), None);
    }
}
