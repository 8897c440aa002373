//! Printing from kernels.

use super::recorder;
use super::tile::Tile;
use crate::element::Element;
use crate::ir::{Expression, Handle, Span, Statement};

/// Prints a line from every program that comes here: `format`, in which each `{}` stands for a scalar of `values`, which is a
/// tuple of up to four.
///
/// On the CPU device the lines go to the standard output. On a GPU the driver prints them there when the device is
/// synchronised, and writes floats in its own way; a kernel that prints a lot loses lines. It is for looking into a kernel,
/// and slow.
///
/// ```
/// use tilewright_dsl::{kernel, lang::*};
///
/// #[kernel(grid = [index.extent(0)])]
/// fn look(index: &Tensor<i32, 1>) {
///     let row = program_id(0);
///     device_print("row {} comes from {}", (row, index.load([row])));
/// }
/// # use tilewright_dsl::{call::*, interpret::{self, HostArgument, HostMemory, Options}};
/// # use std::sync::Mutex;
/// # static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// # let request = TraceRequest { parameters: vec![ParameterFacts::Tensor(TensorFacts::contiguous(&[1]))] };
/// # let kernel = look::definition().trace(&request).unwrap().kernel;
/// # let index = HostMemory::from_bytes(&(-7i32).to_le_bytes()).unwrap();
/// # let options = Options { print: |line| LINES.lock().unwrap().push(line.to_owned()), ..Options::default() };
/// # interpret::run(&kernel, &[HostArgument::contiguous(&index, &[1])], &options).unwrap();
/// # assert_eq!(*LINES.lock().unwrap(), ["row 0 comes from -7"]);
/// ```
#[track_caller]
pub fn device_print(format: &str, values: impl PrintValues) {
    let span = Span::here();
    let values = values.handles();
    recorder::with((), |r| {
        let places = format.matches("{}").count();
        if places != values.len() {
            let message = format!("`device_print` of {} values with {places} places", values.len());
            r.fail(span, message, Some("write one `{}` for each value"));
            return;
        }
        let format = format.to_owned();
        r.push(Statement::Print { format, values }, span);
    });
}

/// A scalar that can be printed: a number or bool.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be printed",
    note = "scalars of numbers and bools are printed; of a tile, print what the kernel makes of it"
)]
pub trait PrintValue {
    #[doc(hidden)]
    fn handle(self) -> Handle<Expression>;
}

#[diagnostic::do_not_recommend]
impl<T: Printable> PrintValue for Tile<T, 0> {
    fn handle(self) -> Handle<Expression> {
        self.handle
    }
}

/// An element type that can be printed: a number or bool.
pub trait Printable: Element {}

impl Printable for bool {}
impl Printable for i8 {}
impl Printable for i16 {}
impl Printable for i32 {}
impl Printable for i64 {}
impl Printable for u8 {}
impl Printable for u16 {}
impl Printable for u32 {}
impl Printable for u64 {}
impl Printable for half::f16 {}
impl Printable for half::bf16 {}
impl Printable for f32 {}
impl Printable for f64 {}

/// What a line shows: a tuple of up to four scalars.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be printed",
    note = "write a tuple of scalars: `(row,)`, `(row, value)`, or `()` for a line without values"
)]
pub trait PrintValues {
    #[doc(hidden)]
    fn handles(self) -> Vec<Handle<Expression>>;
}

macro_rules! tuples {
    ($(($($name:ident),*))*) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($name: PrintValue),*> PrintValues for ($($name,)*) {
            #[allow(non_snake_case)]
            fn handles(self) -> Vec<Handle<Expression>> {
                let ($($name,)*) = self;
                vec![$($name.handle()),*]
            }
        }
    )*};
}
tuples! { () (A) (A, B) (A, B, C) (A, B, C, D) }
