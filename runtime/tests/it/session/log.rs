//! The log for the operator: every change of state once, with its cause.

use std::io::Write;
use std::sync::{Arc, Mutex};

use super::*;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn count(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap()).lines().filter(|line| line.contains(text)).count()
    }
}

#[tokio::test]
async fn each_event_is_in_the_log_once() {
    let log = Buffer::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // The test's runtime has one thread, on which all of its tasks run.
    let _guard = tracing::subscriber::set_default(subscriber);

    let sim = Sim::start(SimConfig::new(Market::demo(10))).await.unwrap();
    let names = ["BTCUSDT", "NOPEUSDT", "ETHUSDT"];
    let mut world = World::start(sim, &[(Category::Linear, &names)], QUICK_RETRY()).await;
    world.until("two covered", |seen| seen.covered(Category::Linear) == 2).await;
    for _ in 0..3 {
        world.sim().inject(Fault::Garbage(Garbage::NotJson));
    }
    world.until_counted("garbage", |counters| counters.unreadable >= 3).await;
    world.sim().inject(Fault::Down);
    world.until("a gap", |seen| seen.gaps(Category::Linear) == 2).await;
    world::eventually("an attempt failed", || world.failed() > 0).await;
    world.sim().heal();
    world.until("two covered again", |seen| seen.covered(Category::Linear) == 2).await;
    world.stop().await;

    for (text, times) in [
        ("feed started", 1),
        ("connected category=linear", 2),
        ("subscribed category=linear connection=0 covered=2 refused=1", 2),
        ("symbol refused by the exchange category=linear connection=0 symbol=NOPEUSDT", 1),
        ("frame not understood", 1),
        ("connection lost, reconnecting", 1),
        ("cannot reach the exchange, trying again", 1),
    ] {
        assert_eq!(log.count(text), times, "{text}\n{}", String::from_utf8_lossy(&log.0.lock().unwrap()));
    }
}
