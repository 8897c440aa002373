//! Memory: arguments, addresses, loads, stores, copies.

use super::number::bit_type;
use super::register::{Class, Reg};
use super::value::{Held, class_of};
use super::writer::{Base, Known, Once, Writer};
use crate::element::ElementType;
use crate::ir::{CacheHint, Handle, MemoryScope};
use crate::thread::{
    Argument, ArgumentKind, AsyncCopy, Atom, Buffer, BufferKind, Index, Load, Order, Place, Space, Store, Sum, Term,
    Type,
};

/// The name of all of shared memory.
pub(super) const SHARED: &str = "tw_shared";

pub(super) const fn scope(scope: MemoryScope) -> &'static str {
    match scope {
        MemoryScope::Block => "cta",
        MemoryScope::Device => "gpu",
        MemoryScope::System => "sys",
    }
}

impl Writer<'_> {
    /// The name of an argument.
    pub(super) fn argument_name(&self, argument: Handle<Argument>) -> String {
        format!("arg_{}", self.kernel.arguments[argument].name)
    }

    /// A scalar argument, or the address that a pointer is.
    pub(super) fn argument(&mut self, argument: Handle<Argument>) -> Reg {
        let name = self.argument_name(argument);
        self.once(Once::Argument(argument.index()), |w| {
            match w.kernel.arguments[argument].kind {
                ArgumentKind::Scalar(element) => {
                    let class = match class_of(element) {
                        Class::Double => Class::Double,
                        _ => Class::Word,
                    };
                    w.compute(
                        class,
                        format_args!("ld.param.{}", memory_type(element)),
                        format_args!("[{name}]"),
                    )
                }
                ArgumentKind::Pointer => {
                    let generic = w.compute(Class::Double, "ld.param.b64", format_args!("[{name}]"));
                    w.compute(Class::Double, "cvta.to.global.u64", generic)
                }
                ArgumentKind::Bytes { .. } => w.compute(Class::Double, "mov.b64", &name),
            }
        })
    }

    // Addresses.

    /// The address of the first byte of a buffer, in 32 bits if it is in shared or local memory.
    pub(super) fn base_of_buffer(&mut self, buffer: Handle<Buffer>) -> Reg {
        let name = self.kernel.buffers[buffer].name.clone();
        match self.kernel.buffers[buffer].kind {
            BufferKind::Global { argument, .. } | BufferKind::Parameter { argument } => self.argument(argument),
            BufferKind::Table { .. } => self.once(Once::Base(Base::Buffer(buffer)), |w| {
                w.compute(Class::Double, "mov.b64", format_args!("table_{name}"))
            }),
            BufferKind::Local { .. } => self.once(Once::Base(Base::Buffer(buffer)), |w| {
                w.compute(Class::Word, "mov.b32", format_args!("local_{name}"))
            }),
            BufferKind::Shared { .. } => {
                self.once(Once::Base(Base::Shared), |w| w.compute(Class::Word, "mov.b32", SHARED))
            }
            // Its places have pointers.
            BufferKind::Listed { .. } => {
                self.refuse("address of a list");
                self.compute(Class::Double, "mov.b64", 0)
            }
        }
    }

    /// The address of a place in the shared memory of a block of the cluster.
    fn address_in_block(&mut self, place: Place, block: Handle<Index>) -> String {
        let own = self.address(place);
        let own = own.trim_matches(['[', ']']);
        let (base, displacement) = own.split_once('+').unwrap_or((own, "0"));
        let base = self.compute(Class::Word, "mov.b32", base);
        let block = self.narrow(block);
        let base = self.compute(Class::Word, "mapa.shared::cluster.u32", format_args!("{base}, {block}"));
        format!("[{base}+{displacement}]")
    }

    /// An address, as it stands in an instruction.
    pub(super) fn address(&mut self, place: Place) -> String {
        let (base, first) = match (self.kernel.buffers[place.buffer].kind, place.pointer) {
            (BufferKind::Shared { offset, .. }, _) => (Base::Shared, i64::from(offset)),
            (_, Some(pointer)) => (Base::Pointer(pointer), 0),
            _ => (Base::Buffer(place.buffer), 0),
        };
        let Sum { constant, terms } = self.spelled_out(place.offset);
        let mut displacement = constant.wrapping_add(first);
        let is_constant = terms.is_empty();
        if is_constant && base == Base::Shared {
            return format!("[{SHARED}+{displacement}]");
        }
        let start = match base {
            Base::Pointer(pointer) => self.register_of(pointer),
            Base::Shared | Base::Buffer(_) => self.base_of_buffer(place.buffer),
        };
        let mut address = match is_constant {
            true => start,
            false => self.known(Known::Address(base, terms.clone()), |w| {
                w.counted_from(start, place.offset, constant, &terms)
            }),
        };
        // What does not fit an instruction is added.
        if i32::try_from(displacement).is_err() && address.class == Class::Double {
            address = self.compute(Class::Double, "add.s64", format_args!("{address}, {displacement}"));
            displacement = 0;
        }
        match displacement {
            0 => format!("[{address}]"),
            _ => format!("[{address}+{}]", displacement as i32),
        }
    }

    /// An offset as a sum. Names in it are spelled out where that computes more of an address early, and no more in all.
    fn spelled_out(&self, offset: Handle<Index>) -> Sum {
        let indices = &self.kernel.indices;
        let sum = indices.as_sum(offset);
        let named = |term: &Term| match (term.coefficient, &*term.factors) {
            (1, [factor]) => match indices.get(*factor) {
                Index::Atom(Atom::Variable(variable)) => self.named[variable.index()],
                _ => None,
            },
            _ => None,
        };
        let mut names = sum.terms.iter().enumerate();
        let Some((at, meant)) = names.find_map(|(at, term)| Some((at, named(term)?))) else {
            return sum;
        };
        let meant = indices.as_sum(meant);
        if meant.terms.len() > 2 && !self.order.is_partly_of_loop(indices, &meant.terms) {
            return sum;
        }
        let rest = sum.terms.iter().enumerate().filter(|(other, _)| *other != at);
        Sum {
            constant: sum.constant.wrapping_add(meant.constant),
            terms: meant.terms.iter().chain(rest.map(|(_, term)| term)).cloned().collect(),
        }
    }

    /// The address of an offset but for its constant, which has these terms.
    fn counted_from(&mut self, start: Reg, offset: Handle<Index>, constant: i64, terms: &[Term]) -> Reg {
        match start.class {
            // Addresses of 32 bits need the low bits only.
            Class::Word => self.narrow_sum(Some(start), terms),
            // In one step from what is there first, or from what other addresses are counted by too.
            _ if terms.len() > 1
                && self.is_narrow_without(offset, constant)
                && !self.order.is_staggered(&self.kernel.indices, terms) =>
            {
                let sum = self.narrow_sum(None, terms);
                let wide = self.compute(Class::Double, "cvt.s64.s32", sum);
                self.compute(Class::Double, "add.s64", format_args!("{start}, {wide}"))
            }
            _ => self.wide_sum(Some(start), terms),
        }
    }

    fn space(&self, place: Place) -> &'static str {
        match self.kernel.buffers[place.buffer].space() {
            Space::Global | Space::Table => "global",
            Space::Shared => "shared",
            Space::Local => "local",
            Space::Parameter => "param",
        }
    }

    // Accesses.

    pub(super) fn load(&mut self, load: &Load) -> Held {
        let held = self.fresh_held(load.ty);
        self.load_into(&held, load);
        held
    }

    pub(super) fn load_into(&mut self, held: &Held, load: &Load) {
        let instruction = format!(
            "ld{}.{}{}.{}",
            order(load.order),
            self.space(load.place),
            self.qualifiers(load),
            access_type(load.ty)
        );
        let guard = match load.predicate {
            None => String::new(),
            Some(predicate) => {
                for register in &held.registers {
                    self.line(format!("mov.b{}\t{register}, 0;", register.class.bits()));
                }
                self.guard(predicate, true) + " "
            }
        };
        let address = self.address(load.place);
        self.line(format!("{guard}{instruction}\t{}, {address};", list(&held.registers)));
    }

    /// The way that a load takes, and what it asks of the caches.
    fn qualifiers(&self, load: &Load) -> String {
        let is_table = self.kernel.buffers[load.place.buffer].space() == Space::Table;
        // What is to be read again whatever a cache holds cannot go the way of what never changes.
        let read_only = (load.read_only || is_table) && load.cache != Some(CacheHint::Volatile);
        match (load.cache.map(CacheHint::qualifier), read_only) {
            (None, false) => String::new(),
            (None, true) => ".nc".to_owned(),
            (Some(level), true) if level.starts_with("L1::") => format!(".nc.{level}"),
            (Some(operator), true) => format!(".{operator}.nc"),
            (Some(qualifier), false) => format!(".{qualifier}"),
        }
    }

    pub(super) fn store(&mut self, store: &Store) {
        let held = self.held(store.value);
        let instruction = format!(
            "st{}.{}{}{}.{}",
            order(store.order),
            self.space(store.place),
            store.block.map_or("", |_| "::cluster"),
            store
                .cache
                .map_or_else(String::new, |hint| format!(".{}", hint.qualifier())),
            access_type(Type {
                // Bits are stored, whatever the sign.
                element: unsigned(held.ty.element),
                ..held.ty
            })
        );
        let guard = self.guarded(store.predicate);
        let address = match store.block {
            Some(block) => self.address_in_block(store.place, block),
            None => self.address(store.place),
        };
        self.line(format!("{guard}{instruction}\t{address}, {};", list(&held.registers)));
    }

    /// What stands before an instruction that happens only where a condition holds.
    pub(super) fn guarded(&mut self, predicate: Option<Handle<crate::thread::Predicate>>) -> String {
        predicate.map_or_else(String::new, |predicate| self.guard(predicate, true) + " ")
    }

    pub(super) fn copy(&mut self, copy: &AsyncCopy) {
        let (to, from, bytes) = (self.address(copy.to), self.address(copy.from), copy.bytes);
        // Bytes that are not read are zero.
        let read = copy.predicate.map_or_else(String::new, |predicate| {
            let holds = self.holds(predicate);
            let read = self.compute(Class::Word, "selp.b32", format_args!("{bytes}, 0, {holds}"));
            format!(", {read}")
        });
        // Only whole vectors can leave L1 alone.
        let level = if bytes == 16 { "cg" } else { "ca" };
        self.line(format!("cp.async.{level}.shared.global\t{to}, {from}, {bytes}{read};"));
    }

    pub(super) fn prefetch(&mut self, place: Place, predicate: Option<Handle<crate::thread::Predicate>>) {
        let guard = self.guarded(predicate);
        let address = self.address(place);
        self.line(format!("{guard}prefetch.global.L2\t{address};"));
    }
}

