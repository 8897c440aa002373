//! What the bodies of kernels record: each construct of Rust, and the statements it becomes.

use tilewright_dsl::call::{
    Argument, ArgumentValue, Arguments, CountArgument, Definition, Exact, ParameterFacts, Runtime, TensorFacts,
    TraceRequest, Traced,
};
use tilewright_dsl::ir::{Block, Expression, Kernel, Statement};
use tilewright_dsl::lang::*;
use tilewright_dsl::{device, kernel};

/// Traces a kernel for tensors of the given extents, `None` standing for a parameter that is no tensor.
fn trace(definition: &Definition, parameters: &[Option<&[u64]>]) -> Traced {
    let facts = parameters.iter().map(|extents| match extents {
        Some(extents) => ParameterFacts::Tensor(TensorFacts::contiguous(extents)),
        None => ParameterFacts::Value,
    });
    let request = TraceRequest {
        parameters: facts.collect(),
    };
    definition.trace(&request).unwrap_or_else(|error| panic!("{error}"))
}

/// The statements that a kernel records, as words: loads, stores, assignments and control flow, but not arithmetic.
fn outline(kernel: &Kernel) -> String {
    fn block(kernel: &Kernel, statements: &Block, words: &mut Vec<String>) {
        for (statement, _) in statements {
            match statement {
                Statement::Let(value) => match kernel.expressions.get(*value) {
                    Some(Expression::Load(_)) => words.push("load".into()),
                    Some(Expression::Compare { op, .. }) => words.push(op.symbol().into()),
                    _ => {}
                },
                Statement::Store { .. } => words.push("store".into()),
                Statement::Check { kind, .. } => words.push(kind.name().into()),
                Statement::Print { .. } => words.push("print".into()),
                Statement::Prefetch(_) => words.push("prefetch".into()),
                Statement::GridDependency(dependency) => words.push(dependency.name().into()),
                Statement::Assign { local, .. } => {
                    words.push(format!(
                        "{} =",
                        kernel.locals.get(*local).map_or("?", |local| &local.name)
                    ));
                }
                Statement::If { accept, reject, .. } => {
                    words.push("if {".into());
                    block(kernel, accept, words);
                    if !reject.is_empty() {
                        words.push("} else {".into());
                        block(kernel, reject, words);
                    }
                    words.push("}".into());
                }
                Statement::While { header, body, .. } => {
                    words.push("while (".into());
                    block(kernel, header, words);
                    words.push(") {".into());
                    block(kernel, body, words);
                    words.push("}".into());
                }
                Statement::For { body, step, .. } => {
                    words.push(format!("for {step} {{"));
                    block(kernel, body, words);
                    words.push("}".into());
                }
                Statement::Break => words.push("break".into()),
                Statement::Continue => words.push("continue".into()),
                Statement::Return => words.push("return".into()),
            }
        }
    }
    let mut words = Vec::new();
    block(kernel, &kernel.body, &mut words);
    words.join(" ")
}

fn line_of(definition: &Definition, extents: &[Option<&[u64]>], wanted: impl Fn(&Statement) -> bool) -> u32 {
    let mut found = 0;
    trace(definition, extents).kernel.body.walk(&mut |statement, span| {
        if wanted(statement) {
            found = span.line;
        }
    });
    found
}

/// out[i] = src[index[i]].
#[kernel(grid = [out.extent(0)])]
pub fn gather_rows<T: Element>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>, index: &Tensor<i32, 1>) {
    let row = program_id(0);
    let from = index.load([row]);
    let cols = arange(src.extent(1));
    out.store([row, cols], src.load([from, cols]));
}

#[test]
fn straight_line_code_is_recorded_in_order() {
    let definition = gather_rows::<f32>::definition();
    let shapes: [Option<&[u64]>; 3] = [Some(&[8, 32]), Some(&[100, 32]), Some(&[8])];
    let traced = trace(&definition, &shapes);
    assert_eq!(outline(&traced.kernel), "load load store");
    assert_eq!(traced.kernel.name, "gather_rows");
    let names: Vec<_> = traced
        .kernel
        .parameters
        .iter()
        .map(|parameter| parameter.name.as_str())
        .collect();
    assert_eq!(names, ["out", "src", "index"]);
    assert_eq!(traced.kernel.grid.len(), 1);
    let (file, line) = definition.location();
    assert!(file.ends_with("staging.rs"), "{file}");
    assert_eq!(
        line + 4,
        line_of(&definition, &shapes, |s| matches!(s, Statement::Store { .. }))
    );
}

