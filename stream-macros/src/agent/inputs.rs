//! What an agent's arguments take from a record.
//!
//! A macro sees names only, so roles go by the last segment of a type: `Stream<…>`, `Key<…>`, `Headers`,
//! `Timestamp`, `Event<…>`. Everything else is the value.

use proc_macro2::{Delimiter, Group, TokenStream};
use quote::ToTokens;
use syn::{FnArg, PatType, Signature, Type};

use crate::errors::{Errors, mistake, mistake_with_help};
use crate::types;

/// The arguments of an agent, checked: they hold what the topic's key and value must be.
pub(super) struct Inputs<'a> {
    pub(super) form: Form,
    /// In the order of the arguments; one in stream form, what the stream yields.
    pub(super) roles: Vec<Role<'a>>,
    value: &'a Type,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Stream,
    Record,
}

/// What one argument is given.
#[derive(Clone, Copy)]
pub(super) enum Role<'a> {
    Value(&'a Type),
    Key(&'a Type),
    Event(&'a Type, &'a Type),
    Headers,
    Timestamp,
}

impl<'a> Inputs<'a> {
    pub(super) fn check(signature: &'a Signature, errors: &mut Errors) -> Option<Self> {
        let arguments = signature.inputs.iter().filter_map(|argument| match argument {
            FnArg::Typed(argument) => Some(argument),
            FnArg::Receiver(_) => None,
        });
        let arguments: Vec<&PatType> = arguments.collect();
        let owned = check_owned(signature, &arguments, errors);
        let inputs = match arguments.iter().find(|argument| is_stream(argument)) {
            Some(stream) => Self::of_stream(signature, stream, &arguments, errors),
            None => Self::of_record(signature, &arguments, errors),
        };
        inputs.filter(|_| owned)
    }

    fn of_stream(
        signature: &Signature,
        stream: &'a PatType,
        arguments: &[&'a PatType],
        errors: &mut Errors,
    ) -> Option<Self> {
        let name = &signature.ident;
        for other in arguments.iter().filter(|other| !std::ptr::eq(**other, stream)) {
            let message = format_args!("agent `{name}` takes a stream, so it must not take anything else");
            let help = match is_stream(other) {
                true => "an agent reads one topic: make this a second agent",
                false => "a `Stream<Event<K, V>>` yields keys, headers and timestamps along with the values",
            };
            errors.push(mistake_with_help(other, message, help));
        }
        let [item] = types::arguments_of(&stream.ty, "Stream")?[..] else {
            errors.push(mistake(
                &stream.ty,
                "a `Stream` is over the type of its values: `Stream<T>`",
            ));
            return None;
        };
        let role = match Role::of(item) {
            role @ (Role::Value(_) | Role::Event(..)) => role,
            _ => Role::Value(item),
        };
        Some(Self {
            form: Form::Stream,
            roles: vec![role],
            value: role.value()?,
        })
    }

    fn of_record(signature: &Signature, arguments: &[&'a PatType], errors: &mut Errors) -> Option<Self> {
        let name = &signature.ident;
        let roles: Vec<_> = arguments.iter().map(|argument| Role::of(&argument.ty)).collect();
        for (index, role) in roles.iter().enumerate() {
            if roles[..index].iter().any(|earlier| earlier.excludes(*role)) {
                let what = role.what();
                let message = format_args!("agent `{name}` must not take the {what} twice");
                errors.push(mistake_with_help(arguments[index], message, EXTRACTORS));
            }
        }
        let value = roles.iter().find_map(|role| role.value());
        if value.is_none() && signature.receiver().is_none() {
            let message = format_args!("agent `{name}` must take a value or a `Stream<T>`");
            let help =
                format_args!("write `async fn {name}(value: T)`, or `async fn {name}(values: Stream<T>)`");
            errors.push(mistake_with_help(parentheses(signature), message, help));
        }
        Some(Self {
            form: Form::Record,
            value: value?,
            roles,
        })
    }

    /// The type of the topic's values.
    pub(super) fn value(&self) -> &'a Type {
        self.value
    }

    /// Whether what the agent is given has the headers of its records.
    pub(super) fn take_headers(&self) -> bool {
        let has_them = |role: &Role<'_>| matches!(role, Role::Headers | Role::Event(..));
        self.roles.iter().any(has_them)
    }

    /// The type of the topic's keys, where an argument says it.
    pub(super) fn key(&self) -> Option<&'a Type> {
        self.roles.iter().find_map(|role| match role {
            Role::Key(key) | Role::Event(key, _) => Some(*key),
            Role::Value(_) | Role::Headers | Role::Timestamp => None,
        })
    }
}

const EXTRACTORS: &str = "one argument is the value; `Key<K>`, `Headers`, `Timestamp` can stand beside it once each, \
                          and `Event<K, V>` is all of them";

impl<'a> Role<'a> {
    fn of(ty: &'a Type) -> Self {
        let Some(segment) = types::last_segment(ty) else {
            return Self::Value(ty);
        };
        match (segment.ident.to_string().as_str(), &types::arguments(segment)[..]) {
            ("Key", [key]) => Self::Key(key),
            ("Event", [key, value]) => Self::Event(key, value),
            ("Headers", []) => Self::Headers,
            ("Timestamp", []) => Self::Timestamp,
            _ => Self::Value(ty),
        }
    }

    fn value(self) -> Option<&'a Type> {
        match self {
            Self::Value(value) | Self::Event(_, value) => Some(value),
            Self::Key(_) | Self::Headers | Self::Timestamp => None,
        }
    }

    /// Whether an argument of this role leaves no room for one of the other.
    fn excludes(self, other: Self) -> bool {
        (self.value().is_some() && other.value().is_some()) || self.what() == other.what()
    }

    fn what(self) -> &'static str {
        match self {
            Self::Value(_) | Self::Event(..) => "value",
            Self::Key(_) => "key",
            Self::Headers => "headers",
            Self::Timestamp => "timestamp",
        }
    }
}

fn is_stream(argument: &PatType) -> bool {
    types::last_segment(&argument.ty).is_some_and(|segment| segment.ident == "Stream")
}

/// Arguments outlive the call that decoded them, and their types are named in statics.
fn check_owned(signature: &Signature, arguments: &[&PatType], errors: &mut Errors) -> bool {
    let mut all_owned = true;
    for argument in arguments {
        let nested = types::last_segment(&argument.ty)
            .map(types::arguments)
            .unwrap_or_default();
        for ty in std::iter::once(&*argument.ty).chain(nested) {
            if let Some(what) = types::not_owned(ty) {
                let message = format_args!("agent `{}` must not take {what}", signature.ident);
                errors.push(mistake_with_help(
                    ty,
                    message,
                    "write an owned type out, such as `String` for text",
                ));
                all_owned = false;
            }
        }
    }
    all_owned
}

/// The parentheses of the arguments, as something a mistake can be at.
fn parentheses(signature: &Signature) -> TokenStream {
    let mut group = Group::new(Delimiter::Parenthesis, TokenStream::new());
    group.set_span(signature.paren_token.span.join());
    group.to_token_stream()
}
