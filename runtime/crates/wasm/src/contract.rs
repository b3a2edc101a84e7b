//! The offered versions of the contract: detects which one a component was built for, and gives the guests of all
//! versions the same calls.
//!
//! A version consists of its bindings, a conversion (`bindings`, `convert`) and a case here. No other module knows
//! versions.

#[cfg(test)]
pub(super) mod tests;

use klines_delivery::{Delivery, Failure, Problem, Subscription};
use wasmtime::component::{HasSelf, InstancePre, Linker};
use wasmtime::{Result, Store};

use super::bindings::v1;
#[cfg(test)]
use super::bindings::v2;
use super::host::Host;

/// The interface that every consumer exports, without the version.
const EXPORT: &str = "klines:consumer/consumer@";

/// The exports of one instance. This trait is called once per batch, not per kline, so dynamic dispatch is cheap
/// enough.
pub(super) trait Guest: Send {
    fn validate(&self, store: &mut Store<Host>, settings: &str) -> Result<Vec<Problem>>;
    fn setup(&self, store: &mut Store<Host>, settings: &str) -> Result<Result<Subscription, Failure>>;
    fn start(&self, store: &mut Store<Host>) -> Result<Result<(), Failure>>;
    fn consume(&self, store: &mut Store<Host>, delivery: &Delivery) -> Result<Result<(), Failure>>;
    fn stop(&self, store: &mut Store<Host>) -> Result<()>;
}

/// An offered version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V1,
    #[cfg(test)]
    V2,
}

/// What the name of an export says about the version of the contract.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    /// The export is another interface.
    OtherInterface,
    /// The export is a consumer of an offered version.
    Offered(Version),
    /// The export is a consumer of a version that is not offered.
    Other(&'a str),
}

/// Returns the newest version of the contract, such as `klines:consumer@1.2.0`.
#[must_use]
pub fn newest() -> String {
    format!("klines:consumer@{}", Version::V1.number())
}

impl Version {
    /// From the oldest to the newest.
    const ALL: &'static [Self] = &[
        Self::V1,
        #[cfg(test)]
        Self::V2,
    ];

    /// Returns the version number of its WIT package.
    pub(super) const fn number(self) -> &'static str {
        match self {
            Self::V1 => "1.2.0",
            #[cfg(test)]
            Self::V2 => "2.0.0",
        }
    }

    /// Returns the folder of its WIT files.
    pub(super) const fn folder(self) -> &'static str {
        match self {
            Self::V1 => "wit/v1",
            #[cfg(test)]
            Self::V2 => "tests/fixtures/contract/v2",
        }
    }

    /// Returns the numbers of all offered versions, for a message.
    pub(super) fn offered() -> String {
        Self::ALL.iter().map(|version| version.number()).collect::<Vec<_>>().join(" and ")
    }

    /// Parses the name of an export. An equal major number means the same version: minor versions only add to it.
    pub(super) fn named(export: &str) -> Named<'_> {
        let Some(number) = export.strip_prefix(EXPORT) else { return Named::OtherInterface };
        let mut parts = number.split('.').map(str::parse::<u32>);
        let (Some(Ok(major)), Some(Ok(_)), Some(Ok(_)), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Named::Other(number);
        };
        let same =
            |version: &&Self| version.number().split_once('.').is_some_and(|(first, _)| first.parse() == Ok(major));
        Self::ALL.iter().find(same).map_or(Named::Other(number), |version| Named::Offered(*version))
    }
}

/// A component whose imports are resolved and whose exports are those of its version.
pub(super) enum Prepared {
    V1(v1::calls::CallsPre<Host>),
    #[cfg(test)]
    V2(v2::KlineConsumerPre<Host>),
}

impl Prepared {
    /// Looks up the exports of a version.
    pub(super) fn new(version: Version, pre: InstancePre<Host>) -> Result<Self> {
        Ok(match version {
            Version::V1 => Self::V1(v1::calls::CallsPre::new(pre)?),
            #[cfg(test)]
            Version::V2 => Self::V2(v2::KlineConsumerPre::new(pre)?),
        })
    }

    pub(super) fn instantiate(&self, store: &mut Store<Host>) -> Result<Box<dyn Guest>> {
        Ok(match self {
            Self::V1(pre) => Box::new(pre.instantiate(store)?),
            #[cfg(test)]
            Self::V2(pre) => Box::new(pre.instantiate(store)?),
        })
    }
}

/// Adds the imports of every version to the linker.
pub(super) fn add_to_linker(linker: &mut Linker<Host>) -> Result<()> {
    v1::KlineConsumer::add_to_linker::<_, HasSelf<_>>(linker, |host| host)?;
    #[cfg(test)]
    v2::KlineConsumer::add_to_linker::<_, HasSelf<_>>(linker, |host| host)?;
    Ok(())
}
