//! `/v5/market/instruments-info`: the instrument list, in pages except on spot.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use axum::{
    Extension,
    extract::{Query, State},
    response::Response,
};

use super::{Answer, CallFaults, Params, category, limit};
use crate::{amount::Amount, category::Category, exchange::Exchange, fault::RestFault, symbol_state::SymbolState};

const EMPTY_RESULT: &str = r#"{"category":"","list":[],"nextPageCursor":""}"#;

pub(crate) async fn instruments_info(
    State(exchange): State<Arc<Exchange>>,
    Extension(CallFaults(faults)): Extension<CallFaults>,
    Query(params): Query<Params>,
) -> Response {
    let answer = page(&exchange, &params, &faults).unwrap_or_else(|refused| refused.with_result(EMPTY_RESULT));
    answer.respond(&exchange)
}

fn page(exchange: &Exchange, params: &Params, faults: &[RestFault]) -> Result<Answer, Answer> {
    let category = category(params, None)?;
    let limit = if category == Category::Spot { usize::MAX } else { limit(params, 500, 1_000)? };
    let param = |key: &str| params.get(key).map(String::as_str).filter(|text| !text.is_empty());
    // Spot has only the status Trading and answers with it for every other status.
    let trading = match param("status") {
        None | Some("Trading") => true,
        Some(_) if category == Category::Spot => true,
        Some("Closed") => false,
        Some("PreLaunch" | "Delivering") => return Ok(list(category, "", "")),
        Some(_) => return Err(Answer::refused("params error: status invalid")),
    };
    let after = match param("cursor") {
        Some(cursor) if category != Category::Spot => Some(last_of(cursor)?),
        _ => None,
    };
    let base = param("baseCoin").filter(|_| category != Category::Spot);
    let symbol = param("symbol");
    if faults.contains(&RestFault::EmptyList) {
        return Ok(list(category, "", ""));
    }
    exchange.with_symbols(category, |symbols| {
        if let Some(symbol) = symbol {
            let symbol_state = symbols.get(symbol).filter(|it| has_status(it, trading));
            return match (symbol_state, category) {
                (Some(symbol_state), _) => Ok(list(category, &row(symbol_state), "")),
                (None, Category::Spot) => Ok(list(category, "", "")),
                (None, _) => Err(Answer::refused("params error: symbol invalid")),
            };
        }
        let wanted =
            |it: &SymbolState| has_status(it, trading) && base.is_none_or(|coin| it.instrument.coins().0 == coin);
        if faults.contains(&RestFault::HalfList) {
            let rows: Vec<String> = symbols.values().filter(|it| wanted(it)).map(row).collect();
            let half = rows.get(..rows.len() / 2).unwrap_or_default();
            return Ok(list(category, &half.join(","), ""));
        }
        Ok(full_page(category, symbols, after.as_deref(), limit, wanted))
    })
}

/// Returns whether a symbol is trading, or was delisted. One that was never listed is neither.
fn has_status(symbol_state: &SymbolState, trading: bool) -> bool {
    if trading { symbol_state.listed } else { symbol_state.delisted.is_some() }
}

fn full_page(
    category: Category,
    symbols: &BTreeMap<String, SymbolState>,
    after: Option<&str>,
    limit: usize,
    wanted: impl Fn(&SymbolState) -> bool,
) -> Answer {
    let from = after.map_or(Unbounded, Excluded);
    let rest = symbols.range::<str, _>((from, Unbounded)).filter(|(_, it)| wanted(it));
    let page: Vec<&SymbolState> = rest.take(limit).map(|(_, it)| it).collect();
    let rows: Vec<String> = page.iter().map(|it| row(it)).collect();
    // A full page has a cursor even if it is the last, as on Bybit; the next page is then empty.
    let cursor = match (page.first(), page.last()) {
        (Some(first), Some(last)) if page.len() == limit => {
            format!("first%3D{}%26last%3D{}", first.instrument.symbol, last.instrument.symbol)
        }
        _ => String::new(),
    };
    list(category, &rows.join(","), &cursor)
}

