//! Parses a consumer's settings and reports all unknown keys, wrong types and missing keys at once. The consumer's
//! `validate` checks the values.

mod reader;
mod refusal;

use std::cell::RefCell;
use std::collections::HashSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use self::reader::Reader;
use self::refusal::Refusal;
use crate::Problem;

/// Parses `json` as `S`, or returns every unknown key, wrong value and missing key.
pub(crate) fn parse<S: DeserializeOwned>(json: &str) -> Result<S, Vec<Problem>> {
    let value: Value =
        serde_json::from_str(json).map_err(|e| vec![Problem::new("", format!("is not JSON: {e}"), "a JSON object")])?;
    let found = Found::default();
    // serde stops at the first wrong value. That value is recorded and skipped, and the rest is parsed again.
    loop {
        match S::deserialize(Reader::new(&value, &found)) {
            Ok(settings) if found.is_empty() => return Ok(settings),
            Ok(_) => return Err(found.into_problems()),
            Err(refusal) => {
                if !found.add(refusal) {
                    return Err(found.into_problems());
                }
            }
        }
    }
}

/// The problems that were found so far.
#[derive(Default)]
struct Found {
    problems: RefCell<Vec<Problem>>,
    /// The paths that the next pass skips.
    skipped: RefCell<HashSet<String>>,
}

impl Found {
    /// Records a refusal and skips its place in the next pass. Returns false if another pass cannot find more
    /// problems.
    fn add(&self, refusal: Refusal) -> bool {
        let problem = refusal.into_problem();
        let mut place = problem.path.clone();
        let mut problems = self.problems.borrow_mut();
        if !problems.iter().any(|known| is_within(&known.path, &place)) {
            problems.push(problem);
        }
        // The same refusal again means that the surrounding value requires the skipped one: its key is now missing.
        // Then the whole surrounding value is skipped.
        let mut skipped = self.skipped.borrow_mut();
        while !place.is_empty() && !skipped.insert(place.clone()) {
            place.truncate(place.rfind('.').unwrap_or(0));
        }
        !place.is_empty()
    }

    /// Returns whether the value at `path` is skipped.
    fn skips(&self, path: &str) -> bool {
        self.skipped.borrow().contains(path)
    }

    fn is_empty(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// Returns whether the dotted path `inner` is `outer` or inside it.
fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || outer.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests;
