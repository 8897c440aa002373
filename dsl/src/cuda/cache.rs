//! Cache hints of accesses whose author gives one, prefetches, and the launches around this one.

use super::leaves::{Group, Sink};
use super::prelude::Need;
use super::pull::Point;
use super::types::memory_type;
use super::writer::Writer;
use crate::analysis::contiguity::{Walk, access_shape, walk};
use crate::ir::{Access, Bounds, CacheHint, GridDependency, Shape, Span};

/// Bytes that one prefetch brings.
const LINE_BYTES: u64 = 128;

impl Writer<'_> {
    /// The text that reads one element at `place`.
    pub(super) fn read(&mut self, access: &Access, place: &str) -> String {
        match self.hinted_load(access) {
            Some(function) => {
                let ty = memory_type(self.element(access.tensor));
                format!("{function}<{ty}, 1>(&{place}).e[0]")
            }
            None => place.to_owned(),
        }
    }

    /// The statement that writes `value` to one element at `place`.
    pub(super) fn written(&mut self, access: &Access, place: &str, value: &str) -> String {
        match self.hinted_store(access) {
            Some(function) => {
                let ty = memory_type(self.element(access.tensor));
                format!("{{ tw_vec<{ty}, 1> one; one.e[0] = {value}; {function}<{ty}, 1>(&{place}, one); }}")
            }
            None => format!("{place} = {value};"),
        }
    }

    /// The function that loads aligned vectors with the author's hint.
    pub(super) fn hinted_load(&mut self, access: &Access) -> Option<String> {
        let hint = access.cache?;
        // What no one writes goes the read-only way, but for a load that is to see what others write.
        let changing = self.effects.waits || self.effects.is_changing(access.tensor);
        let constant = !changing && hint != CacheHint::Volatile;
        let need = Need::CachedLoad { hint, constant };
        self.need(need);
        Some(format!("tw_load_{}", need.suffix()))
    }

    /// The function that stores aligned vectors with the author's hint.
    pub(super) fn hinted_store(&mut self, access: &Access) -> Option<String> {
        let need = Need::CachedStore(access.cache?);
        self.need(need);
        Some(format!("tw_store_{}", need.suffix()))
    }

    /// Asks for the elements of an access, one per line of the cache where they lie side by side.
    pub(super) fn prefetch(&mut self, access: &Access, span: Span) {
        let shape = access_shape(self.kernel, access).unwrap_or(Shape::SCALAR);
        if shape.rank() == 0 {
            self.open("if (worker == 0) {");
            self.prefetch_element(access, &Point::scalar(), shape, span);
            self.close();
            return;
        }
        // Only its shape is of use.
        let value = access.indices[0];
        let sink = Sink::Prefetch(access);
        self.group(&Group {
            value,
            shape,
            sink,
            span,
        });
    }

    pub(super) fn prefetch_element(&mut self, access: &Access, point: &Point, shape: Shape, span: Span) {
        let size = self.element(access.tensor).size() as u64;
        let last = shape.rank().saturating_sub(1);
        let beside = shape.rank() > 0 && matches!(walk(self.kernel, access, last), Walk::Adjacent(_));
        if let Some(column) = point.coordinates.last().filter(|_| beside) {
            self.open(format!("if ({column} % {} == 0) {{", LINE_BYTES / size));
        } else {
            self.open("{");
        }
        // Out of bounds nothing happens, whatever the policy: nothing is reported, and nothing else is fetched.
        let silent = Access {
            bounds: Bounds::Unchecked,
            ..access.clone()
        };
        let (place, condition) = self.place(&silent, point, shape, span);
        let prefetch = format!("asm volatile(\"prefetch.global.L2 [%0];\" :: \"l\"(&{place}));");
        match condition {
            Some(condition) => self.line(format!("if ({condition}) {prefetch}")),
            None => self.line(prefetch),
        }
        self.close();
    }

    /// A wait or a trigger, unless it is one of the opening, which [`Writer::finish`] prints ahead of everything.
    pub(super) fn grid_dependency(&mut self, dependency: GridDependency) {
        if self.opening > 0 {
            self.opening -= 1;
            return;
        }
        for line in grid_dependency(dependency) {
            self.line(line);
        }
    }
}

/// Older GPUs run one launch after the other anyway.
pub(super) fn grid_dependency(dependency: GridDependency) -> [String; 3] {
    let instruction = match dependency {
        GridDependency::Wait => "griddepcontrol.wait",
        GridDependency::Trigger => "griddepcontrol.launch_dependents",
    };
    [
        "#if __CUDA_ARCH__ >= 900".to_owned(),
        format!("asm volatile(\"{instruction};\" ::: \"memory\");"),
        "#endif".to_owned(),
    ]
}

