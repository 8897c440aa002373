//! Loads, stores, copies and prefetches.
//!
//! Global and shared memory are read and written by instructions, each with its predicate, so that nothing is branched
//! around. A thread's own memory, tables and arguments are C++ objects, which the compiler may keep in registers.

use super::Writer;
use super::packet::{Lane, in_words, names, shares_words};
use super::types::c_type;
use crate::element::ElementType;
use crate::ir::{CacheHint, Handle, MemoryScope};
use crate::thread::{AsyncCopy, Buffer, BufferKind, Load, Order, Place, Predicate, Sharing, Space, Store, Type, Value};

/// How a value crosses to memory: so many parts of one C++ type.
struct Parts {
    count: usize,
    /// Bytes of each.
    bytes: u32,
    ty: &'static str,
    constraint: &'static str,
    /// The type of each in an instruction.
    instruction: &'static str,
}

impl Parts {
    fn of(ty: Type) -> Self {
        let (c, constraint, instruction) = match ty.element {
            ElementType::F32 => ("float", "f", "f32"),
            ElementType::F64 => ("double", "d", "f64"),
            element if element.size() == 8 => (c_type(element), "l", "u64"),
            element if element.size() == 4 => (c_type(element), "r", "u32"),
            // A word holds several, and its low bits one.
            _ => (
                "unsigned int",
                "r",
                ["u8", "u16", "u32"][ty.bytes().min(4).ilog2() as usize],
            ),
        };
        let bytes = match shares_words(ty.element) {
            true => ty.bytes().min(4),
            false => ty.element.size() as u32,
        };
        Self {
            count: (ty.bytes() / bytes) as usize,
            bytes,
            ty: c,
            constraint,
            instruction,
        }
    }

    /// The end of an instruction's name.
    fn suffix(&self) -> String {
        match self.count {
            1 => format!(".{}", self.instruction),
            count => format!(".v{count}.{}", self.instruction),
        }
    }

    /// So many operands, from this one on.
    fn operands(&self, first: usize) -> String {
        let all: Vec<String> = (first..first + self.count).map(|at| format!("%{at}")).collect();
        match self.count {
            1 => all.concat(),
            _ => format!("{{{}}}", all.join(", ")),
        }
    }

    /// The type of each in memory.
    fn in_memory(&self) -> &'static str {
        match self.bytes {
            1 => "unsigned char",
            2 => "unsigned short",
            _ => self.ty,
        }
    }
}

/// The name that PTX has for a scope.
pub(super) fn scope_name(scope: MemoryScope) -> &'static str {
    match scope {
        MemoryScope::Block => "cta",
        MemoryScope::Device => "gpu",
        MemoryScope::System => "sys",
    }
}

/// An instruction that is done where the last operand is not 0.
fn guarded(instruction: &str, predicate: usize) -> String {
    format!("{{.reg .pred p; setp.ne.u32 p, %{predicate}, 0; @p {instruction}}}")
}

fn order_name(order: Order) -> String {
    match order {
        Order::Weak => String::new(),
        Order::Strong(order, scope) => format!(".{}.{}", order.name(), scope_name(scope)),
    }
}

/// What of an instruction's name comes after its space.
fn qualifiers(read_only: bool, cache: Option<CacheHint>) -> String {
    let hint = cache.map_or_else(String::new, |hint| format!(".{}", hint.qualifier()));
    let is_level = matches!(
        cache,
        Some(CacheHint::NoAllocate | CacheHint::EvictFirst | CacheHint::EvictLast)
    );
    match cache {
        // What is to be read from memory again goes no such way.
        Some(CacheHint::Volatile) => hint,
        _ if !read_only => hint,
        _ if is_level => format!(".nc{hint}"),
        _ => format!("{hint}.nc"),
    }
}

