//! The rules of the language that need no types. Every mistake is reported, on the author's own token.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Expr, ExprBreak, FnArg, GenericParam, ItemFn, Label, Pat, RangeLimits, Type};

use crate::attr::Attribute;
use crate::lower::takes_list;
use crate::model::is_tensor;
use crate::span::Errors;

/// The most `#[comptime]` parameters that a kernel can have.
const MAX_COMPTIME: usize = 8;

/// Methods of tensors that take a value and no mask.
const ATOMICS: [&str; 8] = [
    "atomic_add",
    "atomic_min",
    "atomic_max",
    "atomic_and",
    "atomic_or",
    "atomic_xor",
    "atomic_exchange",
    "atomic_store",
];

/// Checks a function's signature and body.
pub fn function(attribute: Attribute, function: &ItemFn, errors: &mut Errors) {
    match attribute {
        Attribute::Kernel => kernel_signature(function, errors),
        Attribute::Device => device_signature(function, errors),
    }
    Body {
        attribute,
        closures: 0,
        errors,
    }
    .visit_block(&function.block);
}

/// Checks an expression of a kernel's grid.
pub fn grid(expression: &Expr, errors: &mut Errors) {
    Body {
        attribute: Attribute::Kernel,
        closures: 0,
        errors,
    }
    .visit_expr(expression);
}

fn kernel_signature(function: &ItemFn, errors: &mut Errors) {
    let signature = &function.sig;
    if let Some(token) = &signature.constness {
        errors.push(token, "a kernel cannot be `const`: remove `const`");
    }
    if let Some(token) = &signature.asyncness {
        errors.push(
            token,
            "a kernel cannot be `async`: remove `async`, and wait where the kernel is launched",
        );
    }
    if let Some(token) = &signature.unsafety {
        errors.push(
            token,
            "a kernel cannot be `unsafe`: remove `unsafe`, and write `unsafe { ... }` around unchecked accesses",
        );
    }
    if let Some(abi) = &signature.abi {
        errors.push(
            abi,
            "a kernel cannot be `extern`: remove it; kernels are launched, not called",
        );
    }
    if let Some(variadic) = &signature.variadic {
        errors.push(
            variadic,
            "a kernel has a fixed number of parameters; take an array: `parts: [&Tensor<f32, 2>; N]`",
        );
    }
    if let syn::ReturnType::Type(_, ty) = &signature.output {
        errors.push(
            ty,
            "a kernel returns nothing: take a `&mut Tensor` parameter and store the result there",
        );
    }
    for parameter in &signature.generics.params {
        match parameter {
            GenericParam::Lifetime(lifetime) => {
                errors.push(
                    lifetime,
                    "a kernel needs no lifetimes: remove them and write `&Tensor<T, R>`",
                );
            }
            GenericParam::Type(parameter)
                if parameter.bounds.is_empty() && signature.generics.where_clause.is_none() =>
            {
                let name = &parameter.ident;
                errors.push(
                    name,
                    format!("a type parameter of a kernel is an element type: write `{name}: Element`"),
                );
            }
            GenericParam::Type(_) | GenericParam::Const(_) => {}
        }
    }
    let mut comptime = 0;
    for input in &signature.inputs {
        match input {
            FnArg::Receiver(receiver) => {
                errors.push(
                    receiver.self_token,
                    "a kernel has no `self`: move it out of the `impl`, and pass what it needs",
                );
            }
            FnArg::Typed(typed) => {
                let is_comptime = typed.attrs.iter().any(|attr| attr.path().is_ident("comptime"));
                comptime += usize::from(is_comptime);
                if is_comptime && comptime == MAX_COMPTIME + 1 {
                    let message =
                        format!("a kernel has at most {MAX_COMPTIME} `#[comptime]` parameters; use const generics");
                    errors.push(&typed.pat, message);
                }
                kernel_parameter(typed, is_comptime, errors);
            }
        }
    }
}

