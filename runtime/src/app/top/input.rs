//! The keys: what a key means while the screen is in a mode.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What takes the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The lists.
    Lists,
    /// The text of the filter.
    Filter,
    /// The help.
    Help,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    /// Shows the help or hides it.
    Help,
    /// Closes the log or the filter.
    Close,
    /// Selects the other list.
    SwitchList,
    /// Selects the line that is this many lines below.
    Move(isize),
    First,
    Last,
    /// Sorts the list by the next column.
    Sort,
    /// Turns the order of the list round.
    Reverse,
    /// Begins to write a filter.
    Filter,
    Type(char),
    Erase,
    /// Ends writing the filter, which stays.
    Accept,
    Pause,
    Resume,
    Reload,
    /// Follows the log of the selected consumer, or stops that.
    Log,
}

/// Lines of a page.
const PAGE: isize = 10;

/// Returns what a key means.
pub(super) fn action(mode: Mode, key: KeyEvent) -> Option<Action> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return matches!(key.code, KeyCode::Char('c' | 'd')).then_some(Action::Quit);
    }
    // Alt is also what a terminal sends after Escape; it means nothing here.
    if key.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    match mode {
        Mode::Lists => lists(key.code),
        Mode::Filter => match key.code {
            KeyCode::Char(typed) => Some(Action::Type(typed)),
            KeyCode::Backspace => Some(Action::Erase),
            KeyCode::Enter => Some(Action::Accept),
            KeyCode::Esc => Some(Action::Close),
            _ => None,
        },
        Mode::Help => match key.code {
            KeyCode::Char('q') => Some(Action::Quit),
            _ => Some(Action::Help),
        },
    }
}

fn lists(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => Action::Help,
        KeyCode::Esc => Action::Close,
        KeyCode::Tab | KeyCode::BackTab => Action::SwitchList,
        KeyCode::Down | KeyCode::Char('j') => Action::Move(1),
        KeyCode::Up | KeyCode::Char('k') => Action::Move(-1),
        KeyCode::PageDown => Action::Move(PAGE),
        KeyCode::PageUp => Action::Move(-PAGE),
        KeyCode::Home | KeyCode::Char('g') => Action::First,
        KeyCode::End | KeyCode::Char('G') => Action::Last,
        KeyCode::Char('s') => Action::Sort,
        KeyCode::Char('S') => Action::Reverse,
        KeyCode::Char('/') => Action::Filter,
        KeyCode::Char('p') => Action::Pause,
        KeyCode::Char('r') => Action::Resume,
        KeyCode::Char('R') => Action::Reload,
        KeyCode::Char('l') | KeyCode::Enter => Action::Log,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    #[test]
    fn letters_are_orders_in_the_lists_and_text_in_the_filter() {
        for (mode, expected) in
            [(Mode::Lists, Action::Pause), (Mode::Filter, Action::Type('p')), (Mode::Help, Action::Help)]
        {
            assert_eq!(action(mode, key(KeyCode::Char('p'))), Some(expected));
        }
        assert_eq!(action(Mode::Lists, key(KeyCode::Char('R'))), Some(Action::Reload));
        assert_eq!(action(Mode::Lists, key(KeyCode::Char('x'))), None);
        assert_eq!(action(Mode::Filter, key(KeyCode::Esc)), Some(Action::Close));
    }

    #[test]
    fn ctrl_c_quits_in_every_mode_and_q_in_all_but_the_filter() {
        for mode in [Mode::Lists, Mode::Filter, Mode::Help] {
            let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
            assert_eq!(action(mode, ctrl_c), Some(Action::Quit));
            let expected = if mode == Mode::Filter { Action::Type('q') } else { Action::Quit };
            assert_eq!(action(mode, key(KeyCode::Char('q'))), Some(expected));
        }
    }
}
