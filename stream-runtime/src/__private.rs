//! What the expansions of the macros may name, and nobody else: it changes without notice.

pub use inventory;

pub use crate::agent::dead_letter::dead_letters;
pub use crate::agent::def::AgentParts;
pub use crate::agent::extract::Incoming;
pub use crate::agent::returned::{NotAResult, Returned, sink_function_must_return_nothing};
pub use crate::agent::run::{AgentFuture, AgentStart, Emit, Outcome, run_record, run_stream};
pub use crate::agent::{AgentDef, Event, Form, Key, OnError, Timestamp, Verdict};
pub use crate::record::codec::{Codec, CodecError};
pub use crate::record::codecs::{Auto, Json, Postcard, Raw, Text};
pub use crate::record::topic::{AnyKey, AnyKeyCodec, Ownership, Topic, TopicDef, TopicOptions};
pub use crate::record::{Headers, Location};
pub use crate::registry::{AgentEntry, TopicEntry};
pub use crate::stream::Stream;
pub use crate::table::declare::{TableDefault, declare_table};
pub use crate::table::def::{TableEntry, TableOptions};
pub use crate::table::{Table, TableDef, TableShard};
