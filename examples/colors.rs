//! Colours.
fn main() {}
