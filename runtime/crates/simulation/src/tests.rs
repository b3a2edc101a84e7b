//! The simulation repeats itself, passes, and looks at something.

mod clusters;

use super::*;

/// Seeds of a quick run; `make sim` runs thousands.
const SEEDS: u64 = 100;

#[test]
fn one_seed_twice_gives_identical_bytes() {
    for seed in 0..20 {
        let plan = Plan::of(seed);
        assert_eq!(plan, Plan::of(seed));
        let (one, two) = (run(&plan, true), run(&plan, true));
        assert!(!one.trace.is_empty() && one.trace == two.trace, "{plan}");
    }
}

#[test]
fn a_hundred_seeds_pass_and_compare_many_klines() {
    let (mut compared, mut required) = (0, 0);
    for seed in 0..SEEDS {
        let plan = Plan::of(seed);
        let outcome = run(&plan, false);
        assert!(outcome.faults.is_empty(), "{plan}\n{}", outcome.faults.join("\n"));
        (compared, required) = (compared + outcome.compared, required + outcome.required);
    }
    // A run of five minutes has about 300 klines of a second a symbol, most of them undisturbed.
    assert!(compared > 30_000 && required > compared / 3, "{compared} {required}");
}

/// A process that is paused, and paused again while frames wait in its sockets, reads them in the order in which they were
/// sent; the exchange's clock is put forward meanwhile.
#[test]
fn frames_that_wait_for_a_paused_process_stay_in_order() {
    for seed in [6787, 8482, 9007] {
        let plan = Plan::of(seed);
        let outcome = run(&plan, false);
        assert!(outcome.faults.is_empty(), "{plan}\n{}", outcome.faults.join("\n"));
    }
}
