//! `klines reload` and `klines consumer list|logs|pause|resume|reload`: sends a request to a run on this machine and shows its answer.

use std::process::ExitCode;

use klines_config::quantity::ByteSize;
use klines_domain::count::counted;
use klines_domain::sanitize::quoted;

use super::admin::client::{ClientError, ask};
use super::admin::protocol::{Answer, ConsumerStatus, Op};
use super::output;
use super::refusal::data_dir;
use crate::cli::{EXIT_CONFIG, ListArgs, LogsArgs, OrderArgs, ReloadArgs};
use crate::telemetry::logbook::LogLine;

/// Number of characters of a version that are shown.
const VERSION_WIDTH: usize = 12;
const HEADINGS: [&str; 11] =
    ["NAME", "KIND", "STATE", "KLINES", "LOST", "QUEUE", "RESTARTS", "MEMORY", "LOADED", "VERSION", "LOCK"];
/// The columns that hold numbers.
const NUMBERS: std::ops::RangeInclusive<usize> = 3..=8;

/// Lists the consumers of a run.
///
/// # Errors
/// When no run answers.
pub fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let answer = ask(&data_dir(args.run.sources())?, Op::List)?.read()?;
    let Answer::Consumers(rows) = answer else { anyhow::bail!("the answer is not a list of consumers") };
    if args.json {
        output::print(&format!("{:#}\n", serde_json::to_value(&rows)?))?;
    } else {
        output::print(&table(&rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the log lines of a consumer.
///
/// # Errors
/// When no run answers, or it has no such consumer.
pub fn logs(args: &LogsArgs) -> anyhow::Result<ExitCode> {
    let op = Op::Logs { name: args.name.clone(), lines: args.lines, follow: args.follow };
    let mut answers = ask(&data_dir(args.run.sources())?, op)?;
    loop {
        match answers.read() {
            Ok(Answer::Line(line)) => output::print(&shown(&line, args.json)?)?,
            Ok(Answer::Missed(lines)) => {
                output::eprint(&format!("{} missing: logged too fast", counted(lines, "line")))
            }
            Ok(_) => return Ok(ExitCode::SUCCESS),
            Err(ClientError::Ended) if args.follow => {
                output::eprint("klines has ended");
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sends an order to a consumer and prints the result.
///
/// # Errors
/// When no run answers, it has no such consumer, or the consumer cannot carry the order out.
pub fn order(args: &OrderArgs, op: fn(String) -> Op) -> anyhow::Result<ExitCode> {
    if let Answer::Done(done) = ask(&data_dir(args.run.sources())?, op(args.name.clone()))?.read()? {
        output::eprint(&done);
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets a run read its configuration again and prints what became of it.
///
/// # Errors
/// When no run answers.
pub fn reload(args: &ReloadArgs) -> anyhow::Result<ExitCode> {
    match ask(&data_dir(args.run.sources())?, Op::Reconfigure)?.read()? {
        Answer::Refused(report) => {
            output::eprint(&report);
            Ok(ExitCode::from(EXIT_CONFIG))
        }
        Answer::Done(done) => {
            output::eprint(&done);
            Ok(ExitCode::SUCCESS)
        }
        _ => anyhow::bail!("the answer is not about the configuration"),
    }
}

fn shown(line: &LogLine, as_json: bool) -> anyhow::Result<String> {
    if as_json {
        return Ok(format!("{}\n", serde_json::to_string(line)?));
    }
    // Lines of the consumer itself are quoted, so that it cannot forge a line of klines.
    let text = if line.own { quoted(&line.text) } else { format!("klines: {}", line.text) };
    Ok(format!("{} {:>5} {text}\n", line.at, line.level))
}

fn table(rows: &[ConsumerStatus]) -> String {
    let cells = rows.iter().map(|row| {
        [
            row.name.clone(),
            row.kind.clone(),
            row.state.clone(),
            row.klines.to_string(),
            row.lost.to_string(),
            format!("{}/{}", row.queue, row.queue_capacity),
            row.restarts.to_string(),
            bytes(row.memory),
            // Rounded up: the size in bytes differs slightly between versions of klines.
            bytes(row.loaded.map(|bytes| bytes.next_multiple_of(1 << 10))),
            row.version.as_ref().map_or_else(|| "-".to_owned(), |hash| hash.chars().take(VERSION_WIDTH).collect()),
            row.lock.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    let rows: Vec<[String; 11]> = std::iter::once(HEADINGS.map(str::to_owned)).chain(cells).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
            let width = width.unwrap_or_default();
            line.push_str(&if NUMBERS.contains(&column) {
                format!("{cell:>width$}  ")
            } else {
                format!("{cell:<width$}  ")
            });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn bytes(size: Option<u64>) -> String {
    size.map_or_else(|| "-".to_owned(), |bytes| ByteSize(bytes).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::admin::protocol::Delays;

    #[test]
    fn columns_are_aligned() {
        let row = |name: &str, klines, memory, loaded, version: Option<&str>| ConsumerStatus {
            name: name.to_owned(),
            kind: "wasm".to_owned(),
            state: "running".to_owned(),
            klines,
            lost: 0,
            queue: 3,
            queue_capacity: 4_096,
            updates: 0,
            retries: 0,
            restarts: 1,
            crashes: 1,
            set_aside: 0,
            memory,
            loaded,
            version: version.map(str::to_owned),
            lock: version.map(|_| "locked".to_owned()),
            lag: Delays::default(),
        };
        let console = row("console", 12_345, Some(1_179_648), Some(2_000_000), Some("0123456789abcdef"));
        let rows = [console, row("redis", 7, None, None, None)];
        let expected = "\
NAME     KIND  STATE    KLINES  LOST   QUEUE  RESTARTS   MEMORY   LOADED  VERSION       LOCK
console  wasm  running   12345     0  3/4096         1  1152KiB  1954KiB  0123456789ab  locked
redis    wasm  running       7     0  3/4096         1        -        -  -             -
";
        assert_eq!(table(&rows), expected);
    }
}
