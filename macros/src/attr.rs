//! The keys of the attributes.

use proc_macro2::{Span, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, Ident, Path, Token};

use crate::span::Errors;

/// `#[kernel(...)]` or `#[device(...)]`.
#[derive(Default)]
pub struct Arguments {
    /// The extents of the grid.
    pub grid: Vec<Expr>,
    /// The policy of accesses out of bounds.
    pub bounds: Option<Choice>,
    /// Which variant serves launches that do not say so themselves.
    pub specialize: Option<Choice>,
    /// Whether no bounds check may be left in a launch.
    pub deny_guarded: bool,
    /// Whether no access may be narrow in a launch.
    pub deny_narrow: bool,
    /// Where Tilewright is found.
    pub root: Option<Path>,
    has_grid: bool,
}

/// One of several words, as in `bounds = "..."`.
pub struct Choice {
    /// The variant of the key's type.
    pub variant: &'static str,
    /// The author's value.
    pub span: Span,
}

const KERNEL_EXAMPLE: &str = "`#[kernel(grid = [out.extent(0)])]`";

/// A key whose value is one of several words.
struct Words {
    /// The key and its words, as an error writes them.
    advice: &'static str,
    /// What the key says.
    subject: &'static str,
    /// What a word of it is.
    word: &'static str,
    /// The words, and the variants that they stand for.
    variants: [(&'static str, &'static str); 3],
}

const BOUNDS: Words = Words {
    advice: "write `bounds = \"zero\"`, `\"clamp\"` or `\"trap\"`",
    subject: "the policy for indices out of bounds",
    word: "policy",
    variants: [("zero", "ReadZeroSkipWrite"), ("clamp", "Clamp"), ("trap", "Trap")],
};

const SPECIALIZE: Words = Words {
    advice: "write `specialize = \"tiered\"`, `\"exact\"` or `\"resident\"`",
    subject: "which variant serves launches",
    word: "specialisation",
    variants: [("tiered", "Tiered"), ("exact", "Exact"), ("resident", "Resident")],
};

/// Which attribute is parsed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// `#[kernel]`
    Kernel,
    /// `#[device]`
    Device,
}

impl Arguments {
    /// Reads what stands in the attribute's parentheses. What is wrong is left out and added to `errors`.
    pub fn parse(attribute: Attribute, tokens: proc_macro2::TokenStream, errors: &mut Errors) -> Self {
        let mut arguments = Self::default();
        let mut seen = Vec::new();
        let parser = |input: ParseStream| arguments.parse_all(attribute, input, &mut seen, errors);
        if let Err(error) = parser.parse2(tokens) {
            errors.add(error);
            // What follows the mistake is unread.
            arguments.has_grid = true;
            return arguments;
        }
        arguments.has_grid = seen.iter().any(|key| key == "grid");
        arguments
    }

    /// Reports a kernel without a grid at its name, for the attribute may have no tokens to report it at.
    pub fn require_grid(&self, kernel: &Ident, errors: &mut Errors) {
        if !self.has_grid {
            errors.push(
                kernel,
                format!("the kernel has no grid: write how many programs run it, {KERNEL_EXAMPLE}"),
            );
        }
    }

    fn parse_all(
        &mut self,
        attribute: Attribute,
        input: ParseStream,
        seen: &mut Vec<Ident>,
        errors: &mut Errors,
    ) -> syn::Result<()> {
        while !input.is_empty() {
            let key = input.call(Ident::parse_any)?;
            let known = match attribute {
                Attribute::Kernel => ["grid", "bounds", "specialize", "deny_guarded", "deny_narrow", "crate"]
                    .iter()
                    .any(|name| key == name),
                Attribute::Device => key == "crate",
            };
            if !known {
                let valid = match attribute {
                    Attribute::Kernel => {
                        "the keys of `#[kernel]` are `grid`, `bounds`, `specialize`, `deny_guarded`, `deny_narrow` and `crate`"
                    }
                    Attribute::Device => "the only key of `#[device]` is `crate`",
                };
                errors.push(&key, format!("unknown key `{key}`: {valid}"));
                skip(input)?;
                continue;
            }
            if seen.contains(&key) {
                errors.push(&key, format!("`{key}` is given twice: remove one of them"));
                skip(input)?;
                continue;
            }
            // These have no value.
            let flag = match key.to_string().as_str() {
                "deny_guarded" => Some(&mut self.deny_guarded),
                "deny_narrow" => Some(&mut self.deny_narrow),
                _ => None,
            };
            if let Some(flag) = flag {
                *flag = true;
                if input.peek(Token![=]) {
                    errors.push(&key, format!("`{key}` has no value: write `{key}` alone"));
                    skip(input)?;
                    seen.push(key);
                    continue;
                }
                seen.push(key);
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
                continue;
            }
            input.parse::<Token![=]>()?;
            match key.to_string().as_str() {
                "grid" => self.grid = grid(input.parse()?, errors),
                "bounds" => self.bounds = choice(&BOUNDS, input.parse()?, errors),
                "specialize" => self.specialize = choice(&SPECIALIZE, input.parse()?, errors),
                _ => self.root = Some(input.call(Path::parse_mod_style)?),
            }
            seen.push(key);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    }
}

/// Passes over the value of a key that is already reported.
fn skip(input: ParseStream) -> syn::Result<()> {
    while !input.is_empty() {
        if input.parse::<Option<Token![,]>>()?.is_some() {
            break;
        }
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

fn grid(value: Expr, errors: &mut Errors) -> Vec<Expr> {
    match value {
        Expr::Array(array) if (1..=3).contains(&array.elems.len()) => array.elems.into_iter().collect(),
        Expr::Array(array) => {
            let message = format!("a grid has one to three axes, and this one has {}", array.elems.len());
            errors.push(array, message);
            Vec::new()
        }
        other => {
            errors.push(
                other,
                format!("the grid is a list with the number of programs on each axis: {KERNEL_EXAMPLE}"),
            );
            Vec::new()
        }
    }
}

fn choice(words: &Words, value: Expr, errors: &mut Errors) -> Option<Choice> {
    let Words {
        advice,
        subject,
        word,
        variants,
    } = words;
    let Expr::Lit(syn::ExprLit {
        lit: syn::Lit::Str(literal),
        ..
    }) = &value
    else {
        errors.push(&value, format!("{subject} is a string: {advice}"));
        return None;
    };
    let chosen = variants.iter().find(|(name, _)| literal.value() == *name);
    if chosen.is_none() {
        errors.push(literal, format!("unknown {word} \"{}\": {advice}", literal.value()));
    }
    chosen.map(|(_, variant)| Choice {
        variant,
        span: literal.span(),
    })
}