impl Need {
    /// What tells the functions of one hint from those of another.
    fn suffix(self) -> String {
        let name = |hint: CacheHint| hint.qualifier().replace("L1::", "");
        match self {
            Need::CachedLoad { hint, constant: true } => format!("{}_nc", name(hint)),
            Need::CachedLoad { hint, constant: false } | Need::CachedStore(hint) => name(hint),
            _ => String::new(),
        }
    }

    /// The text of the functions that a hint needs.
    pub(super) fn cached(self) -> Option<String> {
        match self {
            Need::CachedLoad { hint, constant } => {
                let instruction = match (constant, hint.qualifier()) {
                    (true, level) if level.starts_with("L1::") => format!("ld.global.nc.{level}"),
                    (true, operator) => format!("ld.global.{operator}.nc"),
                    (false, qualifier) => format!("ld.global.{qualifier}"),
                };
                Some(
                    LOAD.replace("NAME", &self.suffix())
                        .replace("INSTRUCTION", &instruction),
                )
            }
            Need::CachedStore(hint) => {
                let instruction = format!("st.global.{}", hint.qualifier());
                Some(
                    STORE
                        .replace("NAME", &self.suffix())
                        .replace("INSTRUCTION", &instruction),
                )
            }
            _ => None,
        }
    }
}

const LOAD: &str = r#"template <class T, int N> static __device__ __forceinline__ tw_vec<T, N> tw_load_NAME(const T* p) {
  tw_vec<T, N> v;
  if constexpr (sizeof(T) * N >= 16) {
#pragma unroll
    for (int i = 0; i < (int)(sizeof(T) * N / 16); ++i)
      asm volatile("INSTRUCTION.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.q[i].x), "=r"(v.q[i].y), "=r"(v.q[i].z), "=r"(v.q[i].w) : "l"((const char*)p + 16 * i) : "memory");
  } else if constexpr (sizeof(T) * N == 8)
    asm volatile("INSTRUCTION.u64 %0, [%1];" : "=l"(v.d) : "l"(p) : "memory");
  else if constexpr (sizeof(T) * N == 4)
    asm volatile("INSTRUCTION.u32 %0, [%1];" : "=r"(v.w) : "l"(p) : "memory");
  else if constexpr (sizeof(T) * N == 2)
    asm volatile("INSTRUCTION.u16 %0, [%1];" : "=h"(v.h) : "l"(p) : "memory");
  else
    asm volatile("INSTRUCTION.u8 %0, [%1];" : "=h"(v.h) : "l"(p) : "memory");
  return v;
}
"#;

const STORE: &str = r#"template <class T, int N> static __device__ __forceinline__ void tw_store_NAME(T* p, const tw_vec<T, N>& v) {
  if constexpr (sizeof(T) * N >= 16) {
#pragma unroll
    for (int i = 0; i < (int)(sizeof(T) * N / 16); ++i)
      asm volatile("INSTRUCTION.v4.u32 [%0], {%1, %2, %3, %4};" :: "l"((char*)p + 16 * i), "r"(v.q[i].x), "r"(v.q[i].y), "r"(v.q[i].z), "r"(v.q[i].w) : "memory");
  } else if constexpr (sizeof(T) * N == 8)
    asm volatile("INSTRUCTION.u64 [%0], %1;" :: "l"(p), "l"(v.d) : "memory");
  else if constexpr (sizeof(T) * N == 4)
    asm volatile("INSTRUCTION.u32 [%0], %1;" :: "l"(p), "r"(v.w) : "memory");
  else if constexpr (sizeof(T) * N == 2)
    asm volatile("INSTRUCTION.u16 [%0], %1;" :: "l"(p), "h"(v.h) : "memory");
  else
    asm volatile("INSTRUCTION.u8 [%0], %1;" :: "l"(p), "h"((unsigned short)v.e[0]) : "memory");
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::lower;
    use crate::element::ElementType;
    use crate::ir::verify::build::Builder;
    use crate::ir::{Bounds, Statement};
    use crate::schedule::{Machine, choose};

    #[test]
    fn a_prefetch_out_of_bounds_reports_nothing() {
        let mut b = Builder::new("ahead");
        let src = b.tensor("src", ElementType::I64, 1);
        let row = b.program(0);
        for bounds in [Bounds::default(), Bounds::Trap, Bounds::Clamp] {
            let access = b.access(src, &[row]);
            b.push(Statement::Prefetch(Access { bounds, ..access }));
        }
        let mut kernel = b.launch(4);
        kernel.reports = true;
        let source = lower(&kernel, &choose(&kernel, &Machine::H200, 4))
            .unwrap()
            .text
            .as_str()
            .to_owned();
        assert!(!source.contains("tw_trap"), "{source}");
        // Every one of them is tested.
        assert_eq!(
            source.matches("if ((unsigned long long)program < ").count(),
            3,
            "{source}"
        );
    }
}