#[test]
fn generic_arguments_tell_definitions_apart() {
    assert!(
        gather_rows::<f32>::definition()
            .identity()
            .ne(gather_rows::<i32>::definition().identity())
    );
    assert!(
        gather_rows::<f32>::definition()
            .identity()
            .eq(gather_rows::<f32>::definition().identity())
    );
}

#[kernel(grid = [n], bounds = "clamp")]
fn branches(out: &mut Tensor<f32, 1>, n: Count, scale: f32) {
    let i = program_id(0);
    let mut x = 1.0;
    if i == 0 {
        x = scale;
    } else if i < n - 1 {
        x += 2.0;
    } else {
        x *= scale + 1.0;
    }
    out.store([i], x);
}

#[test]
fn a_conditional_on_a_scalar_is_recorded_with_both_branches() {
    let traced = trace(&branches::definition(), &[Some(&[4]), None, None]);
    assert_eq!(
        outline(&traced.kernel),
        "x = == if { x = } else { < if { x = } else { x = } } store"
    );
}

#[kernel(grid = [1])]
fn chosen(out: &mut Tensor<f32, 1>, x: f32) {
    let i = program_id(0);
    let sign = if x < 0.0 { -1.0f32 } else { 1.0 };
    let y = if x > 2.0 { x } else { 2.0 };
    let (low, high) = if x == y { (x, y) } else { (y, x) };
    let width = if i > 3 { 4usize } else { 8 };
    let far = 2;
    let i = (i + far).max(1);
    out.store([i + width], sign * y + low - high);
}

#[test]
fn a_conditional_has_the_value_of_its_branches() {
    let traced = trace(&chosen::definition(), &[Some(&[4]), None]);
    assert_eq!(
        outline(&traced.kernel),
        "< if { if = } else { if = } > if { if = } else { if = } == if { if = if = } else { if = if = } > if { if = } else { if = } store"
    );
}

#[kernel(grid = [1])]
fn compile_time<const N: usize>(out: &mut Tensor<i32, 1>, #[comptime] wide: bool, #[comptime] limit: usize) {
    let step = if wide { 4 } else { 2 };
    let mut n: usize = 0;
    while n < limit {
        if n % 2 == 1 {
            n += 1;
            continue;
        }
        out.store([n], step);
        n += 1;
    }
    for i in 0..N {
        if i == 2 {
            break;
        }
        out.store([i], step as i32);
    }
    let kind = match N {
        0 => return,
        1 => 10,
        _ => 20,
    };
    out.store([0], kind);
}

#[test]
fn control_flow_over_compile_time_values_runs_while_recording() {
    let traced = trace(&compile_time::<7>::definition(true, 5), &[Some(&[4])]);
    assert_eq!(outline(&traced.kernel), "store store store store store store");
    let traced = trace(&compile_time::<1>::definition(true, 0), &[Some(&[4])]);
    assert_eq!(outline(&traced.kernel), "store store");
    let traced = trace(&compile_time::<0>::definition(true, 1), &[Some(&[4])]);
    assert_eq!(outline(&traced.kernel), "store return");
    assert!(
        compile_time::<0>::definition(true, 1)
            .identity()
            .ne(compile_time::<0>::definition(true, 2).identity())
    );
}

#[kernel(grid = [1])]
fn loops(out: &mut Tensor<i64, 1>, n: Count, limit: i64) {
    let mut total: i64 = 0;
    for i in 0..n {
        if i == limit {
            break;
        }
        if i % 2 == 0 {
            continue;
        }
        total += i;
    }
    for i in (0..n).rev().step_by(4) {
        total -= i;
    }
    for _ in 0..3 {
        total *= 2;
    }
    while total > 10 {
        total /= 2;
    }
    loop {
        total += 1;
        if total > limit && total > 3 {
            break;
        }
    }
    out.store([0], total);
}

#[test]
fn loops_over_scalars_are_recorded() {
    let traced = trace(&loops::definition(), &[Some(&[4]), None, None]);
    assert_eq!(
        outline(&traced.kernel),
        "total = for 1 { == if { break } == if { continue } total = } for 4 { total = } total = total = total = \
         while ( > ) { total = } while ( ) { total = > > if { break } } store"
    );
}

