//! Tests of what the console prints.

use klines_guest::{Category, Kline, Quality, testing};

use super::*;

fn console(show: Show, format: Format) -> Console {
    Console::setup(Settings { show, format }).unwrap()
}

fn text() -> Console {
    console(Show::All, Format::Text)
}

fn width(columns: u32) -> Option<TerminalInfo> {
    Some(TerminalInfo { columns, colour: false })
}

fn btc() -> Kline {
    Kline {
        open: 64_000.1,
        high: 64_010.5,
        low: 63_990.0,
        close: 64_005.0,
        volume: 12.5,
        trades: 431,
        price_decimals: 2,
        volume_decimals: 3,
        ..testing::kline("BTCUSDT", "1m", 1_704_110_400_000)
    }
}

fn sol() -> Kline {
    Kline {
        open: 98.5,
        high: 98.5,
        low: 98.25,
        close: 98.25,
        price_decimals: 2,
        volume_decimals: 0,
        confirm: false,
        ..testing::kline("SOLUSDT", "1s", 1_704_110_401_000)
    }
}

fn batch(klines: Vec<Kline>) -> Batch {
    Batch { klines, lost: 0 }
}

#[test]
fn closed_and_updating_klines_are_aligned_in_columns() {
    assert_eq!(
        text().lines(&batch(vec![btc(), sol()]), None),
        "12:00:00  BTCUSDT  1m  ✓  64000.10  64010.50  63990.00  64005.00  12.500  431\n\
         12:00:01  SOLUSDT  1s  …     98.50     98.50     98.25     98.25       1    1\n"
    );
}

