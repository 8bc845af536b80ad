/// Orders as the shop writes them.
pub static SHOP_ORDERS: Topic<String, Order> = <Topic<
    String,
    Order,
>>::__new::<
    ::stream_runtime::__private::Auto,
    ::stream_runtime::__private::Auto,
>(::stream_runtime::__private::TopicOptions {
    name: "shop-orders",
    ident: "SHOP_ORDERS",
    doc: "Orders as the shop writes them.",
    location: ::stream_runtime::__private::Location {
        file: ::core::file!(),
        line: ::core::line!(),
        module: ::core::module_path!(),
    },
    ownership: ::stream_runtime::__private::Ownership::External,
    partitions: ::core::option::Option::None,
    replicas: ::core::option::Option::None,
    retention_ms: ::core::option::Option::None,
    compact: false,
    config: &[],
});
const _: () = {
    ::stream_runtime::__private::inventory::submit! {
        ::stream_runtime::__private::TopicEntry(|| SHOP_ORDERS.def())
    }
};