fn kernel_parameter(typed: &syn::PatType, comptime: bool, errors: &mut Errors) {
    for attr in typed.attrs.iter().filter(|attr| attr.path().is_ident("comptime")) {
        if !matches!(attr.meta, syn::Meta::Path(_)) {
            errors.push(attr, "`#[comptime]` takes no arguments");
        }
    }
    match &*typed.pat {
        Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
            mutable_tensor(pattern, &typed.ty, errors);
        }
        pattern => errors.push(
            pattern,
            "a kernel's parameter is a name: `rows: Count`; take it apart in the body",
        ),
    }
    match &*typed.ty {
        Type::ImplTrait(ty) => errors.push(
            ty,
            "a kernel's parameter needs a named type; write a generic: `T: Element`",
        ),
        ty if comptime && is_tensor(ty) => {
            errors.push(
                ty,
                "a `#[comptime]` parameter is a number or bool; remove `#[comptime]` to pass a tensor",
            );
        }
        ty if !comptime => kernel_type(ty, errors),
        _ => {}
    }
}

/// The types that newcomers try. Others that cannot be passed are rustc's to report.
fn kernel_type(ty: &Type, errors: &mut Errors) {
    let (path, mutable) = match ty {
        Type::Path(path) => (path, false),
        Type::Reference(reference) => match &*reference.elem {
            Type::Path(path) if reference.mutability.is_some() => (path, true),
            Type::Slice(_) => {
                let advice = "write `&TensorList<T, R>` to load from, `&mut TensorList<T, R>` to store to";
                return errors.push(ty, format!("a kernel takes any number of tensors as a list: {advice}"));
            }
            _ => return,
        },
        _ => return,
    };
    let Some(last) = path.path.segments.last() else { return };
    let message = match last.ident.to_string().as_str() {
        "Ragged" => "a kernel reads a ragged layout: write `&Ragged<I>`; to write starts, take a `&mut Tensor<I, 1>`",
        _ if mutable => return,
        "Tensor" => {
            "a kernel takes tensors by reference: `&Tensor<T, R>` to load from, `&mut Tensor<T, R>` to store to"
        }
        "TensorList" => {
            "a kernel takes lists by reference: `&TensorList<T, R>` to load from, `&mut TensorList<T, R>` to store to"
        }
        "PeerTensors" => {
            "a kernel takes peers' tensors by reference: `&PeerTensors<T, R>` to load from, `&mut PeerTensors<T, R>` to store to"
        }
        "Epoch" => {
            "a kernel takes an epoch by reference: `&mut Epoch`, which counts this launch, or `&Epoch` to read it"
        }
        "Scalar" | "Tile" => "a kernel takes plain numbers: write `f32` or `Count`; in the body, it is a scalar",
        "usize" | "isize" => {
            "write `Count` for a number known at launch, or `#[comptime] n: usize` for a compile-time one"
        }
        "String" | "Vec" => {
            "a kernel takes tensors, counts and numbers: `&Tensor<T, R>`, `&mut Tensor<T, R>`, `Count`, `f32`"
        }
        _ => return,
    };
    errors.push(ty, message);
}

fn mutable_tensor(pattern: &syn::PatIdent, ty: &Type, errors: &mut Errors) {
    if let (Some(token), true) = (&pattern.mutability, is_tensor(ty)) {
        let advice = "a parameter of reference type cannot be reassigned in a kernel: remove `mut`";
        errors.push(token, format!("{advice}; a `&mut Tensor` can be stored to without it"));
    }
}

fn device_signature(function: &ItemFn, errors: &mut Errors) {
    if let Some(token) = &function.sig.constness {
        errors.push(token, "a device function cannot be `const`: remove `const`");
    }
    if let Some(token) = &function.sig.asyncness {
        errors.push(token, "a device function cannot be `async`: remove `async`");
    }
    for input in &function.sig.inputs {
        if let FnArg::Typed(typed) = input {
            for attr in typed.attrs.iter().filter(|attr| attr.path().is_ident("comptime")) {
                errors.push(
                    attr,
                    "a device function needs no `#[comptime]`: a `usize` or `bool` parameter is a plain value",
                );
            }
            if let Pat::Ident(pattern) = &*typed.pat {
                mutable_tensor(pattern, &typed.ty, errors);
            }
        }
    }
}

struct Body<'a> {
    attribute: Attribute,
    closures: usize,
    errors: &'a mut Errors,
}

