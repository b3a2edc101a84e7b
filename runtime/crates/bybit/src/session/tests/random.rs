//! Random sequences of connections: no topic is lost, none counts as covered after a gap, and the counters add up.

use proptest::prelude::*;

use super::model::{Wording, World};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Open,
    Cut,
    Wait(Millis),
    Answer,
    Mute,
    Trade(usize),
    Garbage(String),
    Refuse(usize),
    Accept(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Open),
        1 => Just(Step::Cut),
        4 => (0..3_000i64).prop_map(Step::Wait),
        1 => (3_000..700_000i64).prop_map(Step::Wait),
        8 => Just(Step::Answer),
        1 => Just(Step::Mute),
        6 => (0..NAMES.len()).prop_map(Step::Trade),
        1 => "\\PC{0,40}".prop_map(Step::Garbage),
        2 => (0..NAMES.len()).prop_map(Step::Refuse),
        1 => (0..NAMES.len()).prop_map(Step::Accept),
    ]
}

fn topic(at: usize) -> String {
    format!("publicTrade.{}USDT", NAMES[at])
}

fn check(world: &World) {
    let counters = world.session.counters();
    let kinds = counters.trade_frames + counters.canary_frames + counters.answers + counters.unknown_topics;
    assert_eq!(counters.frames, kinds + counters.unreadable + counters.ignored);
    assert_eq!((counters.received - counters.rejected, counters.received), (world.trades, world.offered));
    assert_eq!(world.session.totals().0, world.covered.len());
    assert!(world.covered.keys().all(|symbol| world.is_subscribed(*symbol)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn no_topic_is_lost_and_no_coverage_outlives_its_connection(
        spot in any::<bool>(),
        wording in prop_oneof![Just(Wording::Derivatives), Just(Wording::Spot), Just(Wording::Vague)],
        steps in proptest::collection::vec(step(), 0..300),
    ) {
        let category = if spot { Category::Spot } else { Category::Linear };
        let mut world = World::new(category, NAMES.len(), wording);
        for step in steps {
            match step {
                Step::Open => world.open(),
                Step::Cut => world.cut(),
                Step::Wait(millis) => world.wait(millis),
                Step::Answer => world.answer(),
                Step::Mute => world.is_mute = true,
                Step::Trade(at) => world.trade(at),
                Step::Garbage(text) => world.receive(&text),
                Step::Refuse(at) => { world.refused_topics.insert(topic(at)); }
                Step::Accept(at) => { world.refused_topics.remove(&topic(at)); }
            }
            check(&world);
        }
        // The exchange accepts every topic again: after one retry of the refused symbols everything is covered.
        world.refused_topics.clear();
        let is_covered = (0..800).any(|_| {
            world.open();
            world.wait(SECOND);
            (0..40).for_each(|_| world.answer());
            check(&world);
            world.covered.len() == NAMES.len()
        });
        prop_assert!(is_covered, "{:?}", world.session);
    }
}
