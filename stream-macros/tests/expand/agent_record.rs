#[allow(
    clippy::unused_async,
    reason = "agents are asynchronous, whether they wait or not"
)]
async fn count(color: String) -> u64 {
    COLORS_COUNT
        .update(
            &color,
            |n| {
                *n += 1;
                *n
            },
        )
}
///The handle of the agent [`count`](fn@count).
#[allow(
    dead_code,
    non_camel_case_types,
    unreachable_pub,
    reason = "a handle is named after its function, and not every agent is asked for its own"
)]
#[derive(::core::fmt::Debug)]
struct count {}
#[allow(
    dead_code,
    deprecated,
    private_interfaces,
    unreachable_pub,
    reason = "methods are as visible as their function, and not every agent is asked for its own"
)]
impl count {
    /// What was declared.
    const fn agent() -> &'static ::stream_runtime::__private::AgentDef {
        const _: () = {
            #[allow(unused_imports, reason = "a `Result` answers without the trait")]
            use ::stream_runtime::__private::NotAResult as _;
            ::core::assert!(
                ! < ::stream_runtime::__private::Returned < u64 >> ::IS_RESULT,
                "agent `count` returns a `Result` by another name: write `Result<…>`, or its errors go unseen"
            );
        };
        static __SINK_0: ::stream_runtime::__private::Topic<
            ::stream_runtime::__private::AnyKey,
            u64,
        > = ::stream_runtime::__private::Topic::__new::<
            ::stream_runtime::__private::AnyKeyCodec,
            ::stream_runtime::__private::Auto,
        >(
            ::stream_runtime::__private::TopicOptions::named(
                "output",
                ::stream_runtime::__private::Location {
                    file: ::core::file!(),
                    line: ::core::line!(),
                    module: ::core::module_path!(),
                },
            ),
        );
        static __AGENT: ::stream_runtime::__private::AgentDef = ::stream_runtime::__private::AgentDef::__new(::stream_runtime::__private::AgentParts {
            name: "count",
            doc: "",
            location: ::stream_runtime::__private::Location {
                file: ::core::file!(),
                line: ::core::line!(),
                module: ::core::module_path!(),
            },
            form: ::stream_runtime::__private::Form::Record,
            input: || count::topic().def(),
            sinks: &[|| __SINK_0.def()],
            mentions: &["COLORS_COUNT"],
            tables: &[],
            on_error: ::stream_runtime::__private::OnError {
                retries: 3u32,
                backoff: ::core::time::Duration::from_millis(100u64),
                max_backoff: ::core::time::Duration::from_millis(60000u64),
                then: ::stream_runtime::__private::Verdict::Stop,
            },
            takes_headers: false,
            start: |__start| ::stream_runtime::__private::run_record(
                __start,
                |__record| ::core::result::Result::Ok((
                    __record.value(count::topic())?,
                )),
                |(__0,)| count(__0),
                |__returned, __emit| {
                    let __value = __returned;
                    __emit.topic(&__SINK_0, &__value);
                    ::core::result::Result::Ok(())
                },
            ),
        });
        &__AGENT
    }
    /// Where its records come from.
    fn topic() -> &'static ::stream_runtime::__private::Topic<
        impl ::core::marker::Sized + 'static,
        String,
    > {
        &COLORS
    }
}
const _: () = {
    ::stream_runtime::__private::inventory::submit! {
        ::stream_runtime::__private::AgentEntry(count::agent())
    }
};
