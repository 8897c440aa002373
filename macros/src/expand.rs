//! The items that replace the author's function.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::visit_mut::{self, VisitMut};
use syn::{Attribute as SynAttribute, GenericParam, Generics, Ident, ItemFn, Lifetime, Type};

use crate::attr::{Arguments, Attribute, Choice};
use crate::lower::{Lowering, Place};
use crate::model::{self, Kind, Parameter};
use crate::span::{Errors, Root, first};
use crate::{check, fallback};

/// Expands `#[kernel]`.
pub fn kernel(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let mut arguments = Arguments::parse(Attribute::Kernel, arguments, &mut errors);
    let Some(function) = model::function("kernel", item.clone(), &mut errors) else {
        return fallback::item(item, errors);
    };
    arguments.require_grid(&function.sig.ident, &mut errors);
    check::function(Attribute::Kernel, &function, &mut errors);
    arguments
        .grid
        .iter()
        .for_each(|extent| check::grid(extent, &mut errors));
    let mut kernel = Kernel {
        root: Root::new(arguments.root.as_ref()),
        parameters: model::parameters(&function),
        function,
    };
    let specialize = arguments.specialize.take();
    let body = kernel.body(arguments, &mut errors);
    match errors.into_compile_errors() {
        Some(errors) => fallback::kernel(kernel, errors),
        None => {
            let (call, record) = (kernel.call(), kernel.record());
            kernel.items(call, kernel.definition(specialize), quote!(#record #body))
        }
    }
}

/// Expands `#[device]`.
pub fn device(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let arguments = Arguments::parse(Attribute::Device, arguments, &mut errors);
    let Some(mut function) = model::function("device", item.clone(), &mut errors) else {
        return fallback::item(item, errors);
    };
    check::function(Attribute::Device, &function, &mut errors);
    let root = Root::new(arguments.root.as_ref());
    let mut lowering = Lowering::new(&root, &mut errors, model::type_parameters(&function));
    let mut redeclared = Vec::new();
    for input in &mut function.sig.inputs {
        if let syn::FnArg::Typed(typed) = input {
            redeclared.extend(lowering.parameter(&mut typed.pat));
        }
    }
    let place = match &function.sig.output {
        syn::ReturnType::Default => Place::Statement,
        syn::ReturnType::Type(..) => Place::Value,
    };
    lowering.block(&mut function.block, place);
    match errors.into_compile_errors() {
        Some(errors) => fallback::device(function, errors),
        None => {
            let ItemFn { attrs, vis, sig, block } = function;
            let quiet = quiet();
            let body = if redeclared.is_empty() {
                block.to_token_stream()
            } else {
                quote!({ #(#redeclared)* #block })
            };
            quote!(#(#attrs)* #quiet #vis #sig #body)
        }
    }
}

/// Lints that see the lowered body instead of the author's. What the author can be told still is: rustc's own lints of
/// unused variables, say, point at the author's tokens.
fn quiet() -> TokenStream {
    quote!(#[allow(unused_mut, unused_parens, unused_braces, unreachable_code, clippy::all, clippy::pedantic)])
}

/// A kernel to expand.
pub struct Kernel {
    /// The author's function.
    pub function: ItemFn,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// Where the expansion finds what it refers to.
    pub root: Root,
}

impl Kernel {
    fn comptime(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters
            .iter()
            .filter(|parameter| parameter.kind == Kind::Comptime)
    }

    fn at_name(&self, name: &str) -> TokenStream {
        self.root.at(Span::call_site(), name)
    }

    /// The author's function, which now takes arguments and returns a call; and beside it, in the namespace of types,
    /// what the kernel is without arguments.
    pub fn items(&self, call: TokenStream, definition: TokenStream, functions: TokenStream) -> TokenStream {
        let ItemFn { attrs, vis, sig, .. } = &self.function;
        let name = &sig.ident;
        let (lints, attrs): (Vec<_>, Vec<_>) = attrs.iter().partition(|attr| is_lint(attr));
        let conditions: Vec<_> = attrs.iter().filter(|attr| attr.path().is_ident("cfg")).collect();
        let (generics, where_clause) = (declared(&sig.generics), &sig.generics.where_clause);
        let (implementation, types, _) = sig.generics.split_for_impl();
        let marker = marker(&sig.generics);
        let call_type = self.at_name("Call");
        let parameters = self
            .parameters
            .iter()
            .map(|Parameter { name, ty, kind, .. }| match kind {
                Kind::Comptime => quote!(#name: #ty),
                Kind::Tensor | Kind::Value => {
                    let span = name.span();
                    let argument = self.root.at(span, "Argument");
                    let ty = with_lifetime(ty, "'parameter");
                    quote_spanned!(span=> #name: impl #argument<'call, #ty>)
                }
            });
        let values = self.comptime().map(|Parameter { name, ty, .. }| quote!(#name: #ty));
        let definition_type = self.at_name("Definition");
        let about = format!("The kernel [`{name}`](fn@{name}) without arguments.");
        quote! {
            #(#attrs)*
            #[allow(dead_code, clippy::too_many_arguments)]
            #vis fn #name<'call, 'parameter, #generics>(#(#parameters),*) -> #call_type<'call> #where_clause { #call }

            #(#conditions)*
            #[doc = #about]
            #[allow(dead_code, non_camel_case_types)]
            #vis struct #name #implementation #where_clause { marker: ::core::marker::PhantomData<#marker> }

            #(#conditions)*
            #(#lints)*
            #[allow(dead_code, non_camel_case_types)]
            impl #implementation #name #types #where_clause {
                /// The kernel's definition, to be traced.
                #[allow(unused_variables, clippy::all, clippy::pedantic)]
                #vis fn definition(#(#values),*) -> #definition_type { #definition }
                #functions
            }
        }
    }

    fn call(&self) -> TokenStream {
        let [arguments_type, argument, call] = ["Arguments", "Argument", "Call"].map(|name| self.at_name(name));
        let name = &self.function.sig.ident;
        let generics = self.function.sig.generics.split_for_impl().1;
        let generics = generics.as_turbofish();
        let arguments = Ident::new("arguments", Span::mixed_site());
        let lent = self
            .parameters
            .iter()
            .filter(|parameter| parameter.kind != Kind::Comptime)
            .map(|parameter| &parameter.name);
        let values = self.comptime().map(|parameter| &parameter.name);
        quote! {
            let mut #arguments = #arguments_type::new();
            #(#argument::pass(#lent, &mut #arguments);)*
            #call::new(#name #generics::definition(#(#values),*), #arguments)
        }
    }

    fn definition(&self, specialize: Option<Choice>) -> TokenStream {
        let definition = self.at_name("Definition");
        let name = &self.function.sig.ident;
        let text = unraw(name);
        // `file!` and `line!` of the author's name, not of the attribute.
        let place = quote_spanned!(name.span()=> ::core::file!(), ::core::line!());
        let values = self.comptime().map(|parameter| {
            let (name, comptime) = (&parameter.name, self.root.at(first(&parameter.ty), "Comptime"));
            quote_spanned!(first(&parameter.ty)=> #comptime::into_value(#name))
        });
        let specialized = specialize.map(|Choice { variant, span }| {
            let (specialize, variant) = (self.at_name("Specialize"), Ident::new(variant, span));
            quote!(.specialized(#specialize::#variant))
        });
        quote!(#definition::new::<Self>(#text, #place, &[#(#values),*], Self::__record) #specialized)
    }

    /// Declares the parameters and runs the body with them.
    fn record(&self) -> TokenStream {
        let value = self.at_name("ComptimeValue");
        let values = Ident::new("values", Span::mixed_site());
        let keys: Vec<_> = (0..self.comptime().count())
            .map(|i| format_ident!("key_{i}", span = Span::mixed_site()))
            .collect();
        let decoded = self.comptime().zip(&keys).map(|(Parameter { name, ty, .. }, key)| {
            let comptime = self.root.at(first(ty), "Comptime");
            quote_spanned!(first(ty)=> let #name = <#ty as #comptime>::from_value(*#key);)
        });
        let declared = self.parameters.iter().filter(|parameter| parameter.kind != Kind::Comptime).map(|parameter| {
            let Parameter { name, ty, .. } = parameter;
            let (text, trait_) = (unraw(name), self.root.at(first(ty), "Parameter"));
            quote_spanned!(first(ty)=> let mut #name = <#ty as #trait_<'_>>::declare(::std::string::String::from(#text));)
        });
        let lent = self
            .parameters
            .iter()
            .map(|Parameter { name, ty, kind, .. }| match kind {
                Kind::Comptime => name.to_token_stream(),
                Kind::Tensor | Kind::Value => {
                    let trait_ = self.root.at(first(ty), "Parameter");
                    quote_spanned!(first(ty)=> <#ty as #trait_<'_>>::lend(&mut #name))
                }
            });
        let quiet = quiet();
        quote! {
            #quiet
            fn __record(#values: &[#value]) {
                let [#(#keys),*] = #values else { return };
                #(#decoded)*
                #(#declared)*
                Self::__body(#(#lent),*);
            }
        }
    }

    /// The author's body over the types that it sees.
    fn body(&mut self, arguments: Arguments, errors: &mut Errors) -> TokenStream {
        let mut block = std::mem::replace(&mut self.function.block, syn::parse_quote!({}));
        let mut lowering = Lowering::new(&self.root, errors, model::type_parameters(&self.function));
        let [set_grid, set_bounds, policy] = ["set_grid", "set_bounds", "Bounds"].map(|name| self.at_name(name));
        let denied = [
            (arguments.deny_guarded, "deny_guarded"),
            (arguments.deny_narrow, "deny_narrow"),
        ];
        let denied = denied.into_iter().filter(|(is_denied, _)| *is_denied).map(|(_, name)| {
            let deny = self.at_name(name);
            quote!(#deny();)
        });
        let denied: TokenStream = denied.collect();
        let bounds = arguments.bounds.map(|bounds| {
            let variant = Ident::new(bounds.variant, bounds.span);
            quote!(#set_bounds(#policy::#variant);)
        });
        let grid = arguments.grid.into_iter().map(|mut extent| {
            let grid_extent = self.root.at(first(&extent), "grid_extent");
            lowering.visit_expr_mut(&mut extent);
            quote!(#grid_extent(#extent))
        });
        let grid: Vec<_> = grid.collect();
        let mut redeclared = Vec::new();
        let mut parameters = Vec::new();
        for Parameter {
            name,
            ty,
            kind,
            mutable,
            attrs,
        } in &self.parameters
        {
            let seen = match kind {
                Kind::Comptime | Kind::Tensor => ty.to_token_stream(),
                Kind::Value => {
                    let trait_ = self.root.at(first(ty), "Parameter");
                    quote_spanned!(first(ty)=> <#ty as #trait_<'_>>::Staged)
                }
            };
            parameters.push(quote!(#(#attrs)* #name: #seen));
            redeclared.extend(mutable.map(|_| lowering.redeclare(name)));
        }
        lowering.block(&mut block, Place::Statement);
        let quiet = quiet();
        quote! {
            #quiet
            fn __body(#(#parameters),*) {
                #bounds
                #denied
                #set_grid([#(#grid),*]);
                #(#redeclared)*
                #block
            }
        }
    }
}

/// Whether an attribute is about the body rather than the function.
fn is_lint(attr: &SynAttribute) -> bool {
    ["allow", "expect", "warn", "deny", "forbid"]
        .iter()
        .any(|level| attr.path().is_ident(level))
}

fn unraw(name: &Ident) -> String {
    use syn::ext::IdentExt;
    name.unraw().to_string()
}

/// The generic parameters of a function, to stand after its lifetimes.
fn declared(generics: &Generics) -> TokenStream {
    let parameters = &generics.params;
    quote!(#parameters)
}

/// A type that uses all type parameters.
fn marker(generics: &Generics) -> TokenStream {
    let used = generics.params.iter().filter_map(|parameter| match parameter {
        GenericParam::Type(parameter) => Some(parameter.ident.to_token_stream()),
        GenericParam::Lifetime(parameter) => {
            let lifetime = &parameter.lifetime;
            Some(quote!(&#lifetime ()))
        }
        GenericParam::Const(_) => None,
    });
    quote!(fn() -> (#(#used,)*))
}

/// The type with its elided lifetimes named.
fn with_lifetime(ty: &Type, name: &str) -> Type {
    struct Named<'a>(&'a str);
    impl VisitMut for Named<'_> {
        fn visit_type_reference_mut(&mut self, reference: &mut syn::TypeReference) {
            let span = reference.and_token.span;
            reference.lifetime.get_or_insert_with(|| Lifetime::new(self.0, span));
            visit_mut::visit_type_reference_mut(self, reference);
        }
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident == "_" {
                *lifetime = Lifetime::new(self.0, lifetime.span());
            }
        }
    }
    let mut ty = ty.clone();
    Named(name).visit_type_mut(&mut ty);
    ty
}
