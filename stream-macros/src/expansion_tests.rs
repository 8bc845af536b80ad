//! Compares expansions with the files in `tests/expand/`, where they can be read; `BLESS=1` writes those.

use std::path::Path;
use std::{env, fs};

use proc_macro2::TokenStream;
use quote::quote;

use crate::agent::agent;
use crate::table::table;
use crate::topic::topic;

#[track_caller]
fn check(name: &str, expanded: TokenStream) {
    let expanded = prettyplease::unparse(&syn::parse2(expanded).expect("an expansion is items"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/expand")
        .join(name);
    if env::var_os("BLESS").is_some() {
        fs::write(&file, &expanded).expect("the folder can be written");
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(expanded, expected, "{name} differs (`BLESS=1` accepts it)");
}

#[test]
fn a_topic_with_nothing_said() {
    let item = quote! {
        /// Orders as the shop writes them.
        pub static SHOP_ORDERS: Topic<String, Order>;
    };
    check("topic.rs", topic(quote!(), &item));
}

#[test]
fn a_topic_with_everything_said() {
    let attribute = quote! {
        internal, name = "by-color", partitions = 8, replicas = 3, retention = "7d", compact,
        key = text, value = codecs::Tenths, config = [("min.insync.replicas", "2")],
    };
    let item = quote! {
        #[cfg(unix)]
        static COLORS: stream_runtime::Topic<String, f64>;
    };
    check("topic_in_full.rs", topic(attribute, &item));
}

#[test]
fn a_table_with_nothing_said() {
    check(
        "table.rs",
        table(
            quote!(),
            &quote!(
                static COLORS_COUNT: Table<String, u64>;
            ),
        ),
    );
}

#[test]
fn a_table_with_everything_said() {
    let attribute = quote! {
        name = "limits", value = json, default = Limit::of(10), config = [("segment.ms", "60000")]
    };
    check(
        "table_in_full.rs",
        table(
            attribute,
            &quote!(
                static LIMITS: Table<String, Limit>;
            ),
        ),
    );
}

#[test]
fn an_agent_in_stream_form() {
    let item = quote! {
        /// Keeps red.
        async fn keep_red(mut words: Stream<String>) {
            while let Some(word) = words.next().await {
                if word == "red" { COLORS.send(&word, &word).await; }
            }
        }
    };
    check("agent_stream.rs", agent(quote!(topic = "words"), &item));
}

#[test]
fn an_agent_in_record_form() {
    let item = quote! {
        async fn count(color: String) -> u64 {
            COLORS_COUNT.update(&color, |n| { *n += 1; *n })
        }
    };
    check(
        "agent_record.rs",
        agent(quote!(topic = COLORS, sink = "output"), &item),
    );
}

#[test]
fn an_agent_over_events() {
    let item = quote! {
        async fn follow(mut events: Stream<Event<String, Order>>) {
            while let Some(event) = events.next().await {}
        }
    };
    check("agent_events.rs", agent(quote!(topic = "orders"), &item));
}

#[test]
fn an_agent_with_everything_said() {
    let attribute = quote! {
        topic = "orders", name = "pricing", sinks = [PRICED, "priced", audit::note],
        on_error = retry(times = 5, backoff = "1s", then = skip), tables = [PRICES],
    };
    let item = quote! {
        pub(crate) async fn price(
            order: Order, Key(id): Key<u64>, headers: Headers, at: Timestamp,
        ) -> Result<Option<Price>, PriceError> {
            look_up(order, id, headers, at).await
        }
    };
    check("agent_in_full.rs", agent(attribute, &item));
}

#[test]
fn an_agent_with_dead_letters() {
    let attribute = quote! {
        topic = "orders", on_error = retry(times = 2, backoff = "1s", max = "1m", then = dead_letter("orders-failed")),
    };
    let item = quote! {
        async fn ship(order: Order) -> Result<(), ShippingError> {
            hand_over(order).await
        }
    };
    check("agent_with_dead_letters.rs", agent(attribute, &item));
}

#[test]
fn mistakes_leave_the_item_and_its_handle() {
    let agent = agent(
        quote!(topic = "orders", tpic = 3),
        &quote!(
            fn price(order: Order) {}
        ),
    );
    let table = table(
        quote!(default),
        &quote!(
            static PRICES: Table<String, u64> = 3;
        ),
    );
    check("mistakes.rs", quote!(#agent #table));
}

#[test]
fn a_body_that_is_being_typed_still_expands() {
    let item = quote!(async fn price(order: Order) { let x = order. });
    let expanded = agent(quote!(topic = "orders"), &item).to_string();
    assert!(expanded.contains("AgentParts"), "{expanded}");
}
