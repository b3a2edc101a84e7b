//! Compares the readers with recorded frames and with each other, and tests invalid frames.

use klines_domain::symbol::Symbol;
use klines_domain::trade::{Quantity, Side, Trade, TradeId};
use proptest::prelude::*;

use super::*;

type Events = Vec<FeedEvent<ExchangeMillis>>;

const LINEAR: &str = r#"{"topic":"publicTrade.ETHUSDT","type":"snapshot","ts":1786310820347,"data":[{"T":1786310820346,"s":"ETHUSDT","S":"Buy","v":"0.01","p":"1922.50","L":"PlusTick","i":"19d7df56-4f10-5290-a969-d9d9f2c74cc3","BT":false,"RPI":false,"seq":430879434439},{"T":1786310820346,"s":"ETHUSDT","S":"Sell","v":"1.30","p":"1922.50","L":"ZeroPlusTick","i":"4d4ad26c-901f-5146-adc0-1db29b6b9ab6","BT":true,"RPI":true,"seq":430879434439}]}"#;
const SPOT: &str = r#"{"topic":"publicTrade.ETHUSDT","ts":1786310821917,"type":"snapshot","data":[{"i":"2280000001739247417","T":1786310821917,"p":"1923.28","v":"0.04537","S":"Sell","seq":178477362706,"s":"ETHUSDT","BT":false,"RPI":false}]}"#;

/// Returns the result of [`times_of`] as plain numbers.
fn plain_times_of(text: &str) -> Vec<(i64, i64)> {
    times_of(text).into_iter().map(|(from, to)| (from.get(), to.get())).collect()
}

/// The timestamp of [`LINEAR`], a millisecond after its trades.
const STAMPED: ExchangeMillis = ExchangeMillis::new(1_786_310_820_347);

fn table() -> SymbolTable {
    let mut table = SymbolTable::default();
    table.intern(&Symbol::new("BTCUSDT").unwrap());
    table.intern(&Symbol::new("ETHUSDT").unwrap());
    table
}

fn read(category: Category, text: &str) -> Result<(Frame<'_>, Vec<Trade>), DecodeError> {
    let mut events = Events::new();
    let frame = decode(category, text, &table(), &mut events)?;
    let trades = events.into_iter().map(|event| match event {
        FeedEvent::Trade(trade) => trade,
        other => panic!("{other:?}"),
    });
    Ok((frame, trades.collect()))
}

#[test]
fn recorded_linear_frame_is_read_in_full() {
    let (frame, trades) = read(Category::Linear, LINEAR).unwrap();
    assert_eq!(frame, Frame::Trades { stamped: STAMPED, received: 2, rejected: 0, undated: 0 });
    assert_eq!(
        trades[1],
        Trade {
            symbol: SymbolId(1),
            time: STAMPED - 1,
            sequence: 430_879_434_439,
            price: Quantity { mantissa: 192_250, scale: 2 },
            size: Quantity { mantissa: 130, scale: 2 },
            side: Side::Sell,
            block: true,
            id: TradeId::Uuid { high: 0x4d4a_d26c_901f_5146, low: 0xadc0_1db2_9b6b_9ab6 },
        }
    );
}

#[test]
fn both_readers_agree_on_recorded_frames() {
    for (category, text) in [(Category::Linear, LINEAR), (Category::Spot, SPOT)] {
        let (mut fast, mut tolerant) = (Events::new(), Events::new());
        let by_scan = scan::trades(category, text, &table(), &mut fast);
        let by_serde = wire::frame(text, &table(), &mut tolerant).unwrap();
        assert_eq!(by_scan, Some(by_serde), "the fast reader accepts the recorded layout");
        assert_eq!(fast, tolerant);
    }
}

#[test]
fn ids_are_packed_without_loss() {
    let (_, trades) = read(Category::Spot, SPOT).unwrap();
    assert_eq!(trades[0].id, TradeId::Number(2_280_000_001_739_247_417));
    assert_eq!(trade_id("0229"), TradeId::Text("0229".into()));
    assert_eq!(trade_id("12345678901234567890"), TradeId::Text("12345678901234567890".into()));
    assert_eq!(trade_id(""), TradeId::None);
}

#[test]
fn any_key_order_and_missing_optional_fields_are_read() {
    let text = r#" {"data":[{"p":"1.5","v":"2","i":"x","S":"Sell","s":"BTCUSDT","T":5}],"ts":9,"extra":{},"topic":"publicTrade.BTCUSDT"}"#;
    let (frame, trades) = read(Category::Linear, text).unwrap();
    assert_eq!(frame, Frame::Trades { stamped: ExchangeMillis::new(9), received: 1, rejected: 0, undated: 0 });
    assert_eq!((trades[0].sequence, trades[0].block), (0, false));
}

