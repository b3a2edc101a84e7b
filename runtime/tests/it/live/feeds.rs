//! Two connections of one category with different symbols, one of which is late: the category follows the slower one, so
//! that it closes no window whose trades are still in flight, also when the other connection is lost.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bybit_sim::Sim;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::{UNREPAIRED, journaled, pass, run_at};
use crate::stalls::market;
use crate::support::oracle::Oracle;
use crate::support::program::{Running, folder};
use crate::support::received::{Received, assert_sound, received};

/// The delay of every frame on the slow feed: several times the grace of 80 ms.
const DELAY: Duration = Duration::from_millis(400);

/// A proxy between the program and an exchange that delays the exchange's bytes on the first connection.
struct DelayProxy {
    url: String,
    /// Becomes true when all connections except the first are cut; later ones are cut at once.
    gone: watch::Sender<bool>,
}

impl DelayProxy {
    async fn to(sim: &Sim) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let exchange: SocketAddr = sim.ws_url().trim_start_matches("ws://").trim_end_matches('/').parse().unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let (gone, is_gone) = watch::channel(false);
        let count = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (is_first, mut gone) = (count.fetch_add(1, Ordering::SeqCst) == 0, is_gone.clone());
                let delay = if is_first { DELAY } else { Duration::ZERO };
                tokio::spawn(async move {
                    tokio::select! { biased;
                        _ = gone.wait_for(|gone| *gone), if !is_first => {}
                        () = carry(client, exchange, delay) => {}
                    }
                });
            }
        });
        Self { url, gone }
    }
}

async fn carry(client: TcpStream, exchange: SocketAddr, delay: Duration) {
    let Ok(exchange) = TcpStream::connect(exchange).await else { return };
    let ((mut from_client, mut to_client), (mut from_exchange, mut to_exchange)) =
        (client.into_split(), exchange.into_split());
    let (late, mut due) = mpsc::unbounded_channel();
    let read = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_exchange.read(&mut buffer).await {
            let _ = late.send((Instant::now() + delay, buffer[..count].to_vec()));
        }
    };
    let write = async move {
        while let Some((at, bytes)) = due.recv().await {
            sleep_until(at).await;
            if to_client.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = async { tokio::join!(read, write); } => {}
        _ = tokio::io::copy(&mut from_client, &mut to_exchange) => {}
    }
}

/// Waits until a window that began after `moment` has been closed.
#[track_caller]
fn reach(run: &Running, moment: i64) {
    run.until("later klines", |said| received(&said.out).iter().any(|kline| kline.start > moment));
}

/// Returns the symbols that have a kline after `moment`.
fn active_after(klines: &[Received], moment: i64) -> BTreeSet<&str> {
    klines.iter().filter(|kline| kline.start > moment).map(|kline| kline.symbol.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_window_of_a_slow_feed_closes_before_its_trades_even_when_the_fast_feed_is_lost() {
    let (market, symbols) = market(2);
    let (sim, home) = (journaled(market).await, folder(&[("klines.toml", UNREPAIRED)]));
    let proxy = DelayProxy::to(&sim).await;
    let run = run_at(&home, &sim, &symbols, "1s").with("BYBIT_WS_URL", &proxy.url).with_one_feed().start();
    run.until("both connections", |said| said.logged("subscribed").len() == 2);
    let begun = sim.now_ms();
    reach(&run, begun + 7_000);
    let lost = sim.now_ms();
    proxy.gone.send(true).unwrap();
    pass(&sim, 1_000).await;
    reach(&run, lost + 6_000);
    let klines = received(&run.stop().success().out);
    assert_sound(&klines);
    let (both, slow) = (active_after(&klines, begun), active_after(&klines, lost + 2_000));
    // 280 of the 310 symbols are on one connection, 28 of the 31 that trade; which of the two comes first is chance.
    assert!([28, 3].contains(&slow.len()) && both.len() == 31, "{} of {}", slow.len(), both.len());
    // With the wrong clock, klines of each boundary lack trades. A stall of this process, which also runs the exchange,
    // may delay some.
    let is_late = |kline: &&Received| kline.revision > 0 && slow.contains(kline.symbol.as_str());
    for (from, to) in [(begun + 1_000, lost), (lost, lost + 5_000)] {
        let within = |kline: &&Received| from < kline.start && kline.end < to;
        let all: BTreeSet<i64> = klines.iter().filter(within).map(|kline| kline.start).collect();
        let late: BTreeSet<i64> = klines.iter().filter(within).filter(is_late).map(|kline| kline.start).collect();
        assert!(
            all.len() >= 2 && late.len() * 2 < all.len(),
            "{late:?} of {all:?} were closed before their trades arrived"
        );
    }
    let mut oracle = Oracle::new(&sim, "1s");
    oracle.doubt(begun, begun);
    // After the loss of a feed, trades are in doubt for as long as its slowest frame of the last minute was late,
    // including the first frames.
    oracle.doubt(lost - 3_000, lost);
    let findings = oracle.check(&klines);
    assert!(findings.complete > slow.len() * 4, "{findings:?}");
}
