//! The broker without sockets, on a time that the tests set; and its server with garbage.

mod fixture;
mod frames;
mod fuzz;
mod groups;
mod logs;
mod model;
mod produce;
mod transaction_offsets;
mod transactions;
