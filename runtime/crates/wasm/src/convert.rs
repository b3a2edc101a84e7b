//! Converts between domain values and records of the contract, one file per version: only these files know both.
//!
//! The answers of a guest are untrusted: this module sanitizes, truncates and checks them, for all versions alike.

mod v1;
#[cfg(test)]
mod v2;

use klines_delivery::{Failure, Problem, Subscription};
use klines_domain::interval::{Interval, Unit};
use klines_domain::sanitize::sanitize;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::Millis;

use super::failure::MAX_TEXT;

/// Maximum number of problems that are kept of one `validate`.
const MAX_PROBLEMS: usize = 100;
/// Maximum number of entries in one list of a subscription.
const MAX_ENTRIES: usize = 10_000;
/// Maximum length of a symbol in a message.
const MAX_SYMBOL: usize = 100;

/// Converts a time to milliseconds since the Unix epoch; negative times, which no trade has, become 0.
fn moment(at: Millis) -> u64 {
    u64::try_from(at).unwrap_or(0)
}

/// Returns the first problems, each given as path, message and expectation.
fn problems(found: impl IntoIterator<Item = [String; 3]>) -> Vec<Problem> {
    let problem = |[path, message, expected]: [String; 3]| Problem {
        path: sanitize(&path, MAX_TEXT),
        message: sanitize(&message, MAX_TEXT),
        expected: sanitize(&expected, MAX_TEXT),
    };
    found.into_iter().take(MAX_PROBLEMS).map(problem).collect()
}

fn retry(text: &str) -> Failure {
    Failure::Retry(sanitize(text, MAX_TEXT))
}

fn fatal(text: &str) -> Failure {
    Failure::Fatal(sanitize(text, MAX_TEXT))
}

/// Returns the key of a series, or a message for the guest that names what is not valid.
fn series(category: Category, symbol: &str, (count, unit): (u32, Unit)) -> Result<SeriesKey, String> {
    let symbol =
        Symbol::new(symbol).map_err(|error| format!("{:?} is not a symbol: {error}", sanitize(symbol, MAX_SYMBOL)))?;
    let text = format!("{count}{unit}");
    let interval = text.parse::<Interval>().map_err(|error| format!("{text} is not an interval: {error}"))?;
    Ok(SeriesKey { category, symbol, interval })
}

/// Returns the checked subscription, or `Fatal` with the entry that is not a valid symbol or interval.
fn subscription(symbols: &[String], intervals: &[(u32, Unit)], closed_only: bool) -> Result<Subscription, Failure> {
    if symbols.len().max(intervals.len()) > MAX_ENTRIES {
        return Err(Failure::Fatal(format!("subscribes to more than {MAX_ENTRIES} symbols or intervals")));
    }
    let symbol = |name: &String| {
        Symbol::new(name)
            .map_err(|error| Failure::Fatal(format!("subscribes to {:?}: {error}", sanitize(name, MAX_SYMBOL))))
    };
    let interval = |(count, unit): &(u32, Unit)| {
        let text = format!("{count}{unit}");
        text.parse::<Interval>()
            .map_err(|error| Failure::Fatal(format!("subscribes to an interval of {text}: {error}")))
    };
    Ok(Subscription {
        symbols: symbols.iter().map(symbol).collect::<Result<_, _>>()?,
        intervals: intervals.iter().map(interval).collect::<Result<_, _>>()?,
        closed_only,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_subscription_is_fatal_and_names_the_entry() {
        let week = (2, Unit::Week);
        for (found, named) in [
            (subscription(&["btc\u{1b}".to_owned()], &[], false), "\"btc\""),
            (subscription(&[], &[week], false), "2W"),
        ] {
            match found {
                Err(Failure::Fatal(text)) => assert!(text.contains(named), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
