//! How wide the accesses of the shapes are in which kernels move rows, for elements of 4, 2 and 1 bytes, of rows that are
//! known to begin at multiples of 16 bytes and of rows that are not.

mod kernels;

use std::fmt::Write;

use float8::F8E4M3;
use half::bf16;

use super::run::{Argument, check};
use crate::call::{Definition, ParameterFacts, TensorFacts, TraceRequest};
use crate::class::Class;
use crate::element::{Element, ElementType};
use crate::ir::{Bindings, Layout, Symbol};
use crate::lang::Float;
use crate::lower::{AccessKind, GlobalAccess, Lowered};
use crate::schedule::{Machine, Work};
use crate::thread::passes::Why;

/// A kernel and what it is launched with.
struct Shape {
    name: &'static str,
    definition: Definition,
    arguments: Vec<Argument>,
}

/// What can be passed, of tensors that are known to begin at a multiple of 16 bytes, or one element behind one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Begin {
    Aligned,
    Behind,
}

impl Begin {
    fn tensor<T: Element>(self, extents: &[u64]) -> Argument {
        let offset = match self {
            Self::Aligned => 0,
            Self::Behind => T::TYPE.size() as u64,
        };
        let bits = |at: u64| at.wrapping_mul(0x9e37_79b9) % 0x3f00;
        Argument::tensor(T::TYPE, extents, offset, bits)
    }

    /// Columns of a wider tensor.
    fn columns<T: Element>(self, extents: &[u64], width: i64) -> Argument {
        let mut all = self.tensor::<T>(&[extents[0], width as u64]);
        if let Argument::Tensor {
            extents: own, strides, ..
        } = &mut all
        {
            (*own, *strides) = (extents.to_vec(), vec![width, 1]);
        }
        all
    }
}

fn slots(numbers: &[i32]) -> Argument {
    let all = numbers.to_vec();
    let of = move |at: u64| u64::from(all[at as usize] as u32);
    Argument::tensor(ElementType::I32, &[numbers.len() as u64], 0, of)
}

/// The shapes, of a type of elements.
fn shapes<T: Element>(begin: Begin) -> Vec<Shape> {
    use kernels::*;
    let t = |extents: &[u64]| begin.tensor::<T>(extents);
    let shape = |name, definition, arguments| Shape {
        name,
        definition,
        arguments,
    };
    vec![
        shape("slice", slice::<T, 64>::definition(), vec![t(&[3, 512]), t(&[3, 1024])]),
        shape(
            "slice at 3",
            slice::<T, 3>::definition(),
            vec![t(&[3, 512]), t(&[3, 1024])],
        ),
        shape(
            "concatenate",
            concatenate::<T>::definition(),
            vec![t(&[3, 576]), t(&[3, 512]), t(&[3, 64])],
        ),
        shape(
            "join",
            join::<T>::definition(),
            vec![t(&[3, 512]), t(&[3, 256]), t(&[3, 256])],
        ),
        shape(
            "split",
            split::<T>::definition(),
            vec![t(&[3, 256]), t(&[3, 256]), t(&[3, 512])],
        ),
        shape("flip", flip::<T>::definition(), vec![t(&[3, 512]), t(&[3, 512])]),
        shape("in place 7168", in_place::<T>::definition(), vec![t(&[3, 7168])]),
        shape("in place 7167", in_place::<T>::definition(), vec![t(&[3, 7167])]),
        shape("blocked", blocked::<T>::definition(), vec![t(&[4096])]),
        shape("blocked with a tail", blocked::<T>::definition(), vec![t(&[4001])]),
        shape("heads", heads::<T>::definition(), vec![t(&[3, 512]), t(&[3, 4, 128])]),
        shape(
            "store_mla",
            store_mla::<T>::definition(),
            vec![t(&[5, 576]), t(&[3, 512]), t(&[3, 64]), slots(&[4, 0, -1])],
        ),
        shape(
            "permute",
            permute::<T>::definition(),
            vec![t(&[8, 4, 64]), t(&[4, 8, 64])],
        ),
        shape(
            "rows of a wider tensor",
            copy::<T>::definition(),
            vec![t(&[3, 512]), begin.columns::<T>(&[3, 512], 640)],
        ),
        shape("odd rows", copy::<T>::definition(), vec![t(&[3, 131]), t(&[3, 131])]),
        shape(
            "rows of another length",
            copy::<T>::definition(),
            vec![t(&[3, 512]), begin.columns::<T>(&[3, 512], 515)],
        ),
        shape(
            "masked",
            masked::<T>::definition(),
            vec![t(&[8, 512]), t(&[8, 512]), Argument::Count(6)],
        ),
        shape(
            "guarded",
            guarded::<T>::definition(),
            vec![t(&[8, 512]), t(&[5, 512]), slots(&[0, 4, -1, 7, 2, 2, 9, 1])],
        ),
        shape(
            "short",
            short::<T>::definition(),
            vec![t(&[256, 6]), Argument::Count(100)],
        ),
    ]
}

