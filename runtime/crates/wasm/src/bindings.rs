//! Code generated from the contract, one file per version. Only `convert` and `contract` see these types.

pub(super) mod v1;
#[cfg(test)]
pub(super) mod v2;
