//! Everything that the screen shows, built from the answers of the run and the actions of the user. Without I/O.

use std::cmp::Reverse;
use std::collections::VecDeque;

use super::activity::{Activity, SeenKline, SymbolActivity, interval_of};
use super::input::{Action, Mode};
use super::list::List;
use crate::app::admin::protocol::{ConsumerStatus, FeedStatus, Op, RunStatus};
use crate::telemetry::logbook::LogLine;

/// Lines of a log that are kept.
const LOG_LINES: usize = 500;
/// Characters of a filter.
const MAX_FILTER: usize = 40;
/// The orders of the consumers.
pub(super) const CONSUMER_SORTS: [&str; 6] = ["configuration", "name", "lost", "queue", "memory", "restarts"];
/// The orders of the symbols.
pub(super) const SYMBOL_SORTS: [&str; 3] = ["activity", "name", "quality"];

/// News from the run.
#[derive(Debug)]
pub(super) enum News {
    Status(Box<RunStatus>),
    Kline(SeenKline),
    /// Klines that were read too slowly.
    Missed(u64),
    Log(LogLine),
    /// Lines of the log that are missing.
    LogMissed(u64),
    /// The result of an order.
    Done(Result<String, String>),
    /// A second is over.
    Tick,
    /// The run does not answer any more.
    Lost(String),
}

/// What an action asks of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Quit,
    Order(Op),
    /// Follows the log of a consumer.
    Follow(String),
    /// Stops following.
    Unfollow,
}

/// The list that has the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Focus {
    #[default]
    Consumers,
    Symbols,
}

/// A log that is followed.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) consumer: String,
    pub(super) lines: VecDeque<LogLine>,
    pub(super) missed: u64,
}

/// What the screen shows.
#[derive(Debug, Default)]
pub(super) struct ScreenState {
    /// The folder of the run.
    pub(super) data_dir: String,
    pub(super) status: RunStatus,
    /// The status before, for rates.
    pub(super) before: Option<RunStatus>,
    pub(super) activity: Activity,
    /// Klines that were read too slowly to be counted.
    pub(super) missed: u64,
    pub(super) focus: Focus,
    pub(super) consumers: List,
    pub(super) symbols: List,
    pub(super) filter: String,
    pub(super) is_filtering: bool,
    pub(super) is_help: bool,
    pub(super) log: Option<Log>,
    /// The result of the last order.
    pub(super) message: Option<Result<String, String>>,
    /// Why there is nothing more to show.
    pub(super) lost: Option<String>,
}

impl ScreenState {
    /// Takes news in.
    pub(super) fn take(&mut self, news: News) {
        match news {
            News::Status(status) => {
                // Trades are counted in the klines of one interval.
                if interval_of(&status.intervals) != interval_of(&self.status.intervals) {
                    self.activity.clear();
                }
                let before = std::mem::replace(&mut self.status, *status);
                self.before = (before.now > 0).then_some(before);
            }
            News::Kline(kline) => self.activity.see(&kline),
            News::Missed(klines) => self.missed += klines,
            News::Log(line) => {
                if let Some(log) = &mut self.log {
                    log.lines.push_back(line);
                    if log.lines.len() > LOG_LINES {
                        log.lines.pop_front();
                    }
                }
            }
            News::LogMissed(lines) => {
                if let Some(log) = &mut self.log {
                    log.missed += lines;
                }
            }
            News::Done(result) => self.message = Some(result),
            News::Tick => self.activity.tick(),
            News::Lost(reason) => self.lost = Some(reason),
        }
    }

    /// Returns what takes the keys.
    pub(super) fn mode(&self) -> Mode {
        match (self.is_help, self.is_filtering) {
            (true, _) => Mode::Help,
            (false, true) => Mode::Filter,
            (false, false) => Mode::Lists,
        }
    }

    /// Does what the user wants; returns what is asked of the run.
    pub(super) fn act(&mut self, action: Action) -> Option<Effect> {
        self.message = None;
        match action {
            Action::Quit => return Some(Effect::Quit),
            Action::Help => self.is_help = !self.is_help,
            Action::Close => return self.close(),
            Action::SwitchList => self.switch(),
            Action::Move(by) => self.step(by),
            Action::First => self.step(isize::MIN),
            Action::Last => self.step(isize::MAX),
            Action::Sort => self.sort(),
            Action::Reverse => {
                let list = self.focused();
                list.is_reversed = !list.is_reversed;
            }
            Action::Filter => self.is_filtering = true,
            Action::Type(typed) if self.filter.chars().count() < MAX_FILTER => self.filter.push(typed),
            Action::Type(_) => {}
            Action::Erase => {
                self.filter.pop();
            }
            Action::Accept => self.is_filtering = false,
            Action::Pause => return self.order(|name| Op::Pause { name }),
            Action::Resume => return self.order(|name| Op::Resume { name }),
            Action::Reload => return self.order(|name| Op::Reload { name }),
            Action::Log => return self.toggle_log(),
        }
        None
    }