/// The shapes that compute.
fn computed<T: Float>(begin: Begin) -> Vec<Shape> {
    use kernels::*;
    let t = |extents: &[u64]| begin.tensor::<T>(extents);
    let f8 = |extents: &[u64]| begin.tensor::<F8E4M3>(extents);
    let f32 = |extents: &[u64]| begin.tensor::<f32>(extents);
    let shape = |name, definition, arguments| Shape {
        name,
        definition,
        arguments,
    };
    vec![
        shape(
            "dequantize",
            dequantize::<T>::definition(),
            vec![t(&[3, 1024]), f8(&[3, 1024]), f32(&[3, 8])],
        ),
        shape(
            "quantize",
            quantize::<T>::definition(),
            vec![f8(&[3, 1024]), f32(&[3, 8]), t(&[3, 1024])],
        ),
        shape(
            "combine",
            combine::<T>::definition(),
            vec![
                t(&[3, 512]),
                t(&[5, 512]),
                Argument::tensor(ElementType::I32, &[3, 2], 0, |at| at % 5),
                f32(&[3, 2]),
            ],
        ),
    ]
}

impl Shape {
    fn request(&self) -> TraceRequest {
        let facts = |argument: &Argument| match argument {
            Argument::Tensor {
                extents,
                strides,
                offset,
                ..
            } => {
                let rows = strides.iter().rev().zip(extents.iter().rev());
                let mut expected = 1;
                let is_contiguous = rows.clone().all(|(stride, extent)| {
                    let fits = *stride == expected;
                    expected *= *extent as i64;
                    fits
                });
                let multiple = strides[..strides.len() - 1]
                    .iter()
                    .map(|stride| stride.trailing_zeros())
                    .min();
                ParameterFacts::Tensor(TensorFacts {
                    extents: extents.iter().copied().collect(),
                    layout: match (is_contiguous, strides.last()) {
                        (true, _) => Layout::Contiguous,
                        (false, Some(1)) => Layout::Rows {
                            multiple: 1 << multiple.unwrap_or(0).min(4),
                        },
                        (false, _) => Layout::Strided,
                    },
                    alignment: 1 << offset.trailing_zeros().min(4),
                })
            }
            _ => ParameterFacts::Value,
        };
        TraceRequest {
            parameters: self.arguments.iter().map(facts).collect(),
        }
    }

    /// The kernel as its launch has it, lowered; it does what the tile interpreter says.
    fn lowered(&self) -> Lowered {
        let request = self.request();
        let traced = self
            .definition
            .trace(&request)
            .unwrap_or_else(|error| panic!("{error}"));
        let bindings = Bindings {
            exact: traced.literal_extents(&request),
            device: Vec::new(),
        };
        let class = Class::new(crate::transform::bind(&traced.kernel, &bindings));
        let known = |symbol| match symbol {
            Symbol::Extent { tensor, axis } => match &self.arguments[tensor as usize] {
                Argument::Tensor { extents, .. } => Some(extents[axis as usize] as i64),
                _ => None,
            },
            Symbol::Count(position) => match self.arguments[position as usize] {
                Argument::Count(count) => Some(count),
                _ => None,
            },
            _ => None,
        };
        let grid = class.grid(&known).unwrap();
        let (kernel, _) = class.proved(class.conditions(&known, grid));
        // What can be wide is asked here, and not what is sooner done element by element.
        let work = Work {
            denies_narrow: true,
            ..Work::of(&kernel)
        };
        let schedule = work.schedule(&Machine::H200, grid.iter().product());
        check(&kernel, &schedule, &self.arguments)
    }
}

