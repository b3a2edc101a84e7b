//! `klines top`: a live view of a run in the terminal. Reads keys, takes news from the run, and draws; what is shown is
//! decided in `screen_state` and `screen`, what keys mean in `input`.

mod activity;
mod feed;
#[cfg(test)]
mod fixture;
mod input;
mod list;
mod screen;
mod screen_state;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::bail;
use crossterm::event::{self, Event, KeyEventKind};
use ratatui::DefaultTerminal;

use self::activity::interval_of;
use self::feed::RunFeed;
use self::screen_state::{Effect, News, ScreenState};
use super::refusal::data_dir;
use super::{hangup, output};
use crate::cli::TopArgs;
use crate::telemetry;

/// How often news are taken while no key is pressed.
const TURN: Duration = Duration::from_millis(100);

/// Shows the run until the user quits, the command is ended, or the run ends.
///
/// # Errors
/// When no run answers, standard output is not a terminal that can be drawn on, or it cannot be read.
pub fn top(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let data_dir = data_dir(args.run.sources())?;
    let has_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    check_terminal(has_terminal, std::env::var("TERM").ok().as_deref())?;
    let (feed, news) = RunFeed::start(&data_dir)?;
    let is_unwanted = Arc::new(AtomicBool::new(false));
    let unwanted = is_unwanted.clone();
    hangup::when_unwanted(move || unwanted.store(true, Ordering::Release))?;
    let has_colors = telemetry::wants_color(&io::stdout());
    let state = ScreenState { data_dir: data_dir.display().to_string(), ..ScreenState::default() };
    // From here on, also a panic restores the terminal.
    let terminal = ratatui::try_init();
    let shown = terminal.map_err(anyhow::Error::from).and_then(|terminal| {
        let mut view = View { terminal, state, feed, news, has_colors };
        view.show(&is_unwanted)
    });
    let restored = ratatui::try_restore();
    if let Some(reason) = shown? {
        output::eprint(&reason);
    }
    restored?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses what cannot be drawn on, with what can be used instead.
fn check_terminal(has_terminal: bool, term: Option<&str>) -> anyhow::Result<()> {
    const INSTEAD: &str = "`klines consumer list`, `klines tail` and /metrics show the same elsewhere";
    if !has_terminal {
        bail!("klines top needs a terminal as standard input and output: {INSTEAD}");
    }
    match term {
        None | Some("" | "dumb") => {
            bail!("klines top cannot draw on a terminal without TERM, or with TERM=dumb: {INSTEAD}")
        }
        Some(_) => Ok(()),
    }
}

/// The screen and what it shows.
struct View {
    terminal: DefaultTerminal,
    state: ScreenState,
    feed: RunFeed,
    news: Receiver<News>,
    has_colors: bool,
}

impl View {
    /// Shows the run. Returns why it ended, unless the user has quit.
    fn show(&mut self, is_unwanted: &AtomicBool) -> anyhow::Result<Option<String>> {
        while !is_unwanted.load(Ordering::Acquire) {
            // News that come meanwhile wait for the next turn, so that keys are read.
            let waiting: Vec<News> = self.news.try_iter().take(10_000).collect();
            waiting.into_iter().for_each(|news| self.state.take(news));
            if self.state.lost.is_some() {
                return Ok(Some("klines has ended".to_owned()));
            }
            if let Some(interval) = interval_of(&self.state.status.intervals) {
                self.feed.read_klines(interval);
            }
            let (state, has_colors) = (&self.state, self.has_colors);
            self.terminal.draw(|frame| screen::draw(frame, state, has_colors))?;
            if event::poll(TURN)? && self.key()? {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Reads a key. Returns whether the user quits.
    fn key(&mut self) -> anyhow::Result<bool> {
        let Event::Key(key) = event::read()? else { return Ok(false) };
        if key.kind != KeyEventKind::Press {
            return Ok(false);
        }
        let effect = input::action(self.state.mode(), key).and_then(|action| self.state.act(action));
        match effect {
            Some(Effect::Quit) => return Ok(true),
            Some(Effect::Order(op)) => self.feed.order(op),
            Some(Effect::Follow(name)) => self.feed.read_log(name),
            Some(Effect::Unfollow) => self.feed.close_log(),
            None => {}
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_drawn_on_is_refused_with_what_can_be_used() {
        for (has_terminal, term, reason) in [
            (false, Some("xterm"), "needs a terminal"),
            (true, Some("dumb"), "TERM=dumb"),
            (true, None, "without TERM"),
        ] {
            let error = check_terminal(has_terminal, term).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("klines consumer list"), "{error}");
        }
        check_terminal(true, Some("xterm")).unwrap();
    }
}
