//! The logging macros: a formatted message, followed by named fields.

use std::fmt::{Display, Write as _};

use crate::{Level, log};

/// Logs a message with its fields: `message name=value name="a value"`.
///
/// Only the macros call it; authors use the macros, such as [`info!`](crate::info).
pub fn write(level: Level, message: String, fields: &[(&str, &dyn Display)]) {
    let mut line = message;
    for (name, value) in fields {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let value = value.to_string();
        let is_bare = !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '='));
        // Writing into a string cannot fail.
        let _ = if is_bare { write!(line, " {name}={value}") } else { write!(line, " {name}={value:?}") };
    }
    log(level, &line);
}

/// Expands the macros of all levels.
#[doc(hidden)]
#[macro_export]
macro_rules! log_line {
    ($level:expr, $($name:ident = $value:expr),+ , $format:literal $($rest:tt)*) => {
        $crate::line::write(
            $level,
            ::std::format!($format $($rest)*),
            &[$((::std::stringify!($name), &$value as &dyn ::std::fmt::Display)),+],
        )
    };
    ($level:expr, $($format:tt)+) => { $crate::log($level, &::std::format!($($format)+)) };
}

/// Logs a line at level trace: a format string, preceded by named fields.
///
/// ```
/// use klines_guest::{Level, trace, testing};
///
/// trace!(row = 3, "looked at");
/// let lines = testing::take_logs();
/// assert_eq!(lines[0].1, "looked at row=3");
/// assert_eq!(lines[0].0, Level::Trace);
/// ```
#[macro_export]
macro_rules! trace {
    ($($line:tt)+) => { $crate::log_line!($crate::Level::Trace, $($line)+) };
}

/// Logs a line at level debug: a format string, preceded by named fields.
///
/// ```
/// use klines_guest::{Level, debug, testing};
///
/// debug!(klines = 64, late = false, "taken");
/// let lines = testing::take_logs();
/// assert_eq!(lines[0].1, "taken klines=64 late=false");
/// assert_eq!(lines[0].0, Level::Debug);
/// ```
#[macro_export]
macro_rules! debug {
    ($($line:tt)+) => { $crate::log_line!($crate::Level::Debug, $($line)+) };
}

/// Logs a line at level info: a format string, preceded by named fields.
///
/// ```
/// use klines_guest::{Level, info, testing};
///
/// info!(symbol = "BTCUSDT", close = 12.5, "crossed");
/// let (symbol, times) = ("ETHUSDT", 2);
/// info!("{symbol} crossed {} times", times);
/// let lines = testing::take_logs();
/// assert_eq!(lines[0].1, "crossed symbol=BTCUSDT close=12.5");
/// assert_eq!(lines[1].1, "ETHUSDT crossed 2 times");
/// assert_eq!(lines[0].0, Level::Info);
/// ```
#[macro_export]
macro_rules! info {
    ($($line:tt)+) => { $crate::log_line!($crate::Level::Info, $($line)+) };
}

/// Logs a line at level warn (an error from which the consumer recovered): a format string, preceded by named fields.
///
/// ```
/// use klines_guest::{Level, warn, testing};
///
/// warn!(times = 2, reason = "no route", "tried again");
/// let lines = testing::take_logs();
/// assert_eq!(lines[0].1, r#"tried again times=2 reason="no route""#);
/// assert_eq!(lines[0].0, Level::Warn);
/// ```
#[macro_export]
macro_rules! warn {
    ($($line:tt)+) => { $crate::log_line!($crate::Level::Warn, $($line)+) };
}

/// Logs a line at level error (the operator must act): a format string, preceded by named fields.
///
/// ```
/// use klines_guest::{Level, error, testing};
///
/// error!(path = "/out/klines.csv", "cannot write");
/// let lines = testing::take_logs();
/// assert_eq!(lines[0].1, "cannot write path=/out/klines.csv");
/// assert_eq!(lines[0].0, Level::Error);
/// ```
#[macro_export]
macro_rules! error {
    ($($line:tt)+) => { $crate::log_line!($crate::Level::Error, $($line)+) };
}

#[cfg(test)]
mod tests {
    use crate::testing::take_logs;

    #[test]
    fn ambiguous_values_are_quoted() {
        let (kline, close) = (crate::testing::kline("BTCUSDT", "1m", 0), 9.5);
        crate::info!(symbol = kline.symbol, interval = kline.interval, r#type = "", "{close:.2} of {}", "a kind");
        crate::warn!(text = "a b", pair = "a=b", line = "1\n2", quoted = "\"", last = 1 + 1, "odd",);
        let lines: Vec<String> = take_logs().into_iter().map(|(_, line)| line).collect();
        assert_eq!(lines[0], r#"9.50 of a kind symbol=BTCUSDT interval=1m type="""#);
        assert_eq!(lines[1], r#"odd text="a b" pair="a=b" line="1\n2" quoted="\"" last=2"#);
        assert_eq!(kline.symbol, "BTCUSDT", "the macro does not move the value");
    }

    #[test]
    fn named_arguments_of_a_format_are_not_fields() {
        crate::error!("{what} and {what}", what = 1);
        assert_eq!(take_logs()[0].1, "1 and 1");
    }
}