#[test]
fn implausible_numbers_reject_only_their_row_and_keep_a_plausible_time() {
    for (field, bad, undated) in [
        (r#""p":"1922.50""#, r#""p":"-1""#, 0),
        (r#""p":"1922.50""#, r#""p":"0.00""#, 0),
        (r#""p":"1922.50""#, r#""p":"1e5""#, 0),
        (r#""p":"1922.50""#, r#""p":"9999999999999999999""#, 0),
        (r#""v":"0.01""#, r#""v":"""#, 0),
        (r#""v":"0.01""#, r#""v":"1.""#, 0),
        (r#""T":1786310820346"#, r#""T":1786310830348"#, 1),
        (r#""T":1786310820346"#, r#""T":0"#, 1),
    ] {
        // Once in Bybit's layout, and once in a layout that only the tolerant reader accepts.
        for text in [LINEAR.replacen(field, bad, 1), format!(" {}", LINEAR.replacen(field, bad, 1))] {
            let mut events = Events::new();
            let frame = decode(Category::Linear, &text, &table(), &mut events).unwrap();
            assert_eq!(frame, Frame::Trades { stamped: STAMPED, received: 2, rejected: 1, undated }, "{bad}");
            assert!(matches!(events.pop(), Some(FeedEvent::Trade(_))), "{bad}");
            let at = STAMPED - 1;
            let missed = FeedEvent::Missed { symbol: SymbolId(1), from: at, to: at };
            assert_eq!(events, if undated == 0 { vec![missed] } else { vec![] }, "{bad}");
        }
    }
}

#[test]
fn the_times_of_an_unreadable_frame_are_found_in_its_text() {
    let frame = |times: &[i64]| {
        let rows: Vec<_> = times.iter().map(|time| format!(r#"{{"T":{time},"s":"#)).collect();
        format!(r#"{{"topic":"publicTrade.ETHUSDT","ts":1786310820347,"data":[{}"#, rows.join(","))
    };
    let at = 1_786_310_820_347;
    assert_eq!(plain_times_of(&frame(&[at - 5_000, at - 5_001, at])), [(at - 5_001, at - 5_000), (at, at)]);
    assert_eq!(plain_times_of(&frame(&[at, at - 100, at - 200, at - 301])), [(at - 301, at - 301), (at - 200, at)]);
    assert_eq!(
        plain_times_of(&frame(&[0, at + STAMP_SLACK, at + STAMP_SLACK + 1])),
        [(at + STAMP_SLACK, at + STAMP_SLACK)]
    );
    assert_eq!(plain_times_of(r#"{"T":12,"T":"13","T":}"#), [(12, 12)], "also without a timestamp");
    assert_eq!(plain_times_of("no row"), []);
}

#[test]
fn padding_beyond_eighteen_digits_is_trimmed() {
    assert_eq!(quantity(b"12345678901.50000000000"), Some(Quantity { mantissa: 123_456_789_015, scale: 1 }));
    assert_eq!(quantity(b"1234567890123456789"), None);
}

#[test]
fn other_frames_are_distinguished() {
    let command = r#"{"success":true,"ret_msg":"","conn_id":"d8bu","req_id":"","op":"subscribe"}"#;
    assert_eq!(read(Category::Linear, command).unwrap().0, Frame::Command(command));
    let option = r#"{"success":true,"conn_id":"x","data":{"failTopics":[],"successTopics":[]},"type":"COMMAND_RESP"}"#;
    assert_eq!(read(Category::Linear, option).unwrap().0, Frame::Command(option));
    let book = r#"{"topic":"orderbook.200.ETHUSDT","type":"delta","ts":1,"data":{}}"#;
    assert_eq!(read(Category::Linear, book).unwrap().0, Frame::Other { topic: "orderbook.200.ETHUSDT" });
}

#[test]
fn errors_of_unreadable_frames_have_a_kind() {
    let cut = &LINEAR[..LINEAR.len() - 20];
    for (text, kind) in [
        ("", "not-json"),
        ("hello", "not-json"),
        ("[]", "not-json"),
        (cut, "not-json"),
        ("{}", "unrecognised"),
        (r#"{"topic":"publicTrade.ETHUSDT"}"#, "malformed"),
        (r#"{"topic":"publicTrade.ETHUSDT","ts":1,"data":[{"T":1}]}"#, "malformed"),
        (&*LINEAR.replace("\"Sell\"", "\"Hold\""), "malformed"),
        (&*LINEAR.replace("ETHUSDT", "XRPUSDT"), "unknown-symbol"),
    ] {
        assert_eq!(read(Category::Linear, text).unwrap_err().kind(), kind, "{text}");
    }
}

proptest! {
    #[test]
    fn uuids_are_packed_only_when_canonical(high: u64, low: u64, at in 0usize..36, byte in any::<u8>()) {
        let hex = format!("{high:016x}{low:016x}");
        let text = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        prop_assert_eq!(trade_id(&text), TradeId::Uuid { high, low });
        let mut bytes = text.into_bytes();
        bytes[at] = byte;
        if let Some(TradeId::Uuid { high, low }) = number::uuid(&bytes) {
            let hex = format!("{high:016x}{low:016x}");
            let back = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
            prop_assert_eq!(back.into_bytes(), bytes);
        }
    }

    #[test]
    fn damaged_frames_never_yield_what_the_tolerant_reader_refuses(at in 0usize..LINEAR.len(), byte in 0x20u8..0x7f) {
        let mut bytes = LINEAR.as_bytes().to_vec();
        bytes[at] = byte;
        let text = String::from_utf8(bytes).unwrap();
        let (mut fast, mut tolerant) = (Events::new(), Events::new());
        if let Some(frame) = scan::trades(Category::Linear, &text, &table(), &mut fast) {
            prop_assert_eq!(wire::frame(&text, &table(), &mut tolerant), Ok(frame));
            prop_assert_eq!(fast, tolerant);
        }
    }
}

#[test]
fn many_times_in_garbage_are_one_span() {
    let times =
        |count: i64| -> String { (0..count).map(|n| format!(r#""T":{},"#, 1_700_000_000_000 + n * 1_000)).collect() };
    assert_eq!(plain_times_of(&times(64)).len(), 64);
    assert_eq!(plain_times_of(&times(100_000)), [(1_700_000_000_000, 1_700_000_000_000 + 99_999 * 1_000)]);
}
