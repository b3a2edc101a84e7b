//! Connects the exports of the component to its [`Consumer`]. Authors use only [`export!`](crate::export).

use std::cell::RefCell;
use std::marker::PhantomData;

use crate::bindings::exports::klines::consumer::consumer::Guest;
use crate::{Batch, Consumer, Failure, Level, Problem, Subscription, settings};

/// Makes a type that implements [`Consumer`](crate::Consumer) the consumer of this component. Use it once, at the top
/// level of the crate.
#[macro_export]
macro_rules! export {
    ($consumer:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::component::Component<$consumer>;
    $crate::bindings::export_component!(Exported with_types_in $crate::bindings);
        };
        // A plain `cargo test` has no exports; this only marks the consumer as used.
        #[cfg(not(target_arch = "wasm32"))]
        const _: $crate::component::Component<$consumer> = $crate::component::Component::NEW;
    };
}

/// The exports of a component whose consumer is `C`.
#[derive(Debug)]
pub struct Component<C>(PhantomData<C>);

impl<C: Consumer> Component<C> {
    /// The only value: the type has no state, the consumer is in `INSTANCE`.
    pub const NEW: Self = Self(PhantomData);
}

/// The calls of a [`Consumer`] that do not depend on its type.
trait DynConsumer {
    fn start(&mut self) -> Result<(), Failure>;
    fn consume(&mut self, batch: &Batch) -> Result<(), Failure>;
    fn stop(&mut self);
}

impl<C: Consumer> DynConsumer for C {
    fn start(&mut self) -> Result<(), Failure> {
        Consumer::start(self)
    }

    fn consume(&mut self, batch: &Batch) -> Result<(), Failure> {
        Consumer::consume(self, batch)
    }

    fn stop(&mut self) {
        Consumer::stop(self);
    }
}

thread_local! {
    /// The one consumer of this instance, from `setup` to `stop`.
    static INSTANCE: RefCell<Option<Box<dyn DynConsumer>>> = const { RefCell::new(None) };
}

impl<C: Consumer> Guest for Component<C> {
    fn validate(settings_json: String) -> Vec<Problem> {
        report_panics();
        match settings::parse::<C::Settings>(&settings_json) {
            Ok(settings) => C::validate(&settings),
            Err(problems) => problems,
        }
    }

    fn setup(settings_json: String) -> Result<Subscription, Failure> {
        report_panics();
        let settings = settings::parse::<C::Settings>(&settings_json).map_err(|problems| refuse(&problems))?;
        let problems = C::validate(&settings);
        if !problems.is_empty() {
            return Err(refuse(&problems));
        }
        let consumer = C::setup(settings)?;
        let subscription = consumer.subscription();
        INSTANCE.set(Some(Box::new(consumer)));
        Ok(subscription)
    }

    fn start() -> Result<(), Failure> {
        with_instance("start", |consumer| consumer.start())
    }

    fn consume(batch: Batch) -> Result<(), Failure> {
        with_instance("consume", |consumer| consumer.consume(&batch))
    }

    fn stop() {
        if let Some(mut consumer) = INSTANCE.take() {
            consumer.stop();
        }
    }
}

fn with_instance(call: &str, act: impl FnOnce(&mut dyn DynConsumer) -> Result<(), Failure>) -> Result<(), Failure> {
    INSTANCE.with_borrow_mut(|slot| match slot {
        Some(consumer) => act(consumer.as_mut()),
        None => Err(Failure::fatal(format!("`{call}` was called without a successful `setup`"))),
    })
}

fn refuse(problems: &[Problem]) -> Failure {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    Failure::fatal(lines.join("; "))
}

/// Installs a panic hook that logs the message as one line at level error; the trap that follows reports only
/// `unreachable`.
fn report_panics() {
    if cfg!(target_arch = "wasm32") {
        std::panic::set_hook(Box::new(|panic| crate::log(Level::Error, &panic.to_string().replace('\n', " "))));
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::testing;

    #[derive(Deserialize)]
    struct Settings {
        #[serde(default)]
        limit: u32,
    }

    struct Counter {
        seen: u32,
        limit: u32,
    }

    impl Consumer for Counter {
        type Settings = Settings;

        fn validate(settings: &Settings) -> Vec<Problem> {
            if settings.limit > 9 { vec![Problem::new("limit", "is too much", "0 to 9")] } else { Vec::new() }
        }

        fn setup(settings: Settings) -> Result<Self, Failure> {
            Ok(Self { seen: 0, limit: settings.limit })
        }

        fn consume(&mut self, batch: &Batch) -> Result<(), Failure> {
            self.seen += u32::try_from(batch.klines.len()).unwrap();
            if self.seen > self.limit { Err(Failure::retry("full")) } else { Ok(()) }
        }
    }

    crate::export!(Counter);

    type Exported = Component<Counter>;

    fn batch() -> Batch {
        Batch { klines: vec![testing::kline("BTCUSDT", "1m", 0)], lost: 0 }
    }

    #[test]
    fn a_consumer_keeps_its_state_between_batches() {
        assert_eq!(Exported::setup(r#"{"limit":1}"#.into()), Ok(Subscription::closed()));
        assert_eq!(Exported::start(), Ok(()));
        assert_eq!(Exported::consume(batch()), Ok(()));
        assert_eq!(Exported::consume(batch()), Err(Failure::retry("full")));
        Exported::stop();
    }

    #[test]
    fn consume_without_setup_is_fatal() {
        assert!(matches!(Exported::consume(batch()), Err(Failure::Fatal(text)) if text.contains("setup")));
        assert!(matches!(Exported::start(), Err(Failure::Fatal(_))));
    }

    #[test]
    fn validate_lists_problems_of_types_and_of_values() {
        assert_eq!(Exported::validate("{}".into()), []);
        assert_eq!(Exported::validate(r#"{"limit":10}"#.into()), [Problem::new("limit", "is too much", "0 to 9")]);
        assert_eq!(Exported::validate(r#"{"limt":1,"limit":"x"}"#.into()).len(), 2);
    }

    #[test]
    fn setup_refuses_settings_that_validate_refuses() {
        let refused = Exported::setup(r#"{"limit":10}"#.into());
        assert_eq!(refused, Err(Failure::fatal("limit: is too much, expected 0 to 9")));
    }
}
