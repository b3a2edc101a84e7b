//! The fault script: lines such as `at 20s for 10s reorder 50ms linear`. Only parses the text.

use std::time::Duration;

use thiserror::Error;

use crate::{
    category::Category,
    fault::{Fault, Garbage, Injection, RestFault},
};

/// Longest duration in a script: 30 days.
const MAX_DURATION: Duration = Duration::from_secs(30 * 86_400);
/// The most matches of a burst.
const MAX_BURST: u32 = 1_000_000;
/// Maximum number of steps of a script; empty lines and comments do not count.
const MAX_STEPS: usize = 10_000;

/// Faults and their times since the start, in real time.
///
/// One step per line; `#` begins a comment:
///
/// ```text
/// at TIME [for TIME] duplicate | mute | stall | cut | down    [linear|spot|inverse]
/// at TIME [for TIME] reorder TIME | slow TIME                 [linear|spot|inverse]
/// at TIME [for TIME] refuse SYMBOL                            [linear|spot|inverse]
/// at TIME delist SYMBOL | list SYMBOL | dead-topic SYMBOL     [linear|spot|inverse]
/// at TIME drop | drop-oldest | burst NUMBER | halt             [linear|spot|inverse]
/// at TIME garbage [json|truncated|price]                      [linear|spot|inverse]
/// at TIME [for TIME] rest FAULT [N%]                          [linear|spot|inverse]
/// at TIME heal
/// ```
///
/// `TIME` is a whole number with `ms`, `s` or `m`. `stall 5s`, `mute 5s`, `cut 5s` and `down 5s` are short for `for 5s …`. A
/// lasting fault without a duration lasts until `heal`.
///
/// `rest` with a category concerns the calls that name it, and with `N%` that share of the calls. Its faults are
/// `too-frequent`, `blocked`, `limited [TIME]` (with the headers of a limit that is reset after this time),
/// `timed-out`, `failing`, `unavailable`, `status CODE`, `reset`, `silent`, `late TIME`, `truncated`, `garbage`,
/// `empty-list`, `half-list`, `missing-trades`, `high-below-low` and `out-of-order`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub at: Duration,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Inject(Injection),
    Heal,
}

/// A line of a script is invalid.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: {problem}")]
pub struct ScriptError {
    /// Number of the line, from 1.
    pub line: usize,
    /// Why the line is invalid.
    pub problem: ScriptProblem,
}

/// Why a line of a script is invalid.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ScriptProblem {
    /// Does not begin with `at TIME`.
    #[error("expected `at TIME`, found {0:?}")]
    NoTime(String),
    /// Not a whole number with a unit, or over 30 days.
    #[error("bad time {0:?}: expected a number with ms, s or m, at most 30 days")]
    BadTime(String),
    /// Not a whole number of percent.
    #[error("bad share {0:?}: expected a whole number from 1 to 100 with %")]
    BadShare(String),
    /// The fault is unknown.
    #[error(
        "unknown fault {0:?}: expected drop, drop-oldest, dead-topic, stall, mute, reorder, duplicate, garbage, slow, refuse, delist, \
         list, burst, halt, cut, down, rest or heal"
    )]
    UnknownFault(String),
    /// A parameter of the fault is missing.
    #[error("{fault} needs {missing}")]
    Missing {
        /// Name of the fault.
        fault: &'static str,
        /// The missing parameter.
        missing: &'static str,
    },
    /// An unexpected word, or a duration for a fault that happens once.
    #[error("{0:?} does not belong here")]
    Unexpected(String),
    /// More than 10,000 steps.
    #[error("more than 10000 steps")]
    TooLong,
}

impl Script {
    /// Parses a script.
    ///
    /// # Errors
    /// Names the first invalid line and the reason.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let mut steps = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            if words.is_empty() {
                continue;
            }
            let error = |problem| ScriptError { line: n + 1, problem };
            if steps.len() >= MAX_STEPS {
                return Err(error(ScriptProblem::TooLong));
            }
            steps.push(Words { rest: &words }.step().map_err(error)?);
        }
        // The sort is stable: steps with the same time keep their order.
        steps.sort_by_key(|step| step.at);
        Ok(Self { steps })
    }

    /// Adds a fault at this time. Of faults at the same time, the one that was added first comes first.
    #[must_use]
    pub fn with(mut self, at: Duration, fault: impl Into<Injection>) -> Self {
        let place = self.steps.partition_point(|step| step.at <= at);
        self.steps.insert(place, Step { at, action: Action::Inject(fault.into()) });
        self
    }

    /// Returns whether the script has no steps.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

