//! What keeps a thread from doing its work, as it is logged: each trouble once, until it is another one, and seldom, because two
//! can take turns.

use std::time::Duration;

/// How long after a message another one is logged at the earliest.
const PAUSE: Duration = Duration::from_secs(5);

/// The last trouble that was logged.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    logged: Option<String>,
    next: Duration,
}

impl Trouble {
    /// Returns whether a trouble is to be logged now.
    pub(crate) fn is_news(&mut self, trouble: &str, now: Duration) -> bool {
        if now < self.next || self.logged.as_deref() == Some(trouble) {
            return false;
        }
        (self.logged, self.next) = (Some(trouble.to_owned()), now + PAUSE);
        true
    }

    /// It is over.
    pub(crate) fn end(&mut self) {
        self.logged = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_that_take_turns_are_logged_seldom() {
        let mut trouble = Trouble::default();
        let at = |seconds| Duration::from_secs(seconds);
        assert!(trouble.is_news("a", at(0)));
        assert!(!trouble.is_news("b", at(1)), "too soon");
        assert!(!trouble.is_news("a", at(6)), "known");
        assert!(trouble.is_news("b", at(7)));
        trouble.end();
        assert!(!trouble.is_news("b", at(8)), "too soon");
        assert!(trouble.is_news("b", at(12)), "it has come again");
    }
}
