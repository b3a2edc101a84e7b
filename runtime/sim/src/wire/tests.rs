//! Compares frames with lines of a real recording: the same values give the same bytes.

use super::*;
use crate::{
    amount::Amount,
    trade::{Side, TickDirection, TradeId},
};

fn amount(text: &str) -> Amount {
    Amount::parse(text).unwrap()
}

fn fill(time: i64, id: TradeId, price: &str, size: &str, side: Side, seq: u64) -> Fill {
    Fill {
        time,
        seq,
        id,
        price: amount(price),
        size: amount(size),
        side,
        direction: TickDirection::Plus,
        block: false,
        rpi: false,
    }
}

#[test]
fn a_linear_trade_frame_has_bybits_bytes() {
    let id = TradeId::Uuid(0x19d7_df56_4f10_5290_a969_d9d9_f2c7_4cc3);
    let fills = [fill(1786310820346, id, "1922.50", "0.01", Side::Buy, 430879434439)];
    assert_eq!(
        trade_frames(Category::Linear, "ETHUSDT", 1786310820347, &fills),
        [
            r#"{"topic":"publicTrade.ETHUSDT","type":"snapshot","ts":1786310820347,"data":[{"T":1786310820346,"s":"ETHUSDT","S":"Buy","v":"0.01","p":"1922.50","L":"PlusTick","i":"19d7df56-4f10-5290-a969-d9d9f2c74cc3","BT":false,"RPI":false,"seq":430879434439}]}"#
        ]
    );
}

#[test]
fn a_spot_trade_frame_has_bybits_bytes() {
    let id = TradeId::Number(2280000001739247417);
    let fills = [fill(1786310821917, id, "1923.28", "0.04537", Side::Sell, 178477362706)];
    assert_eq!(
        trade_frames(Category::Spot, "ETHUSDT", 1786310821917, &fills),
        [
            r#"{"topic":"publicTrade.ETHUSDT","ts":1786310821917,"type":"snapshot","data":[{"i":"2280000001739247417","T":1786310821917,"p":"1923.28","v":"0.04537","S":"Sell","seq":178477362706,"s":"ETHUSDT","BT":false,"RPI":false}]}"#
        ]
    );
}

#[test]
fn a_match_of_more_than_1024_fills_is_split() {
    let fills: Vec<Fill> = (0..2_500).map(|n| fill(1, TradeId::Number(n), "1.0", "1", Side::Buy, 7)).collect();
    let frames = trade_frames(Category::Linear, "X", 1, &fills);
    let counts: Vec<usize> = frames.iter().map(|frame| frame.matches(r#""seq":7"#).count()).collect();
    assert_eq!(counts, [1_024, 1_024, 452]);
}

fn boundary(volume: &str, turnover: &str) -> Push {
    let window = |start, [open, close, high, low]: [&str; 4], volume: &str, turnover: &str| Window {
        start,
        end: start + 59_999,
        open: amount(open),
        close: amount(close),
        high: amount(high),
        low: amount(low),
        volume: amount(volume),
        turnover: amount(turnover),
    };
    Push {
        interval: Interval::Minutes(1),
        at: 1786310820123,
        closed: Some(window(1786310760000, ["1922.43", "1922.48", "1922.48", "1922.42"], volume, turnover)),
        open: window(1786310820000, ["1922.48"; 4], "0", "0"),
    }
}

#[test]
fn linear_closes_and_opens_in_one_frame() {
    assert_eq!(
        kline_frames(Category::Linear, "ETHUSDT", &boundary("15.70", "30182.0724")),
        [
            r#"{"topic":"kline.1.ETHUSDT","data":[{"start":1786310760000,"end":1786310819999,"interval":"1","open":"1922.43","close":"1922.48","high":"1922.48","low":"1922.42","volume":"15.7","turnover":"30182.0724","confirm":true,"timestamp":1786310820123},{"start":1786310820000,"end":1786310879999,"interval":"1","open":"1922.48","close":"1922.48","high":"1922.48","low":"1922.48","volume":"0","turnover":"0","confirm":false,"timestamp":1786310820123}],"ts":1786310820123,"type":"snapshot"}"#
        ]
    );
}

#[test]
fn spot_closes_and_opens_in_two_frames() {
    let frames = kline_frames(Category::Spot, "ETHUSDT", &boundary("1.38307", "2659.8546713"));
    assert_eq!(frames.len(), 2);
    assert_eq!(
        frames[0],
        r#"{"type":"snapshot","topic":"kline.1.ETHUSDT","data":[{"start":1786310760000,"end":1786310819999,"interval":"1","open":"1922.43","close":"1922.48","high":"1922.48","low":"1922.42","volume":"1.38307","turnover":"2659.8546713","confirm":true,"timestamp":1786310820123}],"ts":1786310820123}"#
    );
    assert!(frames[1].contains(r#""confirm":false"#));
}

#[test]
fn an_ack_echoes_req_id_in_the_shape_of_its_category() {
    assert_eq!(
        ack(Category::Linear, true, "", "d8bu1olkndm7crnfs1e0-j6akw", None, "subscribe"),
        r#"{"success":true,"ret_msg":"","conn_id":"d8bu1olkndm7crnfs1e0-j6akw","req_id":"","op":"subscribe"}"#
    );
    assert_eq!(
        ack(Category::Spot, true, "subscribe", "d9avt8shteepr00gfc1g-4zd1x", None, "subscribe"),
        r#"{"success":true,"ret_msg":"subscribe","conn_id":"d9avt8shteepr00gfc1g-4zd1x","op":"subscribe"}"#
    );
    assert_eq!(
        ack(Category::Spot, true, "pong", "c", Some("a\"b"), "ping"),
        r#"{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"a\"b","op":"ping"}"#
    );
}
