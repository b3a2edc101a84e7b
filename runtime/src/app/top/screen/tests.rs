//! The screens in their smallest size and in a large one.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};

use super::*;
use crate::app::top::fixture::screen_state;
use crate::app::top::input::Action;
use crate::app::top::screen_state::News;
use crate::telemetry::logbook::LogLine;

fn drawn(state: &ScreenState, (width, height): (u16, u16), has_colors: bool) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, has_colors)).unwrap();
    terminal.backend().clone()
}

fn shown(state: &ScreenState, size: (u16, u16)) -> String {
    drawn(state, size, true).to_string()
}

#[test]
fn everything_has_room_on_the_smallest_screen() {
    insta::assert_snapshot!(shown(&screen_state(), (80, 24)));
}

#[test]
fn a_large_screen_shows_more() {
    insta::assert_snapshot!(shown(&screen_state(), (160, 50)));
}

#[test]
fn a_log_is_shown_below_the_consumers() {
    let mut state = screen_state();
    state.act(Action::Last);
    state.act(Action::Log);
    let line = |number: u64, level: &str, own, text: &str| LogLine {
        number,
        at: "2024-01-01T00:00:07.123Z".to_owned(),
        level: level.to_owned(),
        own,
        text: text.to_owned(),
    };
    state.take(News::Log(line(1, "INFO", true, "klines: I am the runtime")));
    state.take(News::LogMissed(3));
    state.take(News::Log(line(5, "WARN", false, "consumer crashed and gets a new instance")));
    state.take(News::Done(Err("hostile: it does not answer".to_owned())));
    insta::assert_snapshot!(shown(&state, (80, 24)));
}

#[test]
fn the_help_and_the_filter_replace_what_is_below() {
    let mut helped = screen_state();
    helped.act(Action::Help);
    insta::assert_snapshot!("help", shown(&helped, (80, 24)));
    let mut filtered = screen_state();
    filtered.act(Action::SwitchList);
    filtered.act(Action::Filter);
    "usdt".chars().for_each(|typed| drop(filtered.act(Action::Type(typed))));
    filtered.act(Action::Move(1));
    insta::assert_snapshot!("filter", shown(&filtered, (80, 24)));
}

#[test]
fn a_run_without_klines_and_a_screen_that_is_too_small_are_shown() {
    let empty = shown(&ScreenState::default(), (80, 24));
    assert!(empty.contains("no consumer") && empty.contains("no klines yet"), "{empty}");
    assert!(shown(&screen_state(), (79, 24)).contains("klines top needs 80 x 24 characters"));
}

#[test]
fn colours_are_never_the_only_sign() {
    let (with, without) = (drawn(&screen_state(), (80, 24), true), drawn(&screen_state(), (80, 24), false));
    assert_eq!(with.to_string(), without.to_string(), "the text is the same");
    let colors = |screen: &TestBackend| screen.buffer().content.iter().filter(|cell| cell.fg != Color::Reset).count();
    assert!(colors(&with) > 0);
    assert_eq!(colors(&without), 0);
    let reversed = without.buffer().content.iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED)).count();
    assert!(reversed > 0, "the selected line");
}
