//! Where generated tokens claim to be written, and the errors that sit there.
//!
//! A generated call carries the span of the author's token that caused it: rustc's type errors and the locations that
//! `#[track_caller]` functions see are then the author's own lines. Generated variables are hygienic instead.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};

/// All mistakes found in one item.
#[derive(Default)]
pub struct Errors(Option<syn::Error>);

impl Errors {
    /// Adds a mistake that the author made at `tokens`.
    pub fn push(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.add(syn::Error::new_spanned(tokens, message));
    }

    /// Adds a mistake made at a place without tokens of its own.
    pub fn push_at(&mut self, span: Span, message: impl std::fmt::Display) {
        self.add(syn::Error::new(span, message));
    }

    /// Adds mistakes found by the parser.
    pub fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// The mistakes as items that make rustc report them; `None` if there are none.
    pub fn into_compile_errors(self) -> Option<TokenStream> {
        self.0.map(|errors| errors.into_compile_error())
    }
}

/// The path below which the expansion finds what it refers to.
pub struct Root {
    path: TokenStream,
    /// Whether the author gave the path, so that it has to be resolved where the author wrote it.
    given: bool,
}

impl Root {
    /// Below the crate that the author named, or the one that Cargo.toml names.
    pub fn new(given: Option<&syn::Path>) -> Self {
        match given {
            Some(path) => Self {
                path: quote!(#path::__private),
                given: true,
            },
            None => Self {
                path: found(),
                given: false,
            },
        }
    }

    /// The path of `name`, as if written at `span`.
    pub fn at(&self, span: Span, name: &str) -> TokenStream {
        let name = Ident::new(name, span);
        let root = self.located(self.path.clone(), span);
        quote_spanned!(span=> #root::#name)
    }

    fn located(&self, tokens: TokenStream, span: Span) -> TokenStream {
        tokens
            .into_iter()
            .map(|mut token| {
                token.set_span(if self.given {
                    token.span().located_at(span)
                } else {
                    span
                });
                token
            })
            .collect()
    }
}

fn found() -> TokenStream {
    let own_names = [("tilewright", "tilewright"), ("tilewright-dsl", "tilewright_dsl")];
    for (package, library) in own_names {
        let name = match crate_name(package) {
            // The name the library has for its own tests and examples; inside, it is `extern crate self as …`.
            Ok(FoundCrate::Itself) => format_ident!("{library}"),
            Ok(FoundCrate::Name(name)) => format_ident!("{name}"),
            Err(_) => continue,
        };
        return quote!(::#name::__private);
    }
    quote!(::tilewright::__private)
}

/// A variable that the author's names cannot meet, for the construct at `span`, `depth` constructs deep.
pub fn fresh(name: &str, depth: usize, span: Span) -> Ident {
    Ident::new(&format!("{name}_{depth}"), Span::mixed_site().located_at(span))
}

/// The first token's span and the last one's: stable Rust cannot join them.
pub fn first(tokens: &impl ToTokens) -> Span {
    tokens
        .to_token_stream()
        .into_iter()
        .next()
        .map_or_else(Span::call_site, |token| token.span())
}

/// Calls `visit` with every identifier in `tokens`, those inside groups included.
pub fn identifiers(tokens: TokenStream, visit: &mut impl FnMut(&Ident)) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => visit(&ident),
            TokenTree::Group(group) => identifiers(Group::stream(&group), visit),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}
