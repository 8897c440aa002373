//! What is emitted beside errors: harmless items of the same names, so that the author sees the mistakes and not what
//! follows from them.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ItemFn;

use crate::expand::Kernel;
use crate::span::Errors;

/// The errors alone for what is no function: the item stays.
pub fn item(item: TokenStream, errors: Errors) -> TokenStream {
    let errors = errors.into_compile_errors();
    // An item that does not even parse would be reported a second time.
    let item = syn::parse2::<syn::Item>(item).ok();
    quote!(#errors #item)
}

/// The errors, and a kernel that can be called and does nothing.
pub fn kernel(mut kernel: Kernel, errors: TokenStream) -> TokenStream {
    let element = kernel.root.at(proc_macro2::Span::call_site(), "Element");
    for parameter in kernel
        .function
        .sig
        .generics
        .type_params_mut()
        .filter(|parameter| parameter.bounds.is_empty())
    {
        // Without it, every tensor of the parameter's type would be another error.
        parameter.bounds.push(syn::parse_quote!(#element));
    }
    let items = kernel.items(quote!(loop {}), quote!(loop {}), TokenStream::new());
    quote!(#errors #[allow(unused)] #items)
}

/// The errors, and a device function that can be called and does nothing.
pub fn device(function: ItemFn, errors: TokenStream) -> TokenStream {
    let ItemFn {
        attrs, vis, mut sig, ..
    } = function;
    (sig.constness, sig.asyncness) = (None, None);
    for input in &mut sig.inputs {
        if let syn::FnArg::Typed(typed) = input {
            typed.attrs.retain(|attr| !attr.path().is_ident("comptime"));
        }
    }
    quote!(#errors #(#attrs)* #[allow(unused)] #vis #sig { loop {} })
}