impl Body<'_> {
    fn label(&mut self, label: &Option<Label>) {
        if let Some(label) = label {
            self.lifetime(&label.name);
        }
    }

    fn lifetime(&mut self, name: &syn::Lifetime) {
        let advice =
            "move the inner loop to a `#[device]` function, or leave the loops with a flag: `let mut done = false;`";
        self.errors
            .push(name, format!("labels are not supported in kernels: {advice}"));
    }

    fn assignment(&mut self, target: &Expr) {
        if let Expr::Index(index) = target {
            let advice = "store to a tensor with `tensor.store([i], value)`, or choose between elements with `select`";
            self.errors.push(
                index,
                format!("elements cannot be assigned, because tiles are values: {advice}"),
            );
        }
    }

    /// The range at the head of a `for`.
    fn head(&mut self, head: &Expr) {
        match head {
            Expr::Paren(paren) => self.head(&paren.expr),
            Expr::MethodCall(call) if matches!(call.method.to_string().as_str(), "rev" | "step_by") => {
                self.head(&call.receiver)
            }
            Expr::Range(range) => match (&range.start, &range.end, &range.limits) {
                (_, _, RangeLimits::Closed(token)) => {
                    let message = "`..=` is not supported in the loops of a kernel: write `start..end + 1`, in a wider type \
                                   where that overflows";
                    self.errors.push(token, message);
                }
                (None, _, token) | (_, None, token) => {
                    let message =
                        "the range of a `for` needs both bounds: write `start..end`; for an endless loop, `loop`";
                    self.errors.push(token, message);
                }
                (Some(_), Some(_), RangeLimits::HalfOpen(_)) => {}
            },
            _ => {}
        }
    }

    /// The list of a method that takes one, and how many arguments follow it.
    fn method(&mut self, call: &syn::ExprMethodCall) {
        let name = call.method.to_string();
        if takes_list(&name) {
            self.list(call.args.first());
        }
        let advice = match (name.as_str(), call.args.len()) {
            ("load", 2) => "`load` has no mask: write `load_where(indices, mask)`",
            ("load" | "load_where", 3) => {
                "write `load_where(indices, mask)`, which is zero elsewhere, or `select(mask, loaded, other)`"
            }
            ("store", 3) => "`store` has no mask: write `store_where(indices, value, mask)`",
            ("scatter", 4) => "`scatter` has no mask: write `scatter_where(indices, value, mask, conflict)`",
            ("reshape" | "broadcast_to", 2..) => "the extents are a list: write `[rows, cols]`",
            (atomic, 3) if ATOMICS.contains(&atomic) => {
                let advice = format!("write `{atomic}_with(indices, value, AtomicOptions::new().mask(mask))`");
                return self
                    .errors
                    .push(&call.method, format!("`{atomic}` has no mask: {advice}"));
            }
            _ => return,
        };
        self.errors.push(&call.method, advice);
    }

    fn call(&mut self, call: &syn::ExprCall) {
        if crate::lower::is_full(&call.func) {
            self.list(call.args.first());
        }
        let Expr::Path(path) = &*call.func else { return };
        let Some(name) = path.path.get_ident().map(ToString::to_string) else {
            return;
        };
        let advice = match (name.as_str(), call.args.len()) {
            ("arange", 2..) => "write `arange(n)` for the first `n` integers, `arange(n) + start` for others",
            ("device_assert" | "static_assert", 1) => {
                "write what is wrong where the condition does not hold, as a second argument: `\"out of range\"`"
            }
            ("program_id" | "num_programs", 0) => "write the axis of the grid: `0` for the first",
            _ => return,
        };
        self.errors
            .push(&call.func, format!("`{name}` is not called like this: {advice}"));
    }

    /// Macros that would run while the kernel is recorded, and look as if they ran with it.
    fn macro_call(&mut self, call: &syn::Macro) {
        let Some(name) = call.path.get_ident().map(ToString::to_string) else {
            return;
        };
        let advice = match name.as_str() {
            "println" | "print" | "eprintln" | "eprint" | "dbg" => {
                "print scalars with `device_print(\"row {}\", (row,))`"
            }
            "assert" | "assert_eq" | "assert_ne" | "debug_assert" | "debug_assert_eq" | "debug_assert_ne" => {
                "check with `device_assert(condition, \"why\")`, and what is known at compile time with `static_assert`"
            }
            "vec" => "a tile of equal elements is `full([n], 0.0)`, a list of compile-time values an array: `[1, 2]`",
            _ => return,
        };
        let message = format!("`{name}!` runs when the kernel is recorded, not when it runs: {advice}");
        self.errors.push(&call.path, message);
    }

    fn list(&mut self, argument: Option<&Expr>) {
        if let Some(Expr::Repeat(repeat)) = argument {
            self.errors.push(repeat, "write one index or extent per axis: `[i, j]`");
        }
    }
}

