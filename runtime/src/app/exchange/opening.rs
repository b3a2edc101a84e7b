//! Opens one category, without waiting for any other one, and then follows its symbols: what the exchange lists, and what
//! a changed configuration chooses.

use std::collections::BTreeMap;

use klines_bybit::config::{CategoryConfig, SymbolChoice};
use klines_bybit::feed::FeedSettings;
use klines_bybit::instruments::{Pace, Watch};
use klines_bybit::rest::Reply;
use klines_bybit::symbols::{self, Instrument};
use klines_domain::aggregator::{Earlier, Settings};
use klines_domain::feed::FeedMessage;
use klines_domain::symbol::Symbol;
use tokio::sync::watch;
use tokio::time::Instant;

use super::members::{Links, Members, Repairs};
use crate::app::cluster::share::Share;

/// Everything that opening a category needs.
pub(super) struct Opening {
    pub(super) config: CategoryConfig,
    pub(super) settings: Settings,
    pub(super) feed_settings: FeedSettings,
    /// `None` if gaps are not repaired.
    pub(super) repairs: Option<Repairs>,
    pub(super) links: Links,
    /// The chosen symbols, whenever the configuration changes.
    pub(super) choice: watch::Receiver<SymbolChoice>,
    /// Those of the chosen symbols that this process watches.
    pub(super) share: Share,
    pub(super) pace: Pace,
    /// What earlier runs have left of its symbols.
    pub(super) earlier: BTreeMap<Symbol, Earlier>,
}

impl Opening {
    /// Resolves the symbols, however long that takes, starts the category and follows its symbols until it is cancelled.
    pub(super) async fn run(self) {
        let cancel = self.links.context.cancel.clone();
        tokio::select! { biased;
            () = cancel.cancelled() => {}
            _ = self.open() => {}
        }
    }

    /// Returns `None` when the run has ended.
    async fn open(mut self) -> Option<()> {
        let (links, cancel) = (self.links.clone(), self.links.context.cancel.clone());
        let table = loop {
            self.config.symbols = self.choice.borrow_and_update().clone();
            tokio::select! {
                table = symbols::resolve(&links.rest, &self.config, &cancel) => break table?,
                changed = self.choice.changed() => changed.ok()?,
            }
        };
        let chosen = table.iter().map(|(_, symbol)| symbol.clone()).collect();
        self.share.first().await;
        let table = self.share.table(self.config.category, &table);
        // What this node has made itself is known better from its own store.
        let unknown = table.iter().map(|(_, symbol)| symbol).filter(|symbol| !self.earlier.contains_key(*symbol));
        let unknown: Vec<Symbol> = unknown.cloned().collect();
        let published = self.share.published(self.config.category, &unknown).await;
        let known = (table, self.earlier, published);
        let members = Members::open(self.links, self.feed_settings, self.settings, self.repairs, known).await?;
        let watch = Watch::new(self.config.category, &members.table(), self.pace);
        let (config, chosen_at) = (self.config, Some(Instant::now()));
        let following =
            Following { links, members, watch, config, chosen, share: self.share, is_asked: true, chosen_at };
        following.run(self.choice).await
    }
}

/// Follows the symbols of a category that has been opened.
struct Following {
    links: Links,
    members: Members,
    watch: Watch,
    config: CategoryConfig,
    /// The chosen symbols, of which the share is watched.
    chosen: Vec<Symbol>,
    share: Share,
    /// Whether a list is requested at once, because the configuration has chosen other symbols.
    is_asked: bool,
    /// When the symbols were last chosen from a list; `None` if that is due.
    chosen_at: Option<Instant>,
}

impl Following {
    /// Requests lists again and again, and takes changes of the configuration. Returns `None` when the run has ended.
    async fn run(mut self, mut choice: watch::Receiver<SymbolChoice>) -> Option<()> {
        let mut share = self.share.clone();
        loop {
            tokio::select! { biased;
                changed = choice.changed() => {
                    changed.ok()?;
                    self.config.symbols = choice.borrow_and_update().clone();
                    (self.is_asked, self.chosen_at) = (true, None);
                    if let SymbolChoice::Listed(listed) = self.config.symbols.clone() {
                        self.set(listed).await?;
                    }
                }
                changed = share.changed() => {
                    changed?;
                    let chosen = self.chosen.clone();
                    self.set(chosen).await?;
                }
                reply = self.next_list() => {
                    self.is_asked = false;
                    self.take(&reply?).await?;
                }
            }
        }
    }

    async fn next_list(&self) -> Option<Reply<Vec<Instrument>>> {
        let (rest, cancel) = (&self.links.rest, &self.links.context.cancel);
        if self.is_asked {
            return symbols::check_in_background(rest, &self.config, cancel).await;
        }
        Some(self.watch.next(rest).await)
    }

    /// Takes a list: reports what has ended, and chooses the symbols again if that is due.
    async fn take(&mut self, reply: &Reply<Vec<Instrument>>) -> Option<()> {
        let events = self.watch.take(reply.received, &reply.result);
        if !events.is_empty() {
            let message = FeedMessage::of_category(self.config.category, reply.received, events);
            self.links.context.out.send(message).await.ok()?;
        }
        let is_due = self.chosen_at.is_none_or(|chosen_at| chosen_at.elapsed() >= self.watch.chosen());
        let SymbolChoice::All(all) = &self.config.symbols else { return Some(()) };
        let Some(names) = self.watch.choose(all, &reply.result).filter(|_| is_due) else { return Some(()) };
        self.chosen_at = Some(Instant::now());
        self.set(names).await
    }

    /// Chooses symbols, and watches the share of them.
    async fn set(&mut self, names: Vec<Symbol>) -> Option<()> {
        self.chosen.clone_from(&names);
        let names = self.share.among(self.config.category, names);
        let published = self.share.published(self.config.category, &self.members.new_ones(&names)).await;
        let change = self.members.set(&names, published).await?;
        self.watch.remove(&change.left);
        change.joined.into_iter().for_each(|(id, symbol)| self.watch.add(id, symbol));
        Some(())
    }
}
