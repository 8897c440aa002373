//! What is declared: threads, arguments, buffers.

use std::collections::BTreeSet;

use super::{Fault, MAX_ARGUMENT_BYTES, MAX_CLUSTER, MAX_SHARED_BYTES, MAX_THREADS, Rule, fault};
use crate::element::ElementType;
use crate::ir::Span;
use crate::thread::{ArgumentKind, Buffer, BufferKind, Kernel, MAX_LANES, Type, Value};

pub(super) fn verify(kernel: &Kernel) -> Result<(), Fault> {
    let threads = kernel.threads;
    if threads == 0 || threads > MAX_THREADS || (threads > 32 && !threads.is_multiple_of(32)) {
        return fault(Rule::Threads, Span::UNKNOWN, format!("{threads} threads"));
    }
    let cluster = kernel.cluster;
    if cluster == 0 || cluster > MAX_CLUSTER || (cluster > 1 && !threads.is_multiple_of(32)) {
        return fault(
            Rule::Threads,
            Span::UNKNOWN,
            format!("{threads} threads in {cluster} blocks"),
        );
    }
    names(kernel)?;
    arguments(kernel)?;
    for (_, one) in kernel.buffers.iter() {
        if let Some(what) = wrong_with(kernel, one) {
            return fault(Rule::Buffer, Span::UNKNOWN, format!("`{}` {what}", one.name));
        }
    }
    let shared = kernel.shared_bytes();
    if shared > MAX_SHARED_BYTES {
        return fault(Rule::SharedMemory, Span::UNKNOWN, format!("{shared} bytes"));
    }
    record(kernel)?;
    let wrong = |value: &Value| value.is_fraction && value.ty.element != ElementType::F32;
    if let Some((_, value)) = kernel.values.iter().find(|(_, value)| wrong(value)) {
        return fault(Rule::Type, Span::UNKNOWN, format!("{} of 0 to 1", value.ty));
    }
    let registers = kernel.registers.iter().map(|(_, register)| register.ty);
    let mut types = kernel.values.iter().map(|(_, value)| value.ty).chain(registers);
    match types.find(|ty| !has_lanes(*ty)) {
        Some(ty) => fault(Rule::Type, Span::UNKNOWN, format!("a packet of {} lanes", ty.lanes)),
        None => Ok(()),
    }
}

pub(super) fn has_lanes(ty: Type) -> bool {
    (1..=MAX_LANES).contains(&ty.lanes)
}

fn names(kernel: &Kernel) -> Result<(), Fault> {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let arguments = kernel.arguments.iter().map(|(_, argument)| (0, argument.name.as_str()));
    let buffers = kernel.buffers.iter().map(|(_, buffer)| (1, buffer.name.as_str()));
    let mut known = BTreeSet::new();
    for (kind, name) in arguments.chain(buffers).chain([(2, kernel.name.as_str())]) {
        if !is_name(name) || !known.insert((kind, name)) {
            return fault(Rule::Name, Span::UNKNOWN, format!("`{name}`"));
        }
    }
    match kernel.comment.contains(['\n', '\r']) {
        true => fault(Rule::Name, Span::UNKNOWN, "the comment has several lines"),
        false => Ok(()),
    }
}

fn arguments(kernel: &Kernel) -> Result<(), Fault> {
    let mut end = 0u32;
    for (_, argument) in kernel.arguments.iter() {
        let (bytes, alignment) = match argument.kind {
            ArgumentKind::Scalar(element) => (element.size() as u32, element.size() as u32),
            ArgumentKind::Pointer => (8, 8),
            ArgumentKind::Bytes { bytes, alignment } => (bytes, alignment),
        };
        let aligned = alignment.is_power_of_two() && alignment <= 16 && bytes.is_multiple_of(alignment);
        if bytes == 0 || !aligned {
            let what = format!("`{}` has {bytes} bytes aligned to {alignment}", argument.name);
            return fault(Rule::Argument, Span::UNKNOWN, what);
        }
        end = end.next_multiple_of(alignment).saturating_add(bytes);
        if end > MAX_ARGUMENT_BYTES {
            return fault(
                Rule::Argument,
                Span::UNKNOWN,
                format!("up to `{}` there are {end} bytes", argument.name),
            );
        }
    }
    Ok(())
}

fn wrong_with(kernel: &Kernel, buffer: &Buffer) -> Option<String> {
    let alignment = buffer.alignment;
    if !alignment.is_power_of_two() {
        return Some(format!("is aligned to {alignment}"));
    }
    let most = |most: u32| (alignment > most).then(|| format!("is aligned to {alignment}, more than {most}"));
    match buffer.kind {
        BufferKind::Global { argument, .. } => {
            let is_pointer = kernel.arguments[argument].kind == ArgumentKind::Pointer;
            (!is_pointer).then(|| "has no pointer".to_owned())
        }
        BufferKind::Listed { .. } => None,
        BufferKind::Shared { offset, bytes } => match (bytes, offset.checked_add(bytes)) {
            (0, _) => Some("has no bytes".to_owned()),
            (_, None) => Some("does not end".to_owned()),
            _ if !offset.is_multiple_of(alignment) => Some(format!("begins at {offset}, aligned to {alignment}")),
            _ => most(16),
        },
        BufferKind::Local { bytes: 0 } => Some("has no bytes".to_owned()),
        BufferKind::Local { .. } => most(16),
        BufferKind::Table { table } if kernel.tables[table].words.is_empty() => Some("has no words".to_owned()),
        BufferKind::Table { .. } => most(8),
        BufferKind::Parameter { argument } => match kernel.arguments[argument].kind {
            ArgumentKind::Bytes { alignment, .. } => most(alignment),
            ArgumentKind::Scalar(_) | ArgumentKind::Pointer => Some("is no argument of bytes".to_owned()),
        },
    }
}

fn record(kernel: &Kernel) -> Result<(), Fault> {
    let Some(record) = kernel.record else {
        return match kernel.sites {
            0 => Ok(()),
            sites => fault(Rule::Record, Span::UNKNOWN, format!("{sites} sites and no record")),
        };
    };
    let is_buffer = |buffer: &Buffer| matches!(buffer.kind, BufferKind::Global { argument, .. } if argument == record);
    let shared = kernel.buffers.iter().any(|(_, buffer)| is_buffer(buffer));
    match kernel.arguments[record].kind {
        ArgumentKind::Pointer if !shared => Ok(()),
        _ => fault(Rule::Record, Span::UNKNOWN, "it is no pointer of its own"),
    }
}