impl Writer<'_> {
    /// The first byte of memory that instructions touch: an integer of 64 bits, or of 32 in shared memory.
    pub(super) fn base(&mut self, buffer: Handle<Buffer>, pointer: Option<Handle<Value>>) -> String {
        match (self.kernel.buffers[buffer].kind, pointer) {
            (BufferKind::Global { argument, .. }, _) => self.argument(argument),
            (BufferKind::Shared { offset: 0, .. }, _) => "shared".to_owned(),
            (BufferKind::Shared { offset, .. }, _) => format!("shared + {offset}U"),
            (_, Some(pointer)) => self.lane(pointer.into(), 0),
            // Others are no addresses.
            (BufferKind::Listed { .. } | BufferKind::Local { .. }, None) => "0".to_owned(),
            (BufferKind::Table { .. } | BufferKind::Parameter { .. }, None) => "0".to_owned(),
        }
    }

    /// The space of a place, and its address as the operand of an instruction.
    pub(super) fn address(&mut self, place: Place) -> (Space, String) {
        let space = self.kernel.buffers[place.buffer].space();
        let base = self.base(place.buffer, place.pointer);
        let narrow = space == Space::Shared;
        let constraint = if narrow { "r" } else { "l" };
        let address = self.behind(&base, place.offset, narrow);
        (space, format!("\"{constraint}\"({address})"))
    }

    /// A predicate as the operand of an instruction.
    fn predicate(&mut self, predicate: Option<Handle<Predicate>>) -> Option<String> {
        predicate.map(|predicate| format!("\"r\"((unsigned int){})", self.condition(predicate)))
    }

    pub(super) fn load(&mut self, value: Handle<Value>, load: &Load) {
        let parts = Parts::of(load.ty);
        let names = names("v", value.index(), parts.count);
        match self.kernel.buffers[load.place.buffer].space() {
            Space::Global | Space::Shared => self.load_by_instruction(&names, load, &parts),
            Space::Local | Space::Table | Space::Parameter => self.load_object(&names, load, &parts),
        }
        self.alias(
            value,
            match shares_words(load.ty.element) {
                true => in_words(&names, load.ty),
                false => names.into_iter().map(Lane::Whole).collect(),
            },
        );
    }

    fn load_by_instruction(&mut self, names: &[String], load: &Load, parts: &Parts) {
        let predicate = self.predicate(load.predicate);
        let (space, address) = self.address(load.place);
        let (zeros, access) = match &predicate {
            Some(_) => (" = 0", "+"),
            None => ("", "="),
        };
        let declared: Vec<String> = names.iter().map(|name| format!("{name}{zeros}")).collect();
        self.line(format!("{} {};", parts.ty, declared.join(", ")));
        let instruction = format!(
            "ld{}.{}{}{} {}, [%{}];",
            order_name(load.order),
            space.name(),
            qualifiers(load.read_only, load.cache),
            parts.suffix(),
            parts.operands(0),
            parts.count
        );
        let instruction = match &predicate {
            Some(_) => guarded(&instruction, parts.count + 1),
            None => instruction,
        };
        let constraint = parts.constraint;
        let outputs = names.iter().map(|name| format!("\"{access}{constraint}\"({name})"));
        let outputs = outputs.collect::<Vec<_>>().join(", ");
        let inputs: Vec<String> = [address].into_iter().chain(predicate.clone()).collect();
        // What nobody writes need not be read again because something has been written.
        let clobbers = match self.kernel.buffers[load.place.buffer].sharing() {
            Sharing::ReadOnly => "",
            Sharing::Private | Sharing::Shared => " : \"memory\"",
        };
        self.line(format!(
            "asm volatile(\"{instruction}\" : {outputs} : {}{clobbers});",
            inputs.join(", ")
        ));
        // Or the compiler cuts off what is not there, and so waits for the load where it stands.
        if let (Some(_), "u8" | "u16") = (&predicate, parts.instruction) {
            let most = (1u32 << (8 * load.ty.bytes())) - 1;
            self.line(format!("__builtin_assume({} <= {most}U);", names[0]));
        }
    }

    /// The object of part `at` of a place that has one.
    fn object(&mut self, place: Place, parts: &Parts, at: usize, constant: &str) -> String {
        let buffer = &self.kernel.buffers[place.buffer];
        let base = match buffer.kind {
            BufferKind::Local { .. } => format!("b_{}", buffer.name),
            BufferKind::Table { table } => format!("({constant}char*)tw_table{}", table.index()),
            BufferKind::Parameter { argument } => format!("({constant}char*)&{}", self.argument(argument)),
            // Others are touched by instructions.
            BufferKind::Global { .. } | BufferKind::Listed { .. } | BufferKind::Shared { .. } => "0".to_owned(),
        };
        let (offset, first) = (self.index(place.offset).text, at as u32 * parts.bytes);
        let first = if first == 0 {
            String::new()
        } else {
            format!(" + {first}")
        };
        format!("*({constant}{}*)({base} + {offset}{first})", parts.in_memory())
    }

    fn load_object(&mut self, names: &[String], load: &Load, parts: &Parts) {
        let predicate = load.predicate.map(|predicate| self.condition(predicate));
        for (at, name) in names.iter().enumerate() {
            let object = self.object(load.place, parts, at, "const ");
            let text = match &predicate {
                Some(predicate) => format!("{predicate} ? ({}){object} : 0", parts.ty),
                None => object,
            };
            self.line(format!("const {} {name} = {text};", parts.ty));
        }
    }

    pub(super) fn store(&mut self, store: &Store) {
        let ty = self.kernel.ty(store.value);
        let parts = Parts::of(ty);
        let texts: Vec<String> = match shares_words(ty.element) {
            true => self.words(store.value),
            false => (0..parts.count).map(|lane| self.lane(store.value, lane)).collect(),
        };
        if self.kernel.buffers[store.place.buffer].space() == Space::Local {
            let when = store.predicate.map(|predicate| self.condition(predicate));
            let when = when.map_or_else(String::new, |when| format!("if ({when}) "));
            for (at, text) in texts.iter().enumerate() {
                let object = self.object(store.place, &parts, at, "");
                self.line(format!("{when}{object} = ({})({text});", parts.in_memory()));
            }
            return;
        }
        let predicate = self.predicate(store.predicate);
        let (space, mut address) = self.address(store.place);
        if let Some(block) = store.block {
            let block = self.index(block).wide();
            self.open("{");
            self.line("unsigned int told;");
            self.line(format!(
                "asm(\"mapa.shared::cluster.u32 %0, %1, %2;\" : \"=r\"(told) : {address}, \"r\"((unsigned int){block}));"
            ));
            address = "\"r\"(told)".to_owned();
        }
        let instruction = format!(
            "st{}.{}{}{}{} [%0], {};",
            order_name(store.order),
            space.name(),
            store.block.map_or("", |_| "::cluster"),
            qualifiers(false, store.cache),
            parts.suffix(),
            parts.operands(1)
        );
        let instruction = match &predicate {
            Some(_) => guarded(&instruction, parts.count + 1),
            None => instruction,
        };
        let values = texts.iter().map(|text| format!("\"{}\"({text})", parts.constraint));
        let inputs: Vec<String> = [address].into_iter().chain(values).chain(predicate).collect();
        self.instruction(&instruction, &inputs);
        if store.block.is_some() {
            self.close("}");
        }
    }

    /// An instruction that gives nothing.
    pub(super) fn instruction(&mut self, instruction: &str, inputs: &[String]) {
        self.line(format!(
            "asm volatile(\"{instruction}\" :: {} : \"memory\");",
            inputs.join(", ")
        ));
    }

    pub(super) fn copy(&mut self, copy: &AsyncCopy) {
        let when = copy.predicate.map(|predicate| self.condition(predicate));
        let (_, to) = self.address(copy.to);
        let (_, from) = self.address(copy.from);
        let bytes = copy.bytes;
        // Only the widest may leave L1 alone.
        let level = if bytes == 16 { "cg" } else { "ca" };
        let (read, size) = match when {
            // What is not read is zero.
            Some(when) => (", %2", Some(format!("\"r\"({when} ? {bytes}U : 0U)"))),
            None => ("", None),
        };
        let inputs: Vec<String> = [to, from].into_iter().chain(size).collect();
        self.instruction(
            &format!("cp.async.{level}.shared.global [%0], [%1], {bytes}{read};"),
            &inputs,
        );
    }

    pub(super) fn prefetch(&mut self, place: Place, predicate: Option<Handle<Predicate>>) {
        let predicate = self.predicate(predicate);
        let (_, address) = self.address(place);
        let instruction = match &predicate {
            Some(_) => guarded("prefetch.global.L2 [%0];", 1),
            None => "prefetch.global.L2 [%0];".to_owned(),
        };
        let inputs: Vec<String> = [address].into_iter().chain(predicate).collect();
        self.instruction(&instruction, &inputs);
    }
}
