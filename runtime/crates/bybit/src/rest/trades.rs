//! The most recent trades of a symbol: `GET /v5/market/recent-trade`. They have the ids of the stream, so that a trade
//! that both have is recognised.

use klines_domain::symbol::{Category, Symbol, SymbolId};
use klines_domain::time::{ExchangeMillis, Millis};
use klines_domain::trade::{Side, Trade, TradeId};
use serde::Deserialize;

use super::wire::check_name;
use super::{Reply, RestClient, RestError};
use crate::decode::{STAMP_SLACK, is_stamp, quantity, trade_id};

/// ```json
/// {"category":"linear","list":[…]}
/// ```
#[derive(Debug, Deserialize)]
struct WireRecentTrades {
    #[serde(default)]
    category: Option<String>,
    list: Vec<WireRecentTrade>,
}

/// ```json
/// {"execId":"19d7df56-4f10-5290-a969-d9d9f2c74cc3","symbol":"ETHUSDT","price":"1922.50","size":"0.01","side":"Buy",
///  "time":"1786310820346","isBlockTrade":false,"isRPITrade":false,"seq":"430879434439"}
/// ```
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRecentTrade {
    exec_id: String,
    #[serde(default)]
    symbol: Option<String>,
    price: String,
    size: String,
    side: String,
    time: String,
    #[serde(default)]
    is_block_trade: bool,
    /// Text here, a number in the stream; absent in answers of before 2025, as in the stream.
    #[serde(default)]
    seq: Option<String>,
}

/// Returns the documented maximum number of trades of one answer.
const fn max_trades(category: Category) -> usize {
    match category {
        Category::Spot => 60,
        Category::Linear | Category::Inverse => 1_000,
    }
}

impl RestClient {
    /// Requests the most recent trades of a symbol, as many as one answer holds. Returns them oldest first; `symbol_id`
    /// is their symbol.
    ///
    /// # Errors
    /// [`RestError`]; [`RestError::Malformed`] also if a single row cannot be read, because a list with a hole proves
    /// nothing.
    pub async fn recent_trades(
        &self,
        category: Category,
        symbol_id: SymbolId,
        symbol: &Symbol,
    ) -> Result<Reply<Vec<Trade>>, RestError> {
        let query = format!("category={category}&symbol={symbol}&limit={}", max_trades(category));
        let Reply { result, stamped, received } = self.get::<WireRecentTrades>("recent-trade", &query).await?;
        check_name("category", result.category.as_deref(), category.as_str())?;
        let mut trades = Vec::with_capacity(result.list.len());
        // The list is newest first by convention, which is not documented; trades of one match share `time` and `seq`.
        for (row, wire) in result.list.into_iter().enumerate().rev() {
            check_name("symbol", wire.symbol.as_deref(), symbol.as_str())?;
            let trade = wire.into_trade(symbol_id, stamped);
            trades.push(trade.map_err(|field| RestError::Malformed(format!("{field} of trade {row}")))?);
        }
        trades.sort_by_key(|trade| (trade.time, trade.sequence));
        Ok(Reply { result: trades, stamped, received })
    }
}

impl WireRecentTrade {
    /// Returns the trade, or the name of the field that is not plausible.
    fn into_trade(self, symbol: SymbolId, stamped: ExchangeMillis) -> Result<Trade, &'static str> {
        let time = self.time.parse::<Millis>().map(ExchangeMillis::new).map_err(|_| "time")?;
        // Trades of a quiet symbol can be old, but not newer than the answer.
        if !is_stamp(time) || time > stamped.saturating_add(STAMP_SLACK) {
            return Err("time");
        }
        let side = match self.side.as_str() {
            "Buy" => Side::Buy,
            "Sell" => Side::Sell,
            _ => return Err("side"),
        };
        let id = trade_id(&self.exec_id);
        if id == TradeId::None {
            return Err("execId");
        }
        Ok(Trade {
            symbol,
            time,
            sequence: self.seq.map_or(Ok(0), |text| text.parse()).map_err(|_| "seq")?,
            price: quantity(self.price.as_bytes()).ok_or("price")?,
            size: quantity(self.size.as_bytes()).ok_or("size")?,
            side,
            block: self.is_block_trade,
            id,
        })
    }
}
