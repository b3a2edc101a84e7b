//! `klines tail`: prints the klines and values of a run as they are published.

mod text;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use klines_domain::count::counted;
use klines_domain::sanitize::sanitize;
use serde::Deserialize;
use serde_json::value::RawValue;

use self::text::Columns;
use super::admin::client::{ClientError, ask};
use super::admin::protocol::Op;
use super::refusal::data_dir;
use super::{hangup, output};
use crate::cli::{TailArgs, TailFormat};
use crate::telemetry;

/// Largest number of bytes of a line on a terminal; values have at most 4 KiB.
const MAX_LINE: usize = 8 << 10;

/// An answer to the request. Klines and values keep their text.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    kline: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    missed: Option<u64>,
    error: Option<String>,
}

/// Prints until the run ends, or nobody reads any more.
///
/// # Errors
/// When no run answers, or it has not what the topics name.
pub fn tail(args: &TailArgs) -> anyhow::Result<ExitCode> {
    let op = Op::Tail { topics: args.topics.clone(), updates: args.updates };
    let mut answers = ask(&data_dir(args.run.sources())?, op)?;
    let (closer, is_over) = (answers.closer()?, Arc::new(AtomicBool::new(false)));
    let unwanted = is_over.clone();
    hangup::when_unwanted(move || {
        unwanted.store(true, Ordering::Release);
        closer.close();
    })?;
    let stdout = io::stdout();
    let mut printer = Printer {
        format: args.format,
        is_terminal: stdout.is_terminal(),
        columns: Columns::new(telemetry::wants_color(&stdout)),
        text: String::new(),
        out: BufWriter::new(stdout.lock()),
    };
    let mut line = String::new();
    loop {
        match answers.read_line(&mut line) {
            Ok(()) => {}
            Err(_) if is_over.load(Ordering::Acquire) => return Ok(ExitCode::SUCCESS),
            Err(ClientError::Ended) => {
                output::eprint("klines has ended");
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) => return Err(error.into()),
        }
        match printer.line(&line, !answers.has_more()) {
            Err(error) if output::is_broken_pipe(&error) => return Ok(ExitCode::SUCCESS),
            other => other?,
        }
    }
}

/// Writes lines to standard output.
struct Printer<W: Write> {
    format: TailFormat,
    is_terminal: bool,
    columns: Columns,
    text: String,
    out: BufWriter<W>,
}

impl<W: Write> Printer<W> {
    /// Prints an answer; with `flush`, also what was printed before.
    fn line(&mut self, line: &str, flush: bool) -> anyhow::Result<()> {
        let line: Line<'_> = serde_json::from_str(line)?;
        if let Some(reason) = line.error {
            return Err(ClientError::Refused(reason).into());
        }
        self.text.clear();
        if let Some(missed) = line.missed {
            self.missed(missed)?;
        }
        match (self.format, line.kline, line.value) {
            (TailFormat::Text, Some(kline), _) => self.columns.kline(kline.get(), &mut self.text)?,
            (TailFormat::Text, _, Some(value)) => self.columns.value(value.get(), &mut self.text)?,
            (TailFormat::Ndjson, Some(object), _) | (TailFormat::Ndjson, _, Some(object)) => self.object(object.get()),
            (_, None, None) => {}
        }
        self.out.write_all(self.text.as_bytes())?;
        if flush {
            self.out.flush()?;
        }
        Ok(())
    }

    /// Appends an object. On a terminal without characters that control it, which the text of a value may have.
    fn object(&mut self, object: &str) {
        if self.is_terminal {
            self.text.push_str(&sanitize(object, MAX_LINE));
        } else {
            self.text.push_str(object);
        }
        self.text.push('\n');
    }

    fn missed(&mut self, missed: u64) -> io::Result<()> {
        if self.format == TailFormat::Ndjson {
            self.text.push_str(&format!("{{\"missed\":{missed}}}\n"));
            return Ok(());
        }
        self.out.flush()?;
        output::eprint(&format!("missed {}: read too slowly", counted(missed, "line")));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KLINE: &str = r#"{"category":"linear","symbol":"BTCUSDT","interval":"1m","start":1704067200000,"end":1704067259999,"open":"1","high":"2","low":"1","close":"1.5","volume":"10","turnover":"15","trades":3,"confirm":true,"revision":0,"quality":"complete","sequence":1}"#;

    fn printed(format: TailFormat, is_terminal: bool, lines: &[String]) -> String {
        let (columns, mut out) = (Columns::new(false), Vec::new());
        let mut printer = Printer { format, is_terminal, columns, text: String::new(), out: BufWriter::new(&mut out) };
        lines.iter().for_each(|line| printer.line(line, true).unwrap());
        drop(printer);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn objects_keep_their_text_and_what_is_missed_is_one() {
        let value = r#"{"consumer":"mine","name":"note","value":{"text":"a\u001bb"}}"#;
        let lines = [
            format!(r#"{{"v":1,"kline":{KLINE}}}"#),
            r#"{"v":1,"missed":7}"#.to_owned(),
            format!(r#"{{"v":1,"value":{value},"later":1}}"#),
        ];
        assert_eq!(printed(TailFormat::Ndjson, false, &lines), format!("{KLINE}\n{{\"missed\":7}}\n{value}\n"));
    }

    #[test]
    fn a_terminal_gets_nothing_that_controls_it() {
        let line = "{\"v\":1,\"value\":{\"value\":\"a\u{9b}2J\u{202e}b\"}}".to_owned();
        assert_eq!(printed(TailFormat::Ndjson, true, std::slice::from_ref(&line)), "{\"value\":\"a2Jb\"}\n");
        assert!(printed(TailFormat::Ndjson, false, &[line]).contains('\u{9b}'), "a program gets what was published");
    }

    #[test]
    fn an_error_is_the_reason() {
        let mut printer = Printer {
            format: TailFormat::Text,
            is_terminal: false,
            columns: Columns::new(false),
            text: String::new(),
            out: BufWriter::new(Vec::new()),
        };
        let error = printer.line(r#"{"v":1,"error":"topic `x`: why"}"#, true).unwrap_err();
        assert_eq!(error.to_string(), "topic `x`: why");
    }
}