impl<'ast> Visit<'ast> for Body<'_> {
    // Items inside a body are plain Rust.
    fn visit_item(&mut self, _: &'ast syn::Item) {}

    fn visit_local(&mut self, local: &'ast syn::Local) {
        match &local.init {
            None => {
                let message = "a variable of a kernel needs its first value here: `let mut x = 0.0;` or `let x = if ... else ...;`";
                self.errors.push(&local.pat, message);
            }
            Some(syn::LocalInit {
                diverge: Some((token, _)),
                ..
            }) => {
                self.errors.push(
                    token,
                    "`let ... else` is not supported in kernels: use `if let` or `match`",
                );
            }
            Some(_) => {}
        }
        visit::visit_local(self, local);
    }

    fn visit_stmt_macro(&mut self, statement: &'ast syn::StmtMacro) {
        self.macro_call(&statement.mac);
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        match expression {
            Expr::Loop(it) => self.label(&it.label),
            Expr::Block(it) => self.label(&it.label),
            Expr::While(it) => self.label(&it.label),
            Expr::ForLoop(it) => {
                self.label(&it.label);
                self.head(&it.expr);
            }
            Expr::Break(ExprBreak { label, expr, .. }) => {
                label.iter().for_each(|label| self.lifetime(label));
                if let Some(value) = expr {
                    let advice = "assign it to a variable first: `let mut found = 0;` before the loop";
                    self.errors.push(
                        value,
                        format!("`break` with a value is not supported in kernels: {advice}"),
                    );
                }
            }
            Expr::Continue(it) => it.label.iter().for_each(|label| self.lifetime(label)),
            Expr::Return(it) => {
                if self.closures > 0 {
                    self.errors.push(
                        it.return_token,
                        "`return` is not supported in a closure: make the value its last expression",
                    );
                } else if self.attribute == Attribute::Device {
                    let advice = "make the value the last expression, and use `if`/`else`";
                    self.errors.push(
                        it.return_token,
                        format!("`return` is not supported in a device function: {advice}"),
                    );
                } else if let Some(value) = &it.expr {
                    self.errors.push(
                        value,
                        "a kernel returns nothing: store the value to a `&mut Tensor`, then write `return;`",
                    );
                }
            }
            Expr::Closure(it) => {
                self.closures += 1;
                visit::visit_expr_closure(self, it);
                self.closures -= 1;
                return;
            }
            Expr::Try(it) => self.errors.push(
                it.question_token,
                "`?` is not supported in kernels: nothing receives the error",
            ),
            Expr::Await(it) => self.errors.push(it.await_token, "`.await` is not supported in kernels"),
            Expr::Async(it) => self.errors.push(it.async_token, "`async` is not supported in kernels"),
            Expr::TryBlock(it) => self.errors.push(it.try_token, "`try` is not supported in kernels"),
            Expr::Yield(it) => self.errors.push(it.yield_token, "`yield` is not supported in kernels"),
            Expr::Assign(it) => self.assignment(&it.left),
            Expr::Binary(it) if crate::lower::compound(&it.op).is_some() => self.assignment(&it.left),
            Expr::MethodCall(it) => self.method(it),
            Expr::Call(it) => self.call(it),
            Expr::Macro(it) => self.macro_call(&it.mac),
            Expr::Verbatim(tokens) => {
                self.errors
                    .push_at(tokens.span(), "this syntax is not supported in kernels");
            }
            _ => {}
        }
        visit::visit_expr(self, expression);
    }
}
