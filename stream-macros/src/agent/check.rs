//! The arguments and the function together.

use syn::{Ident, Path, Type};

use super::args::{AgentArgs, Sink, TopicUse};
use super::inputs::{Form, Inputs};
use super::policy::Policy;
use super::returns::{Count, Returns};
use crate::errors::{Errors, mistake_with_help};
use crate::item::FnItem;
use crate::{mentions, signature, types, values};

/// An agent in which nothing is wrong.
pub(super) struct Agent<'a> {
    pub(super) item: &'a FnItem,
    pub(super) name: String,
    pub(super) topic: TopicUse,
    pub(super) inputs: Inputs<'a>,
    pub(super) output: Output<'a>,
    pub(super) policy: Policy,
    pub(super) tables: Vec<Path>,
    pub(super) mentions: Vec<String>,
}

/// What becomes of what the function returns.
pub(super) struct Output<'a> {
    /// The return type where it is a `Result`.
    pub(super) result: Option<&'a Type>,
    pub(super) sinks: Vec<Sink>,
    /// What the sinks are given, when there are any.
    pub(super) sunk: Option<(&'a Type, Count)>,
}

impl<'a> Agent<'a> {
    pub(super) fn check(args: AgentArgs, item: &'a FnItem, errors: &mut Errors) -> Option<Self> {
        signature::check(&item.signature, "agent", errors);
        let inputs = Inputs::check(&item.signature, errors);
        let name = values::name_or(args.name, str::to_owned, &item.signature.ident, "an agent");
        let name = errors.keep(name);
        let form = inputs.as_ref().map(|inputs| inputs.form);
        let output = Output::check(args.sinks, args.sink_key.as_ref(), form, item, errors);
        Some(Self {
            item,
            name: name?,
            topic: args.topic?,
            inputs: inputs?,
            output,
            policy: args.policy,
            tables: args.tables,
            mentions: mentions::mentions(&item.body),
        })
    }
}

impl<'a> Output<'a> {
    fn check(
        sinks: Vec<Sink>,
        sink_key: Option<&Ident>,
        form: Option<Form>,
        item: &'a FnItem,
        errors: &mut Errors,
    ) -> Self {
        let name = &item.signature.ident;
        let returns = Returns::of(&item.signature.output);
        match (form, sink_key, returns.inner) {
            (Some(Form::Stream), sink_key, inner) => {
                if let Some(key) = sink_key {
                    let message =
                        format_args!("agent `{name}` takes a stream, so it returns nothing for a sink");
                    errors.push(mistake_with_help(key, message, STREAM_SENDS));
                }
                if let Some(inner) = inner {
                    let message = format_args!(
                        "agent `{name}` takes a stream, so it must return `()` or `Result<(), E>`"
                    );
                    errors.push(mistake_with_help(inner, message, STREAM_SENDS));
                }
            }
            (_, Some(key), None) => {
                let message = format_args!("agent `{name}` returns nothing for its sink");
                let help = format_args!("return what is to be sent: `async fn {name}(…) -> T`");
                errors.push(mistake_with_help(key, message, help));
            }
            (_, Some(_), Some(inner)) => check_owned(name, inner, errors),
            (_, None, _) => {}
        }
        Self {
            result: returns.result,
            sunk: returns.sunk().filter(|_| !sinks.is_empty()),
            sinks,
        }
    }
}

const STREAM_SENDS: &str = "send from the body: `TOPIC.send(&key, &value).await`";

fn check_owned(name: &Ident, returned: &Type, errors: &mut Errors) {
    if let Some(what) = types::not_owned(returned) {
        let message = format_args!("agent `{name}` must not return {what} to a sink");
        let help = "write an owned type out; `Vec<T>` sends several values, `Option<T>` one or none";
        errors.push(mistake_with_help(returned, message, help));
    }
}