#[test]
fn the_time_is_as_fine_as_the_interval_needs() {
    let mut console = text();
    let mut time = |interval: &str, start| {
        let lines = console.lines(&batch(vec![testing::kline("X", interval, start)]), None);
        lines.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(time("100ms", 1_704_110_400_100), "12:00:00.100");
    assert_eq!(time("4h", 1_704_110_400_000), "12:00:00");
    assert_eq!(time("1D", 1_704_067_200_000), "2024-01-01");
    assert_eq!(time("1M", 1_704_067_200_000), "2024-01-01");
}

#[test]
fn quality_revision_and_category_follow_the_columns() {
    let repaired = Kline { quality: Quality::Repaired, revision: 2, category: Category::Spot, ..btc() };
    assert!(text().lines(&batch(vec![repaired]), None).ends_with("  431  repaired revision 2 spot\n"));
}

#[test]
fn the_versions_of_a_window_are_told_apart() {
    let mut console = text();
    let mut tags = |revision, quality| {
        let lines = console.lines(&batch(vec![Kline { revision, quality, ..btc() }]), None);
        lines
            .strip_prefix("12:00:00  BTCUSDT  1m  ✓  64000.10  64010.50  63990.00  64005.00  12.500  431")
            .unwrap()
            .to_owned()
    };
    assert_eq!(tags(0, Quality::Partial), "  partial\n");
    assert_eq!(tags(1, Quality::Gapped), "  gapped revision 1\n");
    assert_eq!(tags(2, Quality::Repaired), "  repaired revision 2\n");
    assert_eq!(tags(3, Quality::Complete), "  revision 3\n");
    assert_eq!(tags(0, Quality::Repaired), "  repaired\n", "a window of which nothing was known before");
    assert_eq!(tags(0, Quality::Complete), "\n");
}

#[test]
fn a_terminal_without_room_shortens_the_revision_before_it_drops_columns() {
    let repaired = || batch(vec![Kline { quality: Quality::Repaired, revision: 12, ..btc() }]);
    let last = |columns| text().lines(&repaired(), width(columns)).lines().last().unwrap().to_owned();
    assert!(last(110).ends_with("  12.500     431  repaired revision 12"), "{}", last(110));
    assert!(last(94).ends_with(" 12.500    431 repaired revision 12"), "{}", last(94));
    assert!(last(86).ends_with(" 12.500    431 repaired r12"), "{}", last(86));
    assert!(last(80).ends_with(" 12.500 repaired r12"), "{}", last(80));
}

#[test]
fn linear_is_named_only_together_with_other_categories() {
    let mut console = text();
    assert!(!console.lines(&batch(vec![btc()]), None).contains("linear"));
    let spot = Kline { category: Category::Spot, ..btc() };
    let lines = console.lines(&batch(vec![btc(), spot]), None);
    assert!(lines.contains("431  linear\n") && lines.contains("431  spot\n"));
    assert!(console.lines(&batch(vec![btc()]), None).contains("linear"));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for columns in 1..120 {
        let mut console = text();
        let gapped = Kline { quality: Quality::Gapped, revision: 1, ..sol() };
        let chinese = Kline { symbol: "币安人生USDT".into(), ..btc() };
        let batch = Batch { klines: vec![btc(), gapped, chinese], lost: 7 };
        for line in console.lines(&batch, width(columns)).lines() {
            let wide = line.chars().filter(|c| "币安人生".contains(*c)).count();
            assert!(line.chars().count() + wide <= usize::try_from(columns).unwrap(), "{columns}: {line}");
        }
    }
}

#[test]
fn a_narrow_terminal_loses_the_least_important_columns_first() {
    let lines = |columns| text().lines(&batch(vec![btc()]), width(columns));
    assert_eq!(lines(66).lines().last(), Some("12:00:00 BTCUSDT 1m ✓ 64000.10 64010.50 63990.00 64005.00 12.500"));
    assert_eq!(lines(40).lines().last(), Some("12:00:00 BTCUSDT 1m ✓ 64000.10 64005.00"));
    assert_eq!(lines(20).lines().last(), Some("BTCUSDT 64005.00"));
}

#[test]
fn a_terminal_gets_one_heading() {
    let mut console = text();
    let first = console.lines(&batch(vec![btc()]), width(100));
    assert!(first.starts_with("time      symbol "), "{first}");
    assert_eq!(first.lines().count(), 2);
    assert_eq!(console.lines(&batch(vec![btc()]), width(100)).lines().count(), 1);
}

#[test]
fn colour_is_used_only_where_the_terminal_supports_it() {
    let coloured = Some(TerminalInfo { columns: 100, colour: true });
    let lines = text().lines(&batch(vec![btc(), sol()]), coloured);
    assert!(lines.contains("\u{1b}[32m64005.00\u{1b}[0m"), "{lines}");
    assert!(lines.contains("\u{1b}[31m98.25\u{1b}[0m"), "{lines}");
    for terminal in [None, width(100)] {
        assert!(!text().lines(&batch(vec![btc(), sol()]), terminal).contains('\u{1b}'));
    }
}

#[test]
fn lost_klines_are_reported_in_either_format() {
    let batch = Batch { klines: vec![btc()], lost: 3 };
    assert!(text().lines(&batch, None).starts_with("! 3 closed klines lost: fell behind\n12:00:00"));
    let json = String::from_utf8(json_lines(&batch).unwrap()).unwrap();
    assert!(json.starts_with("{\"lost\":3}\n{\"category\":\"linear\",\"symbol\":\"BTCUSDT\""));
}

#[test]
fn exact_digits_are_printed_instead_of_floats() {
    let digits = klines_guest::ExactKline {
        close: "64005".into(),
        volume: "123456789012345678.125".into(),
        ..batch(vec![btc()]).exact(0)
    };
    testing::set_digits(vec![digits]);
    let lines = text().lines(&batch(vec![btc()]), None);
    assert!(lines.contains(" 64005.00  123456789012345678.125 "), "{lines}");
    testing::set_digits(Vec::new());
}

#[test]
fn updates_are_subscribed_only_when_they_are_shown() {
    assert!(console(Show::Closed, Format::Text).subscription().closed_only);
    assert!(!console(Show::All, Format::Json).subscription().closed_only);
}
