//! Components of others: how publishers sign and publish them, and how operators accept them.

pub mod add;
pub mod publish;
pub mod remove;
pub mod search;
pub mod sign;
pub mod upgrade;

mod candidate;
mod choice;
mod document;
mod files;
mod offer;
mod password;
mod remote;
mod source;
