//! The exchange's market endpoints: recent trades and candles of what it had, refusals, and answers that cannot be true.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use klines_domain::decimal::Decimal;
use klines_domain::repair::{Answer, Candle, Failure, Found, Grain, Request};
use klines_domain::symbol::SymbolId;
use klines_domain::time::{ExchangeMillis, Millis, SECOND};
use klines_domain::trade::{Quantity, Side, Trade, TradeId};

use super::market::{PRICE_DECIMALS, SIZE_DECIMALS, Tape, TapeTrade};
use super::plan::{Plan, RestFault, RestKind};

/// How long after its end a candle can lack trades. Bybit's closing pushes came 123 to 1,005 ms after the end.
const SETTLING: Millis = 1_005;
/// Recent trades lack what was matched this long ago at most.
const LAG: Millis = 800;
/// The wait after a limit, and after a refusal of the address. The latter is shorter than the exchange's ten minutes.
const WAITS: [Millis; 2] = [5 * SECOND, 20 * SECOND];

/// The market endpoints.
#[derive(Debug, Default)]
pub struct Rest {
    /// The numbers of the trades of each minute of a symbol that the client has read.
    read: BTreeMap<(usize, Millis), BTreeSet<u64>>,
}

impl Rest {
    /// Takes note that the client has read trades.
    pub fn note(&mut self, symbol: usize, trades: &[TapeTrade]) {
        for trade in trades {
            let minute = trade.time - trade.time % Grain::Minute.millis();
            self.read.entry((symbol, minute)).or_default().insert(trade.number);
        }
    }

    /// Forgets what the client has read: another process has not.
    pub fn forget(&mut self) {
        self.read.clear();
    }

    /// Answers a request.
    pub fn answer(&self, plan: &Plan, tape: &Tape, request: Request, now: Millis, rng: &mut Rng) -> Answer {
        let faults = plan.rest_faults.iter().filter(|fault| (fault.from..fault.until).contains(&now));
        let kinds: Vec<RestKind> = faults.map(|RestFault { kind, .. }| *kind).collect();
        let later = |wait| Err(Failure::Later { wait });
        let symbol = request.symbol().index();
        let is_refused = !plan.trading_period(symbol).is_traded(now) || kinds.contains(&RestKind::Refuse(symbol));
        let result = match kinds.iter().find(|kind| !matches!(kind, RestKind::Lie | RestKind::Refuse(_))) {
            _ if is_refused => Err(Failure::Refused),
            Some(RestKind::Break) if rng.bool() => later(0),
            Some(RestKind::Limit) => later(WAITS[0]),
            Some(RestKind::Stop) => later(WAITS[1]),
            _ => Ok(found(self, plan, tape, request, now, (kinds.contains(&RestKind::Lie), rng))),
        };
        Answer { request, result }
    }
}

fn found(rest: &Rest, plan: &Plan, tape: &Tape, request: Request, now: Millis, (lies, rng): (bool, &mut Rng)) -> Found {
    match request {
        Request::RecentTrades { symbol } => {
            let until = now - rng.i64(0..LAG);
            let end = tape.trades.partition_point(|trade| trade.matched <= until);
            let recent = tape.trades.get(end.saturating_sub(plan.recent_trades)..end).unwrap_or_default();
            Found::Trades(recent.iter().map(|trade| trade_of(symbol, trade)).collect())
        }
        Request::Candles { symbol, grain, from, to } => {
            let length = grain.millis();
            let (trades, time) = (tape.in_order(), plan.exchange(now));
            let mut candles = Vec::new();
            let mut start = from.get();
            while start <= to.get() && start + length <= time {
                let settled = if time < start + length + SETTLING { now - SETTLING } else { now };
                let lie = Some(symbol.index()).filter(|_| lies && grain == Grain::Minute && rng.bool());
                let read = lie.and_then(|symbol| rest.read.get(&(symbol, start))).is_some_and(|read| read.len() > 1);
                candles.extend(candle(&trades, start, length, settled).map(|candle| match read {
                    // Less than the client has seen cannot be true: two trades have more than the least volume.
                    true => Candle { volume: Decimal::new(1, SIZE_DECIMALS), ..candle },
                    false => candle,
                }));
                start += length;
            }
            Found::Candles(candles)
        }
    }
}

/// Computes a candle from the trades that were matched by `settled`, in true time.
fn candle(tape: &[TapeTrade], start: Millis, length: Millis, settled: Millis) -> Option<Candle> {
    let first = tape.partition_point(|trade| trade.time < start);
    let after = tape.partition_point(|trade| trade.time < start + length);
    let inside = tape.get(first..after)?;
    let inside = inside.get(..inside.partition_point(|trade| trade.matched <= settled))?;
    let open = first.checked_sub(1).and_then(|at| tape.get(at)).or(inside.first())?.price;
    let prices = || inside.iter().map(|trade| trade.price).chain([open]);
    let price = |mantissa| Quantity { mantissa, scale: PRICE_DECIMALS };
    let volume: i128 = inside.iter().map(|trade| i128::from(trade.size)).sum();
    let turnover: i128 = inside.iter().map(|trade| i128::from(trade.size) * i128::from(trade.price)).sum();
    Some(Candle {
        start: ExchangeMillis::new(start),
        open: price(open),
        high: price(prices().max()?),
        low: price(prices().min()?),
        close: price(inside.last().map_or(open, |trade| trade.price)),
        volume: Decimal::new(volume, SIZE_DECIMALS),
        turnover: Decimal::new(turnover, SIZE_DECIMALS + PRICE_DECIMALS),
    })
}

/// Returns a trade as the feed delivers it.
fn trade_of(symbol: SymbolId, trade: &TapeTrade) -> Trade {
    let TapeTrade { time, price, size, is_buy, number, .. } = *trade;
    Trade {
        symbol,
        time: ExchangeMillis::new(time),
        sequence: number,
        price: Quantity { mantissa: price, scale: PRICE_DECIMALS },
        size: Quantity { mantissa: size, scale: SIZE_DECIMALS },
        side: if is_buy { Side::Buy } else { Side::Sell },
        block: false,
        id: TradeId::Uuid { high: 0x4000, low: 0x8000 << 48 | number },
    }
}
