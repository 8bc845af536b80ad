#[allow(
    clippy::unused_async,
    reason = "agents are asynchronous, whether they wait or not"
)]
async fn ship(order: Order) -> Result<(), ShippingError> {
    hand_over(order).await
}
///The handle of the agent [`ship`](fn@ship).
#[allow(
    dead_code,
    non_camel_case_types,
    unreachable_pub,
    reason = "a handle is named after its function, and not every agent is asked for its own"
)]
#[derive(::core::fmt::Debug)]
struct ship {}
#[allow(
    dead_code,
    deprecated,
    private_interfaces,
    unreachable_pub,
    reason = "methods are as visible as their function, and not every agent is asked for its own"
)]
impl ship {
    /// What was declared.
    const fn agent() -> &'static ::stream_runtime::__private::AgentDef {
        static __DEAD_LETTERS: ::stream_runtime::__private::TopicDef = ::stream_runtime::__private::TopicDef::__dead_letters(
            "orders-failed",
            ::stream_runtime::__private::Location {
                file: ::core::file!(),
                line: ::core::line!(),
                module: ::core::module_path!(),
            },
        );
        static __AGENT: ::stream_runtime::__private::AgentDef = ::stream_runtime::__private::AgentDef::__new(::stream_runtime::__private::AgentParts {
            name: "ship",
            doc: "",
            location: ::stream_runtime::__private::Location {
                file: ::core::file!(),
                line: ::core::line!(),
                module: ::core::module_path!(),
            },
            form: ::stream_runtime::__private::Form::Record,
            input: || ship::topic().def(),
            sinks: &[],
            mentions: &[],
            tables: &[],
            on_error: ::stream_runtime::__private::OnError {
                retries: 2u32,
                backoff: ::core::time::Duration::from_millis(1000u64),
                max_backoff: ::core::time::Duration::from_millis(60000u64),
                then: ::stream_runtime::__private::Verdict::DeadLetter(|| {
                    &__DEAD_LETTERS
                }),
            },
            takes_headers: false,
            start: |__start| ::stream_runtime::__private::run_record(
                __start,
                |__record| ::core::result::Result::Ok((__record.value(ship::topic())?,)),
                |(__0,)| ship(__0),
                |__returned, __emit| {
                    let _ = __returned?;
                    ::core::result::Result::Ok(())
                },
            ),
        });
        &__AGENT
    }
    /// Where its records come from.
    fn topic() -> &'static ::stream_runtime::__private::Topic<
        ::stream_runtime::__private::AnyKey,
        Order,
    > {
        static __TOPIC: ::stream_runtime::__private::Topic<
            ::stream_runtime::__private::AnyKey,
            Order,
        > = ::stream_runtime::__private::Topic::__new::<
            ::stream_runtime::__private::AnyKeyCodec,
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
        ::stream_runtime::__private::AgentEntry(ship::agent())
    }
};