/// What a thread accesses, in a line.
fn summary(lowered: &Lowered) -> String {
    let mut text = String::new();
    let mut before = None;
    for access in &lowered.accesses {
        let key = (access.span, access.kind, access.tensor.clone());
        if before.as_ref() != Some(&key) {
            let kind = match access.kind {
                AccessKind::Load => "load",
                AccessKind::Store => "store",
                AccessKind::Atomic => "atomic",
            };
            write!(text, "; {kind} {}", access.tensor).unwrap();
            before = Some(key);
        }
        write!(text, " {}x{}", access.bytes, access.repeats).unwrap();
        if let Some(why) = access.narrow {
            write!(text, " ({why})").unwrap();
        }
    }
    text.trim_start_matches("; ").to_owned()
}

fn table() -> String {
    let mut text = String::new();
    let mut add = |element: ElementType, begin: Begin, shapes: Vec<Shape>| {
        for shape in shapes {
            let begin = match begin {
                Begin::Aligned => "",
                Begin::Behind => " behind",
            };
            writeln!(text, "{}, {element}{begin}: {}", shape.name, summary(&shape.lowered())).unwrap();
        }
    };
    for begin in [Begin::Aligned, Begin::Behind] {
        add(ElementType::F32, begin, shapes::<f32>(begin));
        add(ElementType::BF16, begin, shapes::<bf16>(begin));
        add(ElementType::F8E4M3, begin, shapes::<F8E4M3>(begin));
        add(ElementType::F32, begin, computed::<f32>(begin));
        add(ElementType::BF16, begin, computed::<bf16>(begin));
    }
    text
}

#[test]
fn the_widths_of_all_shapes_are_those_that_are_kept() {
    super::golden("shapes/widths.txt", &table());
}

/// Whether an access is as wide as what a thread has found and stores by itself.
fn is_found(access: &GlobalAccess) -> bool {
    access.narrow == Some(Why::Found)
}

/// What stays narrow: two elements of each row at a time, whose address is a multiple of 4 bytes.
const NARROW: (&str, ElementType, Begin) = ("join", ElementType::F32, Begin::Behind);

fn is_wide(element: ElementType, begin: Begin, shapes: Vec<Shape>) {
    for shape in shapes {
        let lowered = shape.lowered();
        let about = format!("{} of {element}, {begin:?}\n{}", shape.name, lowered.accesses);
        let is_kept_narrow = (shape.name, element, begin) == NARROW;
        let narrow = lowered.accesses.narrow().filter(|access| !is_found(access));
        assert_eq!(narrow.count() > 0, is_kept_narrow, "{about}");
        if is_kept_narrow {
            continue;
        }
        // What is stored in packets is stored in whole ones: those of 8 bits that are combined have 8 elements.
        let whole = if shape.name == "quantize" { 8 } else { 16 };
        let stores = lowered
            .accesses
            .iter()
            .filter(|access| access.kind == AccessKind::Store);
        let widest = if begin == Begin::Aligned { whole } else { 16 };
        assert_eq!(stores.map(|store| store.bytes).max(), Some(widest), "{about}");
        if begin == Begin::Aligned && !shape.name.contains("7167") && !shape.name.contains("odd") {
            let ends = lowered
                .accesses
                .iter()
                .filter(|access| access.kind == AccessKind::Store && access.bytes < whole && !is_found(access));
            // A packet in which a mask ends.
            let has_tail = ["blocked with a tail", "short"].contains(&shape.name);
            assert_eq!(ends.count() > 0, has_tail, "{about}");
        }
    }
}

#[test]
fn all_shapes_of_elements_of_4_bytes_are_wide() {
    for begin in [Begin::Aligned, Begin::Behind] {
        is_wide(ElementType::F32, begin, shapes::<f32>(begin));
        is_wide(ElementType::F32, begin, computed::<f32>(begin));
    }
}