struct Words<'a> {
    rest: &'a [&'a str],
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn next_if(&mut self, accept: impl FnOnce(&str) -> bool) -> Option<&'a str> {
        if accept(self.rest.first()?) { self.next() } else { None }
    }

    fn step(mut self) -> Result<Step, ScriptProblem> {
        let first = self.next().unwrap_or_default();
        if first != "at" {
            return Err(ScriptProblem::NoTime(first.to_owned()));
        }
        let at = self.next().map_or(Err(ScriptProblem::BadTime(String::new())), time)?;
        let lasting = match self.next_if(|word| word == "for") {
            Some(_) => Some(self.next().map_or(Err(ScriptProblem::BadTime(String::new())), time)?),
            None => None,
        };
        let action = self.action(lasting)?;
        match self.next() {
            Some(word) => Err(ScriptProblem::Unexpected(word.to_owned())),
            None => Ok(Step { at, action }),
        }
    }

    fn action(&mut self, lasting: Option<Duration>) -> Result<Action, ScriptProblem> {
        let verb = self.next().unwrap_or_default();
        let fault = match verb {
            "heal" if lasting.is_none() => return Ok(Action::Heal),
            "drop" => Fault::Drop,
            "drop-oldest" => Fault::DropOldest,
            "dead-topic" => Fault::DeadTopic(self.symbol("dead-topic")?),
            "burst" => Fault::Burst(self.matches()?),
            "halt" => Fault::Halt,
            "stall" => Fault::Stall,
            "mute" => Fault::Mute,
            "cut" => Fault::Cut,
            "down" => Fault::Down,
            "duplicate" => Fault::Duplicate,
            "reorder" => Fault::Reorder(self.time("reorder")?),
            "slow" => Fault::Slow(self.time("slow")?),
            "refuse" => Fault::Refuse(self.symbol("refuse")?),
            "delist" => Fault::Delist(self.symbol("delist")?),
            "list" => Fault::List(self.symbol("list")?),
            "garbage" => Fault::Garbage(self.garbage()),
            "rest" => Fault::Rest(self.rest_fault()?),
            other => return Err(ScriptProblem::UnknownFault(other.to_owned())),
        };
        let short = match fault {
            Fault::Stall | Fault::Mute | Fault::Cut | Fault::Down if lasting.is_none() => {
                self.next_if(is_time).map(time).transpose()?
            }
            _ => None,
        };
        let lasting = lasting.or(short);
        if lasting.is_some() && !fault.lasts() {
            return Err(ScriptProblem::Unexpected("for".to_owned()));
        }
        let chance =
            if matches!(fault, Fault::Rest(_)) { self.next_if(is_percent).map_or(Ok(100), percent)? } else { 100 };
        let category = self.next_if(|word| Category::parse(word).is_some()).and_then(Category::parse);
        Ok(Action::Inject(Injection { fault, category, lasting, chance }))
    }

    fn time(&mut self, fault: &'static str) -> Result<Duration, ScriptProblem> {
        self.next().map_or(Err(ScriptProblem::Missing { fault, missing: "a time" }), time)
    }

    fn symbol(&mut self, fault: &'static str) -> Result<String, ScriptProblem> {
        self.next().map(str::to_owned).ok_or(ScriptProblem::Missing { fault, missing: "a symbol" })
    }

    fn matches(&mut self) -> Result<u32, ScriptProblem> {
        let number = self.next().and_then(|word| word.parse().ok()).filter(|number| (1..=MAX_BURST).contains(number));
        number.ok_or(ScriptProblem::Missing { fault: "burst", missing: "a number from 1 to 1000000" })
    }

    fn rest_fault(&mut self) -> Result<RestFault, ScriptProblem> {
        const MISSING: &str = "too-frequent, blocked, limited, timed-out, failing, unavailable, status, reset, silent, \
             late, truncated, garbage, empty-list, half-list, missing-trades, high-below-low or out-of-order";
        Ok(match self.next() {
            Some("too-frequent") => RestFault::TooFrequent,
            Some("blocked") => RestFault::Blocked,
            Some("limited") => match self.next_if(is_time) {
                Some(reset) => RestFault::LimitedFor(time(reset)?),
                None => RestFault::Limited,
            },
            Some("timed-out") => RestFault::TimedOut,
            Some("failing") => RestFault::Failing,
            Some("unavailable") => RestFault::Unavailable,
            Some("status") => RestFault::Status(self.status()?),
            Some("reset") => RestFault::Reset,
            Some("silent") => RestFault::Silent,
            Some("late") => RestFault::Late(self.time("rest late")?),
            Some("truncated") => RestFault::Truncated,
            Some("garbage") => RestFault::Garbage,
            Some("empty-list") => RestFault::EmptyList,
            Some("half-list") => RestFault::HalfList,
            Some("missing-trades") => RestFault::MissingTrades,
            Some("high-below-low") => RestFault::HighBelowLow,
            Some("out-of-order") => RestFault::OutOfOrder,
            _ => return Err(ScriptProblem::Missing { fault: "rest", missing: MISSING }),
        })
    }

    fn status(&mut self) -> Result<u16, ScriptProblem> {
        let status = self.next().and_then(|word| word.parse().ok()).filter(|status| (400..600).contains(status));
        status.ok_or(ScriptProblem::Missing { fault: "rest status", missing: "a number from 400 to 599" })
    }

    fn garbage(&mut self) -> Garbage {
        if self.next_if(|word| word == "truncated").is_some() {
            Garbage::Truncated
        } else if self.next_if(|word| word == "price").is_some() {
            Garbage::BadPrice
        } else {
            self.next_if(|word| word == "json");
            Garbage::NotJson
        }
    }
}

/// Returns whether a word is meant as a time.
fn is_time(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit()) && !is_percent(word)
}

fn is_percent(word: &str) -> bool {
    word.ends_with('%')
}

fn percent(word: &str) -> Result<u8, ScriptProblem> {
    let number = word.strip_suffix('%').and_then(|number| number.parse().ok());
    number.filter(|percent| (1..=100).contains(percent)).ok_or_else(|| ScriptProblem::BadShare(word.to_owned()))
}

fn time(word: &str) -> Result<Duration, ScriptProblem> {
    let bad = || ScriptProblem::BadTime(word.to_owned());
    let split = word.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (number, unit) = word.split_at(split);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err(bad()),
    };
    if duration > MAX_DURATION { Err(bad()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests;
