//! Tests of what actions do to the board and ask of the run.

use super::*;
use crate::app::top::fixture::board;

#[test]
fn orders_are_about_the_selected_consumer() {
    let mut board = board();
    assert_eq!(board.act(Action::Pause), Some(Effect::Order(Op::Pause { name: "console".to_owned() })));
    assert_eq!(board.act(Action::Move(1)), None);
    assert_eq!(board.act(Action::Resume), Some(Effect::Order(Op::Resume { name: "ema".to_owned() })));
    assert_eq!(board.act(Action::Last), None);
    assert_eq!(board.act(Action::Reload), Some(Effect::Order(Op::Reload { name: "hostile".to_owned() })));
    board.take(News::Done(Err("hostile: why".to_owned())));
    assert_eq!(board.message, Some(Err("hostile: why".to_owned())));
    assert_eq!(board.act(Action::First), None);
    assert_eq!(board.message, None, "the next key removes it");
}

#[test]
fn a_log_is_followed_until_it_is_closed_or_another_one_is_opened() {
    let mut board = board();
    let follow = |name: &str| Some(Effect::Follow(name.to_owned()));
    assert_eq!(board.act(Action::Log), follow("console"));
    board.act(Action::Move(1));
    assert_eq!(board.act(Action::Log), follow("ema"));
    assert_eq!(board.act(Action::Log), Some(Effect::Unfollow));
    assert_eq!(board.act(Action::Log), follow("ema"));
    assert_eq!(board.act(Action::Close), Some(Effect::Unfollow));
    assert!(board.log.is_none());
    assert_eq!(board.act(Action::Close), None);
}

#[test]
fn the_filter_is_about_the_list_with_the_keys() {
    let mut board = board();
    board.act(Action::SwitchList);
    board.act(Action::Filter);
    "sol?".chars().for_each(|typed| drop(board.act(Action::Type(typed))));
    board.act(Action::Erase);
    assert_eq!(board.mode(), Mode::Filter);
    let names = |board: &Board| board.shown_symbols().iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&board), ["SOLUSDT"]);
    assert_eq!(board.shown_consumers().len(), 3);
    board.act(Action::Accept);
    assert_eq!((board.mode(), names(&board).len()), (Mode::Lists, 1));
    board.act(Action::Close);
    assert_eq!(names(&board), ["BTCUSDT", "ETHUSDT", "spot:BTCUSDT", "SOLUSDT"]);
}

#[test]
fn lists_are_sorted_by_what_is_chosen_and_the_selection_stays() {
    let mut board = board();
    board.act(Action::Move(1));
    let names = |board: &Board| board.shown_consumers().iter().map(|row| row.name.clone()).collect::<Vec<_>>();
    let orders: Vec<String> = (0..CONSUMER_SORTS.len())
        .map(|_| {
            board.act(Action::Sort);
            assert_eq!(board.selected_consumer().as_deref(), Some("ema"));
            let by = CONSUMER_SORTS[board.consumers.sort];
            format!("{by}: {}", names(&board).join(" "))
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
    board.act(Action::Reverse);
    assert_eq!(names(&board), ["hostile", "ema", "console"]);
}