#[test]
fn all_shapes_of_elements_of_2_bytes_are_wide() {
    for begin in [Begin::Aligned, Begin::Behind] {
        is_wide(ElementType::BF16, begin, shapes::<bf16>(begin));
        is_wide(ElementType::BF16, begin, computed::<bf16>(begin));
    }
}

#[test]
fn all_shapes_of_elements_of_1_byte_are_wide() {
    for begin in [Begin::Aligned, Begin::Behind] {
        is_wide(ElementType::F8E4M3, begin, shapes::<F8E4M3>(begin));
    }
}

#[test]
fn what_a_thread_does_for_each_shape_is_what_is_kept() {
    let aligned = shapes::<bf16>(Begin::Aligned)
        .into_iter()
        .chain(computed::<bf16>(Begin::Aligned));
    for shape in aligned {
        let lowered = shape.lowered();
        let mut text = String::new();
        for (_, spread) in &lowered.distributions {
            writeln!(text, "{spread}").unwrap();
        }
        write!(text, "{}", lowered.kernel).unwrap();
        super::golden(&format!("shapes/{}.txt", shape.name.replace(' ', "_")), &text);
    }
}

#[test]
fn an_access_says_why_it_is_narrow() {
    use kernels::narrow;
    let t = |extents: &[u64]| Begin::Aligned.tensor::<bf16>(extents);
    let index = |count: u64| Argument::tensor(ElementType::I32, &[count], 0, |at| at * 7 % 64);
    let mask = |count: u64| Argument::tensor(ElementType::Bool, &[count], 0, |at| at / 3 % 2);
    let turned = || {
        let mut turned = t(&[64, 64]);
        if let Argument::Tensor { strides, .. } = &mut turned {
            *strides = vec![1, 64];
        }
        turned
    };
    let cases = [
        (
            narrow::loaded::definition(),
            vec![t(&[64]), t(&[64]), index(64)],
            ["src 2: the index comes from a loaded value"],
        ),
        (
            narrow::computed::definition(),
            vec![t(&[64]), t(&[64])],
            ["src 2: the index is computed in i32, which may wrap: compute it in i64, the type of `arange`"],
        ),
        (
            narrow::strided::definition(),
            vec![t(&[64, 64]), turned()],
            [
                "src 2: how far neighbours are apart is known only at the launch: pass a tensor whose innermost axis is contiguous",
            ],
        ),
        (
            narrow::chosen::definition(),
            vec![t(&[64]), t(&[64]), Argument::Count(20)],
            [
                "src 2: the index is clamped or chosen for each element: choose between tiles, or bound the index with an `if`",
            ],
        ),
        (
            narrow::apart::definition(),
            vec![t(&[64]), t(&[64 * 16])],
            ["src 2: neighbours are 32 bytes apart in memory"],
        ),
        (
            narrow::masked::definition(),
            vec![t(&[64]), mask(64)],
            ["out 2: the mask changes along the vector"],
        ),
        (
            narrow::short::definition(),
            vec![t(&[64, 64]), t(&[64])],
            ["out 2: a row has only 8 bytes"],
        ),
    ];
    for (definition, arguments, expected) in cases {
        let shape = Shape {
            name: definition.name(),
            definition,
            arguments,
        };
        let lowered = shape.lowered();
        let narrow: Vec<String> = lowered
            .accesses
            .narrow()
            .map(|access| format!("{} {}: {}", access.tensor, access.bytes, access.narrow.unwrap()))
            .collect();
        assert_eq!(narrow, expected, "{}\n{}", lowered.accesses, lowered.kernel);
    }
}

#[test]
fn the_table_of_accesses_is_read_at_a_glance() {
    use kernels::narrow;
    let t = |extents: &[u64]| Begin::Aligned.tensor::<bf16>(extents);
    let shape = Shape {
        name: "in order",
        definition: narrow::both::definition(),
        arguments: vec![
            t(&[3, 4001]),
            t(&[3, 4001]),
            Argument::tensor(ElementType::I32, &[4001], 0, |at| at),
        ],
    };
    super::golden("shapes/table.txt", &shape.lowered().accesses.to_string());
}
