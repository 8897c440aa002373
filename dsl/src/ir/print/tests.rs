use super::*;
use crate::element::ElementType;
use crate::ir::verify::build::Builder;
use crate::ir::{BinaryOp, Bounds, CompareOp, Guard};

fn gather(noise: bool) -> Kernel {
    let mut b = Builder::new("gather_rows");
    let out = b.tensor("out", ElementType::BF16, 2);
    let src = b.tensor("src", ElementType::BF16, 2);
    let index = b.tensor("index", ElementType::I32, 1);
    *b.tensor_mut(src) = super::super::TensorParameter {
        mutable: false,
        layout: Layout::Rows { multiple: 8 },
        alignment: 16,
        ..b.tensor_mut(src).clone()
    };
    if noise {
        b.span();
        b.append(Expression::Arange(3));
    }
    let row = b.program(0);
    let from = b.load(index, &[row]);
    let cols = b.arange(7168);
    let value = b.load(src, &[from, cols]);
    b.store(out, &[row, cols], value);
    let extent = b.extent(out, 0);
    b.finish(&[extent])
}

#[test]
fn a_kernel_prints_its_parameters_grid_and_body() {
    let expected = "\
kernel gather_rows(
    out: mut bf16[2] strided align 2,
    src: bf16[2] rows 8 align 16,
    index: mut i32[1] strided align 4,
)
grid [extent(out, 0)]
{
    %0 = load index[program(0)] guard zero(0: lower upper) : i32
    %1 = arange : i64[7168]
    %2 = load src[%0, %1] guard zero(0: lower upper, 1: lower upper) : bf16[7168]
    store out[program(0), %1] guard zero(0: lower upper, 1: lower upper) = %2
}
";
    assert_eq!(gather(false).to_string(), expected);
}

#[test]
fn the_text_depends_neither_on_positions_nor_on_what_is_unused() {
    assert_eq!(gather(false).to_string(), gather(true).to_string());
    assert_ne!(
        gather(false).to_string_with_spans(),
        gather(true).to_string_with_spans()
    );
    assert!(
        gather(false)
            .to_string_with_spans()
            .contains(": i32  // kernel.rs:2:5\n")
    );
}

#[test]
fn control_flow_is_indented_and_locals_have_names_of_their_own() {
    let mut b = Builder::new("flow");
    let n = b.count("n");
    let scale = b.scalar("scale", ElementType::F32);
    let (zero, nil) = (b.index(0), b.literal(0f32));
    let x = b.variable("x", zero);
    let other = b.variable("x", nil);
    b.while_loop(
        |b| {
            let now = b.read(x);
            b.compare(CompareOp::Less, now, n)
        },
        |b| {
            let condition = b.literal(true);
            b.if_else(condition, |b| b.push(Statement::Break), |b| b.assign(other, scale));
        },
    );
    b.for_loop(n, zero, -2, |b, i| b.assign(x, i));
    let (block, one) = (b.index(128), b.index(127));
    let raised = b.append(Expression::Binary {
        op: BinaryOp::Add,
        left: n,
        right: one,
    });
    let blocks = b.append(Expression::Binary {
        op: BinaryOp::Divide,
        left: raised,
        right: block,
    });
    let expected = "\
kernel flow(
    n: count,
    scale: f32,
)
let %grid.0 = add count(n), 127i64 : i64
let %grid.1 = div %grid.0, 128i64 : i64
grid [%grid.1, 128i64]
{
    x = 0i64
    x.1 = f32(0x00000000)
    while {
        %0 = read x : i64
        %1 = lt %0, count(n) : bool
    } %1 {
        if true {
            break
        } else {
            x.1 = argument(scale)
        }
    }
    for %2 : i64 in count(n)..0i64 step -2 {
        x = %2
    }
}
";
    assert_eq!(b.finish(&[blocks, block]).to_string(), expected);
}

#[test]
fn removed_guards_masks_policies_and_bindings_show() {
    let mut b = Builder::new("masked");
    let out = b.tensor("out", ElementType::I8, 2);
    let n = b.count("n");
    b.kernel.bindings.exact = vec![(Symbol::Extent { tensor: out, axis: 1 }, 4)];
    b.kernel.bindings.device = vec![(1, ElementType::I32)];
    let (cols, mask, value) = (b.arange(4), b.literal(true), b.literal(1i8));
    let (mask, value) = (b.stretch(mask, b.shape(cols)), b.stretch(value, b.shape(cols)));
    let mut access = b.access(out, &[n, cols]);
    access.bounds = Bounds::Trap;
    access.mask = Some(mask);
    access.guards[0].lower = false;
    access.guards[1] = Guard::NONE;
    b.push(Statement::Store {
        access: access.clone(),
        value,
        conflict: None,
    });
    access.guards[0] = Guard::NONE;
    b.push(Statement::Store {
        access,
        value,
        conflict: None,
    });
    let text = b.launch(1).to_string();
    assert!(
        text.contains("exact extent(out, 1) = 4\ndevice count(n) : i32\n"),
        "{text}"
    );
    assert!(
        text.contains("store out[count(n), %0] where %1 guard trap(0: upper) = %2\n"),
        "{text}"
    );
    assert!(text.contains("store out[count(n), %0] where %1 = %2\n"), "{text}");
}

#[test]
fn a_malformed_kernel_prints_too() {
    let mut b = Builder::new("broken");
    let missing = Handle::from_index(77);
    b.push(Statement::Let(missing));
    let access = b.access(9, &[missing]);
    b.push(Statement::Store {
        access,
        value: missing,
        conflict: None,
    });
    b.kernel.grid = vec![missing];
    b.kernel.body = b.block(|_| {});
    assert!(b.kernel.to_string().contains("grid [?]"));
}