#[kernel(grid = [n])]
fn early(out: &mut Tensor<f32, 1>, n: Count, x: f32) {
    let i = program_id(0);
    if i >= n {
        return;
    }
    let y = if x > 0.0 {
        x
    } else {
        out.store([i], 0.0);
        return;
    };
    for k in 0..n {
        let z = if k > 3 { continue } else { y };
        out.store([k], z);
    }
}

#[test]
fn a_branch_that_leaves_gives_no_value() {
    let traced = trace(&early::definition(), &[Some(&[4]), None, None]);
    assert_eq!(
        outline(&traced.kernel),
        ">= if { return } > if { if = } else { store return } for 1 { > if { continue } else { if = } store }"
    );
}

#[kernel(grid = [1])]
fn dead_by_compile_time(out: &mut Tensor<f32, 1>, n: Count, #[comptime] skip: bool) {
    for i in 0..n {
        let x = if skip { continue } else { 1.0f32 };
        out.store([i], x);
    }
}

#[test]
fn a_compile_time_branch_that_leaves_a_recorded_loop_leaves_it() {
    let traced = trace(&dead_by_compile_time::definition(true), &[Some(&[4]), None]);
    assert_eq!(outline(&traced.kernel), "for 1 { continue }");
    let traced = trace(&dead_by_compile_time::definition(false), &[Some(&[4]), None]);
    assert_eq!(outline(&traced.kernel), "for 1 { store }");
}

#[kernel(grid = [out.extent(0), 2])]
fn sum_of_parts<T, const N: usize>(out: &mut Tensor<T, 2>, parts: [&Tensor<T, 2>; N], weights: [f32; 2])
where
    T: Number,
{
    let row = program_id(0);
    let cols = arange(comptime(out.extent(1)));
    let mut sum: Tile<T, 1> = parts[0].load([row, cols]);
    for part in &parts[1..] {
        sum += part.load([row, cols]);
    }
    let _unused = weights[0] + weights[1];
    out.store([row, cols], sum);
}

#[test]
fn an_array_of_tensors_unrolls() {
    let shape: Option<&[u64]> = Some(&[4, 16]);
    let traced = trace(
        &sum_of_parts::<f32, 3>::definition(),
        &[shape, shape, shape, shape, None, None],
    );
    assert_eq!(outline(&traced.kernel), "load sum = load sum = load sum = store");
    assert_eq!(traced.kernel.parameters[2].name, "parts[1]");
    assert_eq!(traced.kernel.grid.len(), 2);
}

#[kernel(grid = [1])]
fn as_many_as_bits(out: &mut Tensor<i64, 1>) {
    // In i32, not in i64: 31 leading zeros of 1.
    let steps = comptime((out.extent(0).cast::<i32>().leading_zeros() - 26).cast::<i64>());
    for step in 0..steps {
        out.store([step], 0);
    }
}

#[test]
fn an_extent_is_computed_in_the_type_that_it_is_written_in() {
    let traced = trace(&as_many_as_bits::definition(), &[Some(&[1])]);
    assert_eq!(outline(&traced.kernel), "store store store store store");
}

#[kernel(grid = [1])]
fn compares_storage(out: &mut Tensor<bool, 1>, x: &Tensor<float8::F8E4M3, 1>) {
    let i = arange(x.extent(0));
    out.store([i], x.load([i]) == x.load([i]));
}

#[test]
fn eight_bit_floats_are_compared_after_a_cast() {
    let facts = [TensorFacts::contiguous(&[4]), TensorFacts::contiguous(&[4])];
    let request = TraceRequest {
        parameters: facts.map(ParameterFacts::Tensor).into(),
    };
    let error = compares_storage::definition().trace(&request).unwrap_err();
    assert_eq!(error.message, "`==` is not defined on f8e4m3");
    assert_eq!(error.advice.as_deref(), Some("cast first: `.cast::<f32>()`"));
}

#[device]
fn relu(x: Scalar<f32>, mut slope: Scalar<f32>) -> Scalar<f32> {
    slope *= 2.0;
    if x < 0.0 { x * slope } else { x }
}

#[device]
fn store_all(out: &mut Tensor<f32, 1>, values: [Scalar<f32>; 2], from: usize) {
    for (i, value) in values.into_iter().enumerate() {
        out.store([from + i], value);
    }
}

