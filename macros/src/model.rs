//! A kernel's function with its parameters sorted by kind.

use proc_macro2::TokenStream;
use syn::{Attribute, FnArg, GenericParam, Ident, ItemFn, Pat, Token, Type};

use crate::span::Errors;

/// A parameter whose pattern is a name.
pub struct Parameter {
    /// The author's name for it.
    pub name: Ident,
    /// Whether the body may change it.
    pub mutable: Option<Token![mut]>,
    /// The author's type for it.
    pub ty: Type,
    /// What kind of parameter it is.
    pub kind: Kind,
    /// The author's attributes, less `#[comptime]`.
    pub attrs: Vec<Attribute>,
}

/// What a parameter is to the body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A plain value, known while recording.
    Comptime,
    /// A tensor or an array of tensors: the body sees the author's type.
    Tensor,
    /// A count or number: the body sees a scalar.
    Value,
}

/// Parses the function below an attribute.
pub fn function(attribute: &str, item: TokenStream, errors: &mut Errors) -> Option<ItemFn> {
    match syn::parse2::<syn::Item>(item) {
        Ok(syn::Item::Fn(function)) => Some(function),
        Ok(other) => {
            errors.push(
                first_line(&other),
                format!("`#[{attribute}]` belongs on a function: `fn name(...) {{ ... }}`"),
            );
            None
        }
        Err(error) => {
            errors.add(error);
            None
        }
    }
}

/// The token that says what an item is.
fn first_line(item: &syn::Item) -> TokenStream {
    use quote::ToTokens;
    match item {
        syn::Item::Struct(item) => item.struct_token.to_token_stream(),
        syn::Item::Enum(item) => item.enum_token.to_token_stream(),
        syn::Item::Mod(item) => item.mod_token.to_token_stream(),
        syn::Item::Impl(item) => item.impl_token.to_token_stream(),
        syn::Item::Trait(item) => item.trait_token.to_token_stream(),
        other => other.to_token_stream(),
    }
}

/// The parameters whose patterns are names; the others are reported by the check of signatures.
pub fn parameters(function: &ItemFn) -> Vec<Parameter> {
    let typed = function.sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) => Some(typed),
        FnArg::Receiver(_) => None,
    });
    typed
        .filter_map(|typed| {
            let Pat::Ident(pattern) = &*typed.pat else { return None };
            let (comptime, attrs): (Vec<_>, Vec<_>) = typed
                .attrs
                .iter()
                .cloned()
                .partition(|attr| attr.path().is_ident("comptime"));
            let kind = match &*typed.ty {
                _ if !comptime.is_empty() => Kind::Comptime,
                ty if is_tensor(ty) => Kind::Tensor,
                _ => Kind::Value,
            };
            Some(Parameter {
                name: pattern.ident.clone(),
                mutable: pattern.mutability,
                ty: (*typed.ty).clone(),
                kind,
                attrs,
            })
        })
        .collect()
}

/// A reference or an array of references: what the body sees is what the author wrote.
pub fn is_tensor(ty: &Type) -> bool {
    match ty {
        Type::Reference(_) => true,
        Type::Array(array) => is_tensor(&array.elem),
        Type::Paren(paren) => is_tensor(&paren.elem),
        Type::Group(group) => is_tensor(&group.elem),
        _ => false,
    }
}

/// The names of a function's type parameters.
pub fn type_parameters(function: &ItemFn) -> Vec<String> {
    let parameters = function.sig.generics.params.iter();
    parameters
        .filter_map(|parameter| match parameter {
            GenericParam::Type(parameter) => Some(parameter.ident.to_string()),
            GenericParam::Lifetime(_) | GenericParam::Const(_) => None,
        })
        .collect()
}
