//! Tests of what actions do to the state and ask of the run.

use super::*;
use crate::app::top::fixture::screen_state;

#[test]
fn orders_are_about_the_selected_consumer() {
    let mut state = screen_state();
    assert_eq!(state.act(Action::Pause), Some(Effect::Order(Op::Pause { name: "console".to_owned() })));
    assert_eq!(state.act(Action::Move(1)), None);
    assert_eq!(state.act(Action::Resume), Some(Effect::Order(Op::Resume { name: "ema".to_owned() })));
    assert_eq!(state.act(Action::Last), None);
    assert_eq!(state.act(Action::Reload), Some(Effect::Order(Op::Reload { name: "hostile".to_owned() })));
    state.take(News::Done(Err("hostile: why".to_owned())));
    assert_eq!(state.message, Some(Err("hostile: why".to_owned())));
    assert_eq!(state.act(Action::First), None);
    assert_eq!(state.message, None, "the next key removes it");
}

#[test]
fn a_log_is_followed_until_it_is_closed_or_another_one_is_opened() {
    let mut state = screen_state();
    let follow = |name: &str| Some(Effect::Follow(name.to_owned()));
    assert_eq!(state.act(Action::Log), follow("console"));
    state.act(Action::Move(1));
    assert_eq!(state.act(Action::Log), follow("ema"));
    assert_eq!(state.act(Action::Log), Some(Effect::Unfollow));
    assert_eq!(state.act(Action::Log), follow("ema"));
    assert_eq!(state.act(Action::Close), Some(Effect::Unfollow));
    assert!(state.log.is_none());
    assert_eq!(state.act(Action::Close), None);
}

#[test]
fn the_filter_is_about_the_list_with_the_keys() {
    let mut state = screen_state();
    state.act(Action::SwitchList);
    state.act(Action::Filter);
    "sol?".chars().for_each(|typed| drop(state.act(Action::Type(typed))));
    state.act(Action::Erase);
    assert_eq!(state.mode(), Mode::Filter);
    let names =
        |state: &ScreenState| state.shown_symbols().iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&state), ["SOLUSDT"]);
    assert_eq!(state.shown_consumers().len(), 3);
    state.act(Action::Accept);
    assert_eq!((state.mode(), names(&state).len()), (Mode::Lists, 1));
    state.act(Action::Close);
    assert_eq!(names(&state), ["BTCUSDT", "ETHUSDT", "spot:BTCUSDT", "SOLUSDT"]);
}

#[test]
fn lists_are_sorted_by_what_is_chosen_and_the_selection_stays() {
    let mut state = screen_state();
    state.act(Action::Move(1));
    let names = |state: &ScreenState| state.shown_consumers().iter().map(|row| row.name.clone()).collect::<Vec<_>>();
    let orders: Vec<String> = (0..CONSUMER_SORTS.len())
        .map(|_| {
            state.act(Action::Sort);
            assert_eq!(state.selected_consumer().as_deref(), Some("ema"));
            let by = CONSUMER_SORTS[state.consumers.sort];
            format!("{by}: {}", names(&state).join(" "))
        })
        .collect();
    let expected = [
        "name: console ema hostile",
        "lost: hostile console ema",
        "queue: ema console hostile",
        "memory: hostile console ema",
        "restarts: hostile console ema",
        "configuration: console ema hostile",
    ];
    assert_eq!(orders, expected);
    state.act(Action::Reverse);
    assert_eq!(names(&state), ["hostile", "ema", "console"]);
}
