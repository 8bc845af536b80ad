//! Bytes of clients, damaged: frames through the whole broker, batches through the log and its compaction.

mod batches;
mod frames;
mod requests;
