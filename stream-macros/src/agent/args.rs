//! What `#[agent(…)]` was given.

use proc_macro2::TokenStream;
use syn::{Expr, ExprLit, Ident, Lit, Path};

use super::policy::Policy;
use crate::args::Args;
use crate::errors::{Errors, mistake_with_help};
use crate::{mentions, values, words};

/// The arguments as written, each one right by itself.
pub(super) struct AgentArgs {
    pub(super) topic: Option<TopicUse>,
    pub(super) name: Option<String>,
    pub(super) sinks: Vec<Sink>,
    /// The key that gave the sinks.
    pub(super) sink_key: Option<Ident>,
    pub(super) policy: Policy,
    pub(super) tables: Vec<Path>,
}

/// A topic that is read or written.
pub(super) enum TopicUse {
    /// By its name.
    Named(String),
    /// By the static that declares it.
    Declared(Path),
}

/// Where what the function returns goes.
pub(super) enum Sink {
    Topic(TopicUse),
    Function(Path),
}

impl AgentArgs {
    pub(super) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let args = Args::parse(tokens, words::OF_AGENT, errors);
        if args.key(words::TOPIC).is_none() {
            let help =
                "name it, `#[agent(topic = \"orders\")]`, or the static that declares it, `topic = ORDERS`";
            errors.push(mistake_with_help(TokenStream::new(), "missing `topic`", help));
        }
        Self {
            topic: args.value(words::TOPIC, TopicUse::read, errors),
            name: args.value(words::NAME, |expr| values::name(expr, "an agent"), errors),
            sinks: sinks(&args, errors),
            sink_key: args.key(words::SINK).or(args.key(words::SINKS)).cloned(),
            policy: args
                .value(words::ON_ERROR, Policy::read, errors)
                .unwrap_or_default(),
            tables: args.value(words::TABLES, tables, errors).unwrap_or_default(),
        }
    }
}

fn sinks(args: &Args, errors: &mut Errors) -> Vec<Sink> {
    if let (Some(_), Some(sinks)) = (args.key(words::SINK), args.key(words::SINKS)) {
        let help = "`sink` is for one, `sinks` for a list of several";
        errors.push(mistake_with_help(
            sinks,
            "`sinks` cannot be combined with `sink`",
            help,
        ));
    }
    let one = args.value(words::SINK, Sink::read_one, errors);
    let several = args.value(
        words::SINKS,
        |expr| values::all(values::list(expr)?.map(Sink::read)),
        errors,
    );
    one.into_iter().chain(several.into_iter().flatten()).collect()
}

fn tables(expr: &Expr) -> syn::Result<Vec<Path>> {
    values::all(values::list(expr)?.map(|expr| {
        let table = values::path(expr).cloned();
        table.ok_or_else(|| {
            mistake_with_help(
                expr,
                "expected a table",
                "name the static that declares it: `tables = [TOTALS]`",
            )
        })
    }))
}

impl TopicUse {
    fn read(expr: &Expr) -> syn::Result<Self> {
        match expr {
            Expr::Lit(ExprLit { lit: Lit::Str(_), .. }) => values::name(expr, "a topic").map(Self::Named),
            _ => values::path(expr).cloned().map(Self::Declared).ok_or_else(|| {
                let help = "write its name, `\"orders\"`, or the static that declares it, `ORDERS`";
                mistake_with_help(expr, "expected a topic", help)
            }),
        }
    }
}

impl Sink {
    fn read_one(expr: &Expr) -> syn::Result<Self> {
        match expr {
            Expr::Array(_) => Err(mistake_with_help(
                expr,
                "expected one sink",
                "several are given with `sinks = […]`",
            )),
            _ => Self::read(expr),
        }
    }

    /// Statics are written in capitals and functions are not: nothing else tells them apart here.
    fn read(expr: &Expr) -> syn::Result<Self> {
        match values::path(expr).and_then(|path| Some((path, path.segments.last()?.ident.to_string()))) {
            Some((path, last)) if !mentions::is_capitals(&last) => {
                if last.starts_with(char::is_uppercase) {
                    let help = "a static is written in capitals, a function in small letters";
                    return Err(mistake_with_help(expr, "expected a topic or a function", help));
                }
                Ok(Self::Function(path.clone()))
            }
            _ => TopicUse::read(expr).map(Self::Topic),
        }
    }
}
