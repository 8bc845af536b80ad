//! What is read of the group that remembers replays, damaged.

mod fuzz;
