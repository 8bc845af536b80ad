//! What arrives of other workers, damaged.

mod fuzz;
