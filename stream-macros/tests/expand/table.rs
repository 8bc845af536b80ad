static COLORS_COUNT: Table<String, u64> = ::stream_runtime::__private::declare_table::<
    String,
    u64,
    ::stream_runtime::__private::Postcard,
>(
    ::stream_runtime::__private::TableOptions {
        name: "colors-count",
        ident: "COLORS_COUNT",
        doc: "",
        location: ::stream_runtime::__private::Location {
            file: ::core::file!(),
            line: ::core::line!(),
            module: ::core::module_path!(),
        },
        config: &[],
    },
    <u64 as ::stream_runtime::__private::TableDefault>::table_default,
);
const _: () = {
    ::stream_runtime::__private::inventory::submit! {
        ::stream_runtime::__private::TableEntry::__new(|| COLORS_COUNT.def(), ||
        ::stream_runtime::__private::Table::__open(& COLORS_COUNT))
    }
};