/// Registers side by side.
fn list(registers: &[Reg]) -> String {
    match registers {
        [one] => one.to_string(),
        _ => {
            let registers: Vec<String> = registers.iter().map(Reg::to_string).collect();
            format!("{{{}}}", registers.join(", "))
        }
    }
}

fn order(order: Order) -> String {
    match order {
        Order::Weak => String::new(),
        Order::Strong(order, within) => format!(".{}.{}", order.name(), scope(within)),
    }
}

/// What one element is in memory: signed ones of less than 4 bytes are extended by their sign.
fn memory_type(element: ElementType) -> &'static str {
    match (element.size(), element.is_signed()) {
        (1, true) => "s8",
        (1, false) => "u8",
        (2, true) => "s16",
        (2, false) => "u16",
        _ => bit_type(element),
    }
}

fn unsigned(element: ElementType) -> ElementType {
    match element.size() {
        1 => ElementType::U8,
        2 => ElementType::U16,
        _ => element,
    }
}

/// What an access of some bytes is: one element, one word, or several.
fn access_type(ty: Type) -> &'static str {
    match (ty.bytes(), ty.element.size()) {
        (16, 8) => "v2.b64",
        (16, _) => "v4.b32",
        (8, 8) => "b64",
        (8, _) => "v2.b32",
        (4, _) => "b32",
        (2, 2) => memory_type(ty.element),
        (2, _) => "u16",
        _ => memory_type(ty.element),
    }
}