    fn close(&mut self) -> Option<Effect> {
        if self.is_filtering || !self.filter.is_empty() {
            self.is_filtering = false;
            self.filter.clear();
            return None;
        }
        self.log.take().map(|_| Effect::Unfollow)
    }

    fn toggle_log(&mut self) -> Option<Effect> {
        let name = self.selected_consumer()?;
        if self.log.take().is_some_and(|log| log.consumer == name) {
            return Some(Effect::Unfollow);
        }
        self.log = Some(Log { consumer: name.clone(), ..Log::default() });
        Some(Effect::Follow(name))
    }

    fn switch(&mut self) {
        self.focus = match self.focus {
            Focus::Consumers => Focus::Symbols,
            Focus::Symbols => Focus::Consumers,
        };
    }

    fn sort(&mut self) {
        let count = match self.focus {
            Focus::Consumers => CONSUMER_SORTS.len(),
            Focus::Symbols => SYMBOL_SORTS.len(),
        };
        let list = self.focused();
        list.sort = (list.sort + 1) % count;
    }

    fn focused(&mut self) -> &mut List {
        match self.focus {
            Focus::Consumers => &mut self.consumers,
            Focus::Symbols => &mut self.symbols,
        }
    }

    fn step(&mut self, by: isize) {
        let names = match self.focus {
            Focus::Consumers => self.shown_consumers().iter().map(|row| row.name.clone()).collect::<Vec<_>>(),
            Focus::Symbols => self.shown_symbols().iter().map(|(name, _)| (*name).to_owned()).collect(),
        };
        self.focused().step(&names, by);
    }

    fn order(&mut self, op: fn(String) -> Op) -> Option<Effect> {
        let name = self.selected_consumer()?;
        self.message = Some(Ok(format!("{name}: the order was given")));
        Some(Effect::Order(op(name)))
    }

    /// Returns the name of the consumer that orders are about.
    pub(super) fn selected_consumer(&self) -> Option<String> {
        let names: Vec<String> = self.shown_consumers().iter().map(|row| row.name.clone()).collect();
        self.consumers.position(&names).and_then(|at| names.get(at).cloned())
    }

    fn passes(&self, name: &str) -> bool {
        name.to_lowercase().contains(&self.filter.to_lowercase())
    }

    /// Returns the consumers that pass the filter, in the order of the list. The filter is about the list with the keys.
    pub(super) fn shown_consumers(&self) -> Vec<&ConsumerStatus> {
        let is_filtered = self.focus == Focus::Consumers;
        let rows = self.status.consumers.iter().filter(|row| !is_filtered || self.passes(&row.name));
        let mut rows: Vec<&ConsumerStatus> = rows.collect();
        match CONSUMER_SORTS.get(self.consumers.sort).copied() {
            Some("name") => rows.sort_by_key(|row| row.name.clone()),
            Some("lost") => rows.sort_by_key(|row| Reverse(row.lost)),
            Some("queue") => rows.sort_by_key(|row| Reverse(row.queue)),
            Some("memory") => rows.sort_by_key(|row| Reverse(row.memory)),
            Some("restarts") => rows.sort_by_key(|row| Reverse((row.restarts, row.crashes))),
            _ => {}
        }
        if self.consumers.is_reversed {
            rows.reverse();
        }
        rows
    }

    /// Returns the symbols that pass the filter, in the order of the list.
    pub(super) fn shown_symbols(&self) -> Vec<(&str, &SymbolActivity)> {
        let is_filtered = self.focus == Focus::Symbols;
        let rows = self.activity.symbols().filter(|(name, _)| !is_filtered || self.passes(name));
        let mut rows: Vec<(&str, &SymbolActivity)> = rows.collect();
        match SYMBOL_SORTS.get(self.symbols.sort).copied() {
            Some("activity") => rows.sort_by_key(|(_, symbol)| Reverse(symbol.trades())),
            // Those of which trades are missing first.
            Some("quality") => rows.sort_by_key(|(_, symbol)| symbol.quality == "complete"),
            _ => {}
        }
        if self.symbols.is_reversed {
            rows.reverse();
        }
        rows
    }

    /// Returns what a feed was at the status before.
    pub(super) fn feed_before(&self, category: &str) -> Option<&FeedStatus> {
        self.before.as_ref()?.feeds.iter().find(|feed| feed.category == category)
    }

    /// Returns what a consumer was at the status before.
    pub(super) fn consumer_before(&self, name: &str) -> Option<&ConsumerStatus> {
        self.before.as_ref()?.consumers.iter().find(|row| row.name == name)
    }
}

#[cfg(test)]
mod tests;
