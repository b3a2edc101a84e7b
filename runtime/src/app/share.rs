//! Components of others: how publishers sign them, and how operators accept them.

pub mod sign;

mod files;
mod password;
