#[allow(
    clippy::unused_async,
    reason = "agents are asynchronous, whether they wait or not"
)]
pub(crate) async fn price(
    order: Order,
    Key(id): Key<u64>,
    headers: Headers,
    at: Timestamp,
) -> Result<Option<Price>, PriceError> {
    look_up(order, id, headers, at).await
}
///The handle of the agent [`price`](fn@price).
#[allow(
    dead_code,
    non_camel_case_types,
    unreachable_pub,
    reason = "a handle is named after its function, and not every agent is asked for its own"
)]
#[derive(::core::fmt::Debug)]
pub(crate) struct price {}
#[allow(
    dead_code,
    deprecated,
    private_interfaces,
    unreachable_pub,
    reason = "methods are as visible as their function, and not every agent is asked for its own"
)]
impl price {
    /// What was declared.
    pub(crate) const fn agent() -> &'static ::stream_runtime::__private::AgentDef {
        static __SINK_1: ::stream_runtime::__private::Topic<
            ::stream_runtime::__private::AnyKey,
            Price,
        > = ::stream_runtime::__private::Topic::__new::<
            ::stream_runtime::__private::AnyKeyCodec,
            ::stream_runtime::__private::Auto,
        >(
            ::stream_runtime::__private::TopicOptions::named(
                "priced",
                ::stream_runtime::__private::Location {
                    file: ::core::file!(),
                    line: ::core::line!(),
                    module: ::core::module_path!(),
                },
            ),
        );
        static __AGENT: ::stream_runtime::__private::AgentDef = ::stream_runtime::__private::AgentDef::__new(::stream_runtime::__private::AgentParts {
            name: "pricing",
            doc: "",
            location: ::stream_runtime::__private::Location {
                file: ::core::file!(),
                line: ::core::line!(),
                module: ::core::module_path!(),
            },
            form: ::stream_runtime::__private::Form::Record,
            input: || price::topic().def(),
            sinks: &[|| PRICED.def(), || __SINK_1.def()],
            mentions: &[],
            tables: &[|| PRICES.def()],
            on_error: ::stream_runtime::__private::OnError {
                retries: 5u32,
                backoff: ::core::time::Duration::from_millis(1000u64),
                max_backoff: ::core::time::Duration::from_millis(60000u64),
                then: ::stream_runtime::__private::Verdict::Skip,
            },
            takes_headers: true,
            start: |__start| ::stream_runtime::__private::run_record(
                __start,
                |__record| ::core::result::Result::Ok((
                    __record.value(price::topic())?,
                    __record.key(price::topic())?,
                    __record.headers(),
                    __record.timestamp(),
                )),
                |(__0, __1, __2, __3)| price(__0, __1, __2, __3),
                |__returned, __emit| {
                    if let ::core::option::Option::Some(__value) = __returned? {
                        __emit.topic(&PRICED, &__value);
                        __emit.topic(&__SINK_1, &__value);
                        ::stream_runtime::__private::sink_function_must_return_nothing(
                            audit::note(&__value),
                        );
                    }
                    ::core::result::Result::Ok(())
                },
            ),
        });
        &__AGENT
    }
    /// Where its records come from.
    pub(crate) fn topic() -> &'static ::stream_runtime::__private::Topic<u64, Order> {
        static __TOPIC: ::stream_runtime::__private::Topic<u64, Order> = ::stream_runtime::__private::Topic::__new::<
            ::stream_runtime::__private::Auto,
            ::stream_runtime::__private::Auto,
        >(
            ::stream_runtime::__private::TopicOptions::named(
                "orders",
                ::stream_runtime::__private::Location {
                    file: ::core::file!(),
                    line: ::core::line!(),
                    module: ::core::module_path!(),
                },
            ),
        );
        &__TOPIC
    }
}
const _: () = {
    ::stream_runtime::__private::inventory::submit! {
        ::stream_runtime::__private::AgentEntry(price::agent())
    }
};
