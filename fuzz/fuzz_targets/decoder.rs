//! Decodes any text as frames of Bybit, and passes them through a session with all its time-outs.

#![no_main]

use std::sync::{Arc, OnceLock};

use klines_bybit::decode::{Frame, decode, symbol_of};
use klines_bybit::session::{Session, Timing};
use klines_domain::feed::FeedEvent;
use klines_domain::symbol::{Category, Symbol, SymbolTable};
use klines_domain::time::LocalMillis;
use libfuzzer_sys::fuzz_target;

const CATEGORIES: [Category; 3] = [Category::Linear, Category::Spot, Category::Inverse];

fn table() -> &'static Arc<SymbolTable> {
    static TABLE: OnceLock<Arc<SymbolTable>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = SymbolTable::default();
        for name in ["BTCUSDT", "ETHUSDT", "DOGEUSDT", "BTCUSD"] {
            table.intern(&Symbol::new(name).expect("a name"));
        }
        Arc::new(table)
    })
}

// The first byte chooses the category; each line is a frame, and its length sets the time that passes before it.
fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else { return };
    let category = CATEGORIES[usize::from(*first) % CATEGORIES.len()];
    let text = String::from_utf8_lossy(rest);
    let table = table();
    let ids: Vec<_> = table.iter().map(|(id, _)| id).collect();
    let mut session = Session::new(category, 0, table.clone(), &ids, Timing::default());
    let (mut now, mut actions) = (LocalMillis::new(1_700_000_000_000), Vec::new());
    let mut events = Vec::<FeedEvent<LocalMillis>>::new();
    session.on_open(now, &mut actions);
    for frame in text.split('\n') {
        let before = events.len();
        let appended = |events: &Vec<_>| events.len() - before;
        match decode(category, frame, table, &mut events) {
            Ok(Frame::Trades { received, undated, .. }) => {
                assert_eq!(appended(&events) as u64, received - undated, "every row is counted once");
            }
            Ok(_) | Err(_) => assert_eq!(appended(&events), 0, "a frame without trades yields no trades"),
        }
        let _ = symbol_of(frame);
        now += (frame.len() as i64) * 100;
        session.on_frame(now, frame, &mut actions);
        now += 1_000;
        session.on_tick(now, &mut actions);
        actions.clear();
    }
    session.on_close(now, &mut actions);
    session.on_open(now + 1, &mut actions);
    let counted = session.counters();
    assert!(counted.opened == 2 && counted.frames > 0);
});
