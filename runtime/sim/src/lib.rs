//! A simulated Bybit on loopback: the public streams and market REST calls, with their acks, refusals and limits. It is
//! fed by a seeded market or a recording and injects faults on demand. For demonstrations and tests of clients.
//!
//! A seeded market has klines from before its start ([`SimConfig::history`]); they and those of its trades agree at every
//! interval. REST counts trades a little late ([`SimConfig::settle`]), and [`RestFault`] makes its answers wrong.
//! Archives of the days that are over ([`Sim::archive_url`]) have the same trades.
//!
//! It writes its JSON from its own literals and sums its klines with its own arithmetic. It shares no code with the
//! program under test, so that the same bug cannot occur on both sides and stay hidden. It has no orders, accounts or
//! order books.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use bybit_sim::{Fault, Market, Sim, SimConfig};
//!
//! let sim = Sim::start(SimConfig::new(Market::demo(1))).await?;
//! println!("subscribe at {}/v5/public/linear", sim.ws_url());
//! sim.inject(Fault::Drop);
//! sim.stop().await;
//! # Ok::<(), bybit_sim::SimError>(())
//! # }).unwrap();
//! ```

mod amount;
mod archive;
mod category;
mod clients;
mod clock;
mod command;
mod config;
mod connection;
mod exchange;
mod fault;
mod history;
mod instrument;
mod interval;
mod journal;
mod klines;
mod limits;
mod listener;
mod market;
mod past;
mod recorded;
mod rest;
mod script;
mod seeded;
mod server;
mod sim;
mod symbol_state;
mod tape;
mod topics;
mod trade;
mod wire;

#[cfg(test)]
mod tests;

pub use category::Category;
pub use config::SimConfig;
pub use fault::{Fault, Garbage, Injection, RestFault};
pub use instrument::{Activity, Instrument, InstrumentError};
pub use journal::{Entry, Event};
pub use limits::{Counters, Limits};
pub use market::Market;
pub use recorded::{Recording, RecordingError, Times};
pub use script::{Script, ScriptError, ScriptProblem};
pub use sim::{Sim, SimError, SimKline};
pub use tape::{Tape, TapeTrade};
pub use trade::{Side, SimTrade};
