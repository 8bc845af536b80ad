//! What tests all over the crate share, and tests of several modules at once.

pub(crate) mod fuzz;
pub(crate) mod memory;
pub(crate) mod property;
