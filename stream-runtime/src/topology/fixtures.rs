//! Declarations made by hand, for tests.
