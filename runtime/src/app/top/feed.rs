//! The threads that bring news from the run: its status once a second, the klines of one interval, a log, and the results
//! of orders. The queue of news is bounded; when it is full the threads wait, and the run drops what they do not read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use klines_domain::interval::Interval;
use serde::Deserialize;

use super::activity::SeenKline;
use super::screen_state::News;
use crate::app::admin::client::{Answers, ClientError, Closer, ask};
use crate::app::admin::protocol::{Answer, Op, RunStatus};

/// News that wait for the screen.
const WAITING: usize = 4_096;
/// How often the status is asked for.
const EVERY: Duration = Duration::from_secs(1);
/// Lines of a log that are read before it is followed.
const LOG_LINES: usize = 200;
/// Attempts to get a status before the run is lost: one may fail because too many others ask.
const ATTEMPTS: u32 = 3;

/// Brings news from the run.
#[derive(Debug)]
pub(super) struct RunFeed {
    data_dir: PathBuf,
    news: SyncSender<News>,
    /// The interval whose klines are read, and what ends that.
    klines: Option<(Interval, Following)>,
    log: Option<Following>,
    /// Ends the thread of the status.
    _stop: Sender<()>,
}

/// A connection on which answers follow each other. Dropping it ends it.
#[derive(Debug)]
struct Following {
    closer: Closer,
    is_over: Arc<AtomicBool>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.closer.close();
    }
}

/// An answer with a kline.
#[derive(Debug, Deserialize)]
struct KlineLine {
    kline: Option<SeenKline>,
    missed: Option<u64>,
}

impl RunFeed {
    /// Asks the run for its status, and goes on to do that. Returns the news.
    ///
    /// # Errors
    /// When no run answers, or there are no threads.
    pub(super) fn start(data_dir: &Path) -> anyhow::Result<(Self, Receiver<News>)> {
        let first = status(data_dir)?;
        let (news, waiting) = sync_channel(WAITING);
        news.try_send(News::Status(first))?;
        let (stop, stopped) = channel();
        let (folder, out) = (data_dir.to_owned(), news.clone());
        spawn("status", move || watch(&folder, &out, &stopped))?;
        let feed = Self { data_dir: data_dir.to_owned(), news, klines: None, log: None, _stop: stop };
        Ok((feed, waiting))
    }

    /// Reads the klines of an interval, instead of another. Without success it is tried again with the next status.
    pub(super) fn read_klines(&mut self, interval: Interval) {
        if self.klines.as_ref().is_some_and(|(known, _)| *known == interval) {
            return;
        }
        self.klines = None;
        let topics = vec![format!("kline.{interval}.*")];
        let out = self.news.clone();
        let read = move |answers: &mut Answers| -> Result<(), ClientError> {
            let mut text = String::new();
            loop {
                answers.read_line(&mut text)?;
                let line: KlineLine = serde_json::from_str(&text)?;
                let news = line.kline.map(News::Kline).or(line.missed.map(News::Missed));
                if news.is_some_and(|news| out.send(news).is_err()) {
                    return Ok(());
                }
            }
        };
        let found = self.follow("klines", Op::Tail { topics, updates: true }, read);
        self.klines = found.ok().map(|following| (interval, following));
    }

    /// Follows the log of a consumer, instead of another.
    pub(super) fn read_log(&mut self, name: String) {
        self.log = None;
        let out = self.news.clone();
        let read = move |answers: &mut Answers| -> Result<(), ClientError> {
            loop {
                let news = match answers.read()? {
                    Answer::Line(line) => News::Log(line),
                    Answer::Missed(lines) => News::LogMissed(lines),
                    _ => return Ok(()),
                };
                if out.send(news).is_err() {
                    return Ok(());
                }
            }
        };
        match self.follow("log", Op::Logs { name, lines: LOG_LINES, follow: true }, read) {
            Ok(following) => self.log = Some(following),
            Err(error) => self.tell(Err(error.to_string())),
        }
    }

    /// Stops following the log.
    pub(super) fn close_log(&mut self) {
        self.log = None;
    }

    /// Gives an order; its result becomes news.
    pub(super) fn order(&self, op: Op) {
        let (folder, out) = (self.data_dir.clone(), self.news.clone());
        let order = move || {
            let result = match ask(&folder, op).and_then(|mut answers| answers.read()) {
                Ok(Answer::Done(done)) => Ok(done),
                Ok(_) => Err("the answer is of another version".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            // The screen has ended.
            let _ = out.send(News::Done(result));
        };
        if let Err(error) = spawn("order", order) {
            self.tell(Err(error.to_string()));
        }
    }

    fn tell(&self, result: Result<String, String>) {
        // If there is no room, the news before are more important.
        let _ = self.news.try_send(News::Done(result));
    }

    fn follow(
        &self,
        name: &str,
        op: Op,
        read: impl FnOnce(&mut Answers) -> Result<(), ClientError> + Send + 'static,
    ) -> anyhow::Result<Following> {
        let mut answers = ask(&self.data_dir, op)?;
        let following = Following { closer: answers.closer()?, is_over: Arc::default() };
        let (is_over, out) = (following.is_over.clone(), self.news.clone());
        spawn(name, move || {
            let ended = read(&mut answers);
            // The thread of the status notices the end of the run.
            let is_expected = is_over.load(Ordering::Acquire) || matches!(ended, Ok(()) | Err(ClientError::Ended));
            if let (Err(error), false) = (ended, is_expected) {
                let _ = out.send(News::Done(Err(error.to_string())));
            }
        })?;
        Ok(following)
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

fn status(data_dir: &Path) -> Result<Box<RunStatus>, ClientError> {
    match ask(data_dir, Op::Status)?.read()? {
        Answer::Status(status) => Ok(status),
        _ => Err(ClientError::Ended),
    }
}

/// Sends a status once a second, until the run is lost or the screen has ended.
fn watch(data_dir: &Path, out: &SyncSender<News>, stopped: &Receiver<()>) {
    let mut failed = 0;
    while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        let news = match status(data_dir) {
            Ok(status) => {
                failed = 0;
                News::Status(status)
            }
            Err(error) => {
                failed += 1;
                if failed >= ATTEMPTS || matches!(error, ClientError::NotRunning(_)) {
                    let _ = out.send(News::Lost(error.to_string()));
                    return;
                }
                continue;
            }
        };
        if out.send(news).is_err() || out.send(News::Tick).is_err() {
            return;
        }
    }
}
