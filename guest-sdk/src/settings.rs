//! Reads a consumer's settings and finds everything that is wrong with their form in one go. What values mean is
//! for the consumer's `validate`.

mod reader;
mod refusal;

use std::cell::RefCell;
use std::collections::HashSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use self::reader::Reader;
use self::refusal::Refusal;
use crate::Problem;

/// Reads `json` as `S`, or lists every unknown key, wrong value and missing key.
pub(crate) fn parse<S: DeserializeOwned>(json: &str) -> Result<S, Vec<Problem>> {
    let value: Value =
        serde_json::from_str(json).map_err(|e| vec![Problem::new("", format!("is not JSON: {e}"), "a JSON object")])?;
    let found = Found::default();
    // serde stops at the first wrong value. That value is noted and left out, and the rest is read again.
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

/// What was found so far.
#[derive(Default)]
struct Found {
    problems: RefCell<Vec<Problem>>,
    /// Paths that the next reading passes over.
    left_out: RefCell<HashSet<String>>,
}

impl Found {
    /// Notes a refusal and leaves its place out of the next reading. Returns false if the next reading could find
    /// nothing more.
    fn add(&self, refusal: Refusal) -> bool {
        let problem = refusal.into_problem();
        let mut place = problem.path.clone();
        let mut problems = self.problems.borrow_mut();
        if !problems.iter().any(|known| is_within(&known.path, &place)) {
            problems.push(problem);
        }
        // A refusal that comes back in spite of that means that the value around it cannot do without: a key is
        // missing because its value was left out. Then the whole of it is left out.
        let mut left_out = self.left_out.borrow_mut();
        while !place.is_empty() && !left_out.insert(place.clone()) {
            place.truncate(place.rfind('.').unwrap_or(0));
        }
        !place.is_empty()
    }

    /// Whether the value at `path` is to be passed over.
    fn leaves_out(&self, path: &str) -> bool {
        self.left_out.borrow().contains(path)
    }

    fn is_empty(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// Whether dotted path `inner` is `outer` or lies inside it.
fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || outer.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests;