#[kernel(grid = [1])]
fn helped(out: &mut Tensor<f32, 1>, x: f32, mut y: f32) {
    y += 1.0;
    let f = |mut a: Scalar<f32>, b: Scalar<f32>| {
        a += b;
        relu(a, b)
    };
    let values = [f(x, y), relu(y, x)];
    store_all(out, values, 3);
}

#[test]
fn device_functions_and_closures_are_recorded_where_they_are_called() {
    let traced = trace(&helped::definition(), &[Some(&[8]), None, None]);
    let relu = "slope = < if { if = } else { if = }";
    assert_eq!(
        outline(&traced.kernel),
        format!("y = y = a = a = slope = {relu} slope = {relu} store store")
    );
}

#[kernel(grid = [1])]
fn tuples(out: &mut Tensor<i32, 1>, n: Count) {
    let (mut a, mut b) = (0, 1);
    let (c, mut d) = (5i32, 6i64);
    for _ in 0..n {
        (a, b) = (b, a + b);
    }
    d += 1;
    let mut x = a;
    {
        let x = x + c;
        out.store([0], x);
    }
    x = b;
    out.store([d], x);
}

#[test]
fn tuple_patterns_declare_and_assign_variables() {
    let traced = trace(&tuples::definition(), &[Some(&[8]), None]);
    assert_eq!(
        outline(&traced.kernel),
        "a = b = d = for 1 { a = b = } d = x = store x = store"
    );
}

#[kernel(grid = [1])]
fn optional(out: &mut Tensor<f32, 1>, #[comptime] scale: f32, x: f32) {
    let factor = (scale > 0.0).then_some(scale);
    let scaled = if let Some(factor) = factor { x * factor } else { x };
    let mut left: usize = 4;
    while let Some(next) = left.checked_sub(1) {
        left = next;
        if left == 1 {
            break;
        }
        out.store([left], scaled);
    }
}

#[test]
fn patterns_over_compile_time_values_are_plain_rust() {
    let traced = trace(&optional::definition(2.0), &[Some(&[4]), None]);
    assert_eq!(outline(&traced.kernel), "store store");
}

/// What a runtime's tensors would be: here, only a number that tells them apart.
struct Buffer(i64);

impl<'a, T: Element, const R: usize> Argument<'a, &Tensor<T, R>> for &'a Buffer {
    fn pass(self, arguments: &mut Arguments<'a>) {
        Argument::<Count>::pass(CountArgument::Exact(self.0), arguments);
    }
}

impl<'a, T: Element, const R: usize> Argument<'a, &mut Tensor<T, R>> for &'a mut Buffer {
    fn pass(self, arguments: &mut Arguments<'a>) {
        Argument::<Count>::pass(CountArgument::Runtime(self.0), arguments);
    }
}

mod library {
    use super::*;

    /// A kernel in a module, with every kind of parameter.
    #[kernel(grid = [cdiv(n, 4), N], bounds = "trap", crate = tilewright_dsl)]
    pub(super) fn scaled<T, const N: usize>(
        out: &mut Tensor<T, 2>,
        parts: [&Tensor<T, 2>; N],
        #[comptime] flag: bool,
        n: Count,
        scale: f32,
    ) where
        T: Float,
    {
        let row = program_id(0);
        if flag && row < n {
            let cols = arange(out.extent(1));
            out.store(
                [row, cols],
                (parts[N - 1].load([row, cols]).cast::<f32>() * scale).cast::<T>(),
            );
        }
    }
}

#[test]
fn a_call_has_the_arguments_in_order() {
    let (mut out, a, b) = (Buffer(1), Buffer(2), Buffer(3));
    let call = library::scaled::<f32, 2>(&mut out, [&a, &b], true, Exact(4), 0.5);
    let words = call.arguments().iter().map(|argument| match argument {
        ArgumentValue::Count(CountArgument::Exact(n)) => format!("exact {n}"),
        ArgumentValue::Count(CountArgument::Runtime(n)) => format!("runtime {n}"),
        ArgumentValue::Scalar(_) => "scalar".into(),
        _ => "other".into(),
    });
    assert_eq!(
        words.collect::<Vec<_>>(),
        ["runtime 1", "exact 2", "exact 3", "exact 4", "scalar"]
    );
    assert!(
        call.definition()
            .identity()
            .eq(library::scaled::<f32, 2>::definition(true).identity())
    );

    // The element type and the number of parts follow from the arguments, where these have them.
    let _ = library::scaled::<f32, 1>(&mut out, [&a], false, Runtime(7), 1.0);
}