fn list(category: Category, rows: &str, cursor: &str) -> Answer {
    Answer::Ok(match category {
        Category::Spot => format!(r#"{{"category":"spot","list":[{rows}]}}"#),
        _ => format!(r#"{{"category":"{category}","list":[{rows}],"nextPageCursor":"{cursor}"}}"#),
    })
}

/// Returns the last symbol of the previous page. Cursors are percent-encoded; clients send them back unchanged or
/// encode them once more, so that one level of encoding may remain after the query was decoded.
fn last_of(cursor: &str) -> Result<String, Answer> {
    let decoded = cursor.replace("%3D", "=").replace("%3d", "=").replace("%26", "&");
    let last = decoded.split('&').find_map(|part| part.strip_prefix("last="));
    last.map(str::to_owned).ok_or_else(|| Answer::refused("params error: cursor invalid"))
}

fn row(symbol_state: &SymbolState) -> String {
    match symbol_state.instrument.category {
        Category::Spot => spot_row(symbol_state),
        Category::Linear | Category::Inverse => contract_row(symbol_state),
    }
}

/// Returns an arbitrary `symbolId`, always the same for the same symbol.
fn symbol_id(symbol: &str) -> u32 {
    symbol.bytes().fold(7, |id: u32, byte| (id * 31 + u32::from(byte)) % 100_000)
}

fn status(symbol_state: &SymbolState) -> &'static str {
    if symbol_state.listed { "Trading" } else { "Closed" }
}

fn contract_row(symbol_state: &SymbolState) -> String {
    let instrument = &symbol_state.instrument;
    let symbol = &instrument.symbol;
    let (base, quote) = instrument.coins();
    let linear = instrument.category == Category::Linear;
    let dated = symbol.contains('-');
    let kind = match (linear, dated) {
        (true, false) => "LinearPerpetual",
        (true, true) => "LinearFutures",
        (false, false) => "InversePerpetual",
        (false, true) => "InverseFutures",
    };
    let settle = if linear { quote } else { base };
    let (tick, step) = (instrument.tick, instrument.step);
    let most = |amount: Amount, times: i128| Amount::new(amount.units() * times, amount.scale()).padded();
    let mut text = format!(
        r#"{{"symbol":"{symbol}","contractType":"{kind}","status":"{}","baseCoin":"{base}","quoteCoin":"{quote}","launchTime":"{}","deliveryTime":"{}","deliveryFeeRate":"","priceScale":"{}""#,
        status(symbol_state),
        symbol_state.launched,
        symbol_state.delisted.unwrap_or(0),
        tick.scale(),
    );
    let _ = write!(
        text,
        r#","leverageFilter":{{"minLeverage":"1","maxLeverage":"100.00","leverageStep":"0.01"}},"priceFilter":{{"minPrice":"{0}","maxPrice":"{1}","tickSize":"{0}"}}"#,
        tick.padded(),
        most(tick, 20_000_000),
    );
    let _ = write!(
        text,
        r#","lotSizeFilter":{{"maxOrderQty":"{0}","minOrderQty":"{1}","qtyStep":"{1}","postOnlyMaxOrderQty":"{0}","maxMktOrderQty":"{0}","minNotionalValue":"5"}}"#,
        most(step, 1_000_000),
        step.padded(),
    );
    let _ = write!(
        text,
        r#","unifiedMarginTrade":true,"fundingInterval":480,"settleCoin":"{settle}","copyTrading":"both","upperFundingRate":"0.005","lowerFundingRate":"-0.005","isPreListing":false,"preListingInfo":null,"riskParameters":{{"priceLimitRatioX":"0.05","priceLimitRatioY":"0.1"}},"displayName":"","symbolType":"","forbidUplWithdrawal":false,"symbolId":{}}}"#,
        symbol_id(symbol),
    );
    text
}

fn spot_row(symbol_state: &SymbolState) -> String {
    let instrument = &symbol_state.instrument;
    let symbol = &instrument.symbol;
    let (base, quote) = instrument.coins();
    let (tick, step) = (instrument.tick.padded(), instrument.step.padded());
    let precision = Amount::new(1, instrument.tick.scale() + instrument.step.scale()).padded();
    let most = Amount::new(instrument.step.units() * 10_000_000, instrument.step.scale()).padded();
    format!(
        r#"{{"symbolId":{},"symbol":"{symbol}","baseCoin":"{base}","quoteCoin":"{quote}","innovation":"0","symbolType":"","xstockMultiplier":"","status":"{}","marginTrading":"utaOnly","stTag":"0","lotSizeFilter":{{"basePrecision":"{step}","quotePrecision":"{precision}","minOrderQty":"{step}","maxOrderQty":"{most}","minOrderAmt":"5","maxOrderAmt":"4000000","maxLimitOrderQty":"{most}","maxMarketOrderQty":"{most}","postOnlyMaxLimitOrderSize":"{most}"}},"priceFilter":{{"tickSize":"{tick}"}},"riskParameters":{{"priceLimitRatioX":"0.01","priceLimitRatioY":"0.02"}}}}"#,
        symbol_id(symbol),
        status(symbol_state),
    )
}
