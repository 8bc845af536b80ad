//! What arrives in this layer as bytes of outside, damaged.

mod fuzz;
