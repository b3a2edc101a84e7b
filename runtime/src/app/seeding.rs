//! Reports how far the first windows of the symbols are known: a bar on a terminal, lines in the log otherwise. A run does
//! not wait for them.

use std::convert::Infallible;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use klines_domain::symbol::Category;
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use super::observed::{Observed, Seeding};

/// How often the progress is looked at.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// Steps of the progress: the columns of the bar, and the lines of the log.
const STEPS: usize = 10;

/// Reports the progress of each category until it is complete; then waits forever.
pub async fn report(observed: &Observed) -> Infallible {
    let mut checks = interval(CHECK_INTERVAL);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut progress, is_terminal) = (Progress::default(), io::stderr().is_terminal());
    loop {
        checks.tick().await;
        let seeding = observed.seeding();
        for category in seeding.iter().filter(|seeding| progress.has_ended(seeding)) {
            log_end(category, observed);
        }
        if observed.categories().iter().all(|category| progress.ended.contains(category)) {
            // Components that read the past are started.
            observed.past.seeded.iter().for_each(|seeded| seeded.set_known());
        }
        if is_terminal {
            draw(progress.bar(&seeding));
        } else {
            seeding.iter().filter(|seeding| progress.has_advanced(seeding)).for_each(log_step);
        }
        if observed.is_ending() {
            std::future::pending::<()>().await;
        }
    }
}

/// What has been reported.
#[derive(Debug, Default)]
struct Progress {
    ended: Vec<Category>,
    /// The categories that had ended at the last look.
    ending: Vec<Category>,
    /// The last step of each category that was logged.
    steps: Vec<(Category, usize)>,
    /// Whether a bar is visible.
    is_drawn: bool,
}

impl Progress {
    /// Returns whether a category has ended now, and notes it. It must have ended at two looks: at first, a symbol may be
    /// covered while its first windows are not wanted yet.
    fn has_ended(&mut self, seeding: &Seeding) -> bool {
        let category = seeding.category;
        let was_ending = self.ending.contains(&category);
        self.ending.retain(|known| *known != category);
        self.ending.extend(seeding.is_over.then_some(category));
        let is_new = seeding.is_over && was_ending && !self.ended.contains(&category);
        self.ended.extend(is_new.then_some(category));
        is_new
    }

    /// Returns whether a category has reached another step, but not its end, and notes it.
    fn has_advanced(&mut self, seeding: &Seeding) -> bool {
        let (category, step) = (seeding.category, STEPS * seeding.status.seeded / seeding.symbols.max(1));
        let known = self.steps.iter().find(|(known, _)| *known == category).map_or(0, |(_, step)| *step);
        if step <= known || step >= STEPS || self.ended.contains(&category) {
            return false;
        }
        self.steps.retain(|(known, _)| *known != category);
        self.steps.push((category, step));
        true
    }

    /// Returns the text that shows the progress of all categories together: empty text removes the last one, `None` leaves
    /// the terminal as it is.
    fn bar(&mut self, seeding: &[Seeding]) -> Option<String> {
        let is_over = seeding.iter().all(|seeding| self.ended.contains(&seeding.category));
        if is_over {
            return std::mem::take(&mut self.is_drawn).then(String::new);
        }
        self.is_drawn = true;
        let symbols: usize = seeding.iter().map(|seeding| seeding.symbols).sum();
        let seeded = seeding.iter().map(|seeding| seeding.status.seeded).sum::<usize>().min(symbols);
        let full = STEPS * seeded / symbols.max(1);
        Some(format!("first windows [{}{}] {seeded}/{symbols}", "#".repeat(full), "-".repeat(STEPS - full)))
    }
}

/// Draws a text at the start of the line and leaves the cursor there. It is shorter than other lines, which therefore
/// replace it.
fn draw(text: Option<String>) {
    if let Some(text) = text {
        let mut stderr = io::stderr().lock();
        // A terminal that is gone needs no bar.
        let _ = write!(stderr, "\x1b[K{text}\r").and_then(|()| stderr.flush());
    }
}

fn log_step(seeding: &Seeding) {
    let Seeding { category, symbols, status, .. } = seeding;
    info!(%category, seeded = status.seeded, symbols, requests = status.requests, "learning the first windows");
}

fn log_end(seeding: &Seeding, observed: &Observed) {
    let Seeding { category, symbols, status, .. } = seeding;
    let seconds = (observed.clock.now() - observed.since) / 1_000;
    info!(%category, seeded = status.seeded, symbols, requests = status.requests, seconds, "first windows known");
}

#[cfg(test)]
mod tests {
    use klines_pipeline::repair::RepairStatus;

    use super::*;

    fn seeding(category: Category, seeded: usize, symbols: usize, is_over: bool) -> Seeding {
        let status = RepairStatus { seeded, covered: symbols, ..RepairStatus::default() };
        Seeding { category, symbols, status, is_over }
    }

    #[test]
    fn each_tenth_is_reported_once_and_the_end_is_not_one_of_them() {
        let mut progress = Progress::default();
        let reported: Vec<usize> =
            (0..=900).filter(|seeded| progress.has_advanced(&seeding(Category::Linear, *seeded, 900, false))).collect();
        assert_eq!(reported, [90, 180, 270, 360, 450, 540, 630, 720, 810]);
        assert!(progress.has_advanced(&seeding(Category::Spot, 1, 2, false)), "each category by itself");
    }

    #[test]
    fn the_end_of_a_category_is_reported_once_and_at_the_second_look() {
        let mut progress = Progress::default();
        let looks = [true, false, true, true, true].map(|is_over| {
            let (linear, spot) = (seeding(Category::Linear, 3, 3, is_over), seeding(Category::Spot, 1, 3, false));
            [progress.has_ended(&linear), progress.has_ended(&spot)]
        });
        assert_eq!(looks.map(|[linear, _]| linear), [false, false, false, true, false]);
        assert!(looks.iter().all(|[_, spot]| !spot));
        assert!(!progress.has_advanced(&seeding(Category::Linear, 2, 3, false)), "nothing follows");
    }

    #[test]
    fn the_bar_disappears_at_the_end_and_is_short() {
        let mut progress = Progress::default();
        let both = |spot| [seeding(Category::Linear, 500, 500, true), seeding(Category::Spot, spot, 400, spot == 400)];
        let end = |progress: &mut Progress, seeding: &Seeding| {
            assert!(!progress.has_ended(seeding) && progress.has_ended(seeding))
        };
        end(&mut progress, &both(0)[0]);
        let text = progress.bar(&both(220)).unwrap();
        assert_eq!(text, "first windows [########--] 720/900");
        end(&mut progress, &both(400)[1]);
        assert_eq!(progress.bar(&both(400)), Some(String::new()));
        assert_eq!(progress.bar(&both(400)), None);
        assert_eq!(Progress::default().bar(&[]), None, "no category has repairs");
    }
}
