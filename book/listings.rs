//! The listings of the book, a module for each page that has some, and of the README. `cargo test --doc` runs them.

macro_rules! pages {
    ($($page:ident: $file:literal,)*) => {$(
        #[cfg(doctest)]
        #[doc = include_str!($file)]
        mod $page {}
    )*};
}

pages! {
    readme: "../README.md",
    introduction: "src/introduction.md",
    first_kernel: "src/first-kernel.md",
    from_triton: "src/from-triton.md",
    tiles: "src/tiles.md",
    ragged: "src/ragged.md",
    races: "src/races.md",
    slow: "src/slow.md",
    serving: "src/serving.md",
    startup: "src/startup.md",
    dp_attention: "src/dp-attention.md",
    between_gpus: "src/between-gpus.md",
    pytorch: "src/pytorch.md",
    candle: "src/candle.md",
    errors: "src/errors.md",
    known_issues: "src/known-issues.md",
    how_it_is_built: "src/how-it-is-built.md",
}
