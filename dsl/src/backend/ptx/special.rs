//! What stands outside of the kernel's own lines: reports, printing, and the author's instructions.

use super::number::bit_type;
use super::register::{Class, Reg};
use super::value::{Held, class_of};
use super::writer::Writer;
use crate::element::{ElementKind, ElementType};
use crate::thread::{Ptx, Report, Type, Use};

/// The record is the host's memory, which the host reads at any time: the number of the report that is wanted, the place, the
/// program, a value, what was met, and the number again once all is there. Atomic operations do not reach the host's memory
/// reliably, so who makes a report is settled in the GPU's.
pub(super) const REPORT: &str = "\
.global .align 8 .b64 tw_begun;
.func tw_report(.param .b64 record, .param .b64 site, .param .b64 program, .param .b64 value, .param .b64 met)
{
\t.reg .pred %p;
\t.reg .b64 %d<8>;
\tld.param.b64\t%d0, [record];
\tld.relaxed.sys.global.b64\t%d1, [%d0];
\tatom.relaxed.gpu.global.max.u64\t%d2, [tw_begun], %d1;
\tsetp.ge.u64\t%p, %d2, %d1;
\t@%p ret;
\tld.param.b64\t%d3, [site];
\tld.param.b64\t%d4, [program];
\tld.param.b64\t%d5, [value];
\tld.param.b64\t%d6, [met];
\tst.global.b64\t[%d0+8], %d3;
\tst.global.b64\t[%d0+16], %d4;
\tst.global.b64\t[%d0+24], %d5;
\tst.global.b64\t[%d0+32], %d6;
\tst.release.sys.global.b64\t[%d0+40], %d1;
\tret;
}
";

/// The function that every GPU program has for printing.
pub(super) const PRINT: &str =
    ".extern .func (.param .b32 result) vprintf(.param .b64 format, .param .b64 arguments);\n";

/// Where the arguments of a print are put together.
pub(super) const PRINTED: &str = "tw_printed";

/// Texts that the module brings along.
#[derive(Debug, Default)]
pub(super) struct Strings {
    pub(super) texts: Vec<String>,
}

impl Strings {
    fn name(&mut self, text: String) -> String {
        let number = match self.texts.iter().position(|known| *known == text) {
            Some(known) => known,
            None => {
                self.texts.push(text);
                self.texts.len() - 1
            }
        };
        format!("text_{number}")
    }
}

impl Writer<'_> {
    pub(super) fn report(&mut self, report: &Report) {
        let Some(record) = self.kernel.record else {
            self.refuse("report without a record");
            return;
        };
        self.reports = true;
        let behind = report.predicate.map(|predicate| {
            let guard = self.guard(predicate, false);
            let behind = self.fresh_label();
            self.line(format!("{guard} bra\t{behind};"));
            behind
        });
        self.scoped(|w| {
            let record = w.argument(record);
            let site = w.compute(Class::Double, "mov.b64", report.site);
            let program = w.wide(report.program);
            let (value, met) = (w.register(report.value), w.register(report.met));
            w.line("{");
            let arguments = [record, site, program, value, met];
            for (number, argument) in arguments.into_iter().enumerate() {
                w.line(format!(".param .b64 report{number};"));
                w.line(format!("st.param.b64\t[report{number}], {argument};"));
            }
            w.line("call\ttw_report, (report0, report1, report2, report3, report4);");
            w.line("}");
        });
        if let Some(behind) = behind {
            self.label(&behind);
        }
    }

    pub(super) fn print(&mut self, format: &str, values: &[Use]) {
        let mut text = String::new();
        let mut arguments = Vec::new();
        for (number, part) in format.split("{}").enumerate() {
            if let Some(&value) = number.checked_sub(1).and_then(|number| values.get(number)) {
                let (place, argument) = self.printed_value(value);
                text += place;
                arguments.push(argument);
            }
            text += &part.replace('%', "%%");
        }
        text.push('\n');
        self.printed = self.printed.max(Some(arguments.len()));
        for (number, argument) in arguments.iter().enumerate() {
            self.line(format!("st.local.b64\t[{PRINTED}+{}], {argument};", 8 * number));
        }
        let format = self.text_address(text);
        let place = match arguments.is_empty() {
            true => self.compute(Class::Double, "mov.b64", 0),
            false => {
                let local = self.compute(Class::Double, "mov.b64", PRINTED);
                self.compute(Class::Double, "cvta.local.u64", local)
            }
        };
        self.line("{");
        self.line(".param .b64 format;");
        self.line(".param .b64 arguments;");
        self.line(".param .b32 result;");
        self.line(format!("st.param.b64\t[format], {format};"));
        self.line(format!("st.param.b64\t[arguments], {place};"));
        self.line("call\t(result), vprintf, (format, arguments);");
        self.line("}");
    }

    /// The generic address of a text.
    fn text_address(&mut self, text: String) -> Reg {
        let name = self.strings.name(text);
        let address = self.compute(Class::Double, "mov.b64", name);
        self.compute(Class::Double, "cvta.global.u64", address)
    }

    /// How a value prints, and the 64 bits that are printed so.
    fn printed_value(&mut self, value: Use) -> (&'static str, Reg) {
        let element = self.kernel.ty(value).element;
        let register = self.register(value);
        match element.kind() {
            ElementKind::Bool => {
                let (yes, no) = (
                    self.text_address("true".to_owned()),
                    self.text_address("false".to_owned()),
                );
                let text = self.compute(Class::Double, "selp.b64", format_args!("{yes}, {no}, {register}"));
                ("%s", text)
            }
            ElementKind::Float | ElementKind::Storage => match element {
                ElementType::F64 => ("%.17g", register),
                _ => ("%.9g", self.compute(Class::Double, "cvt.f64.f32", register)),
            },
            ElementKind::Signed | ElementKind::Unsigned => {
                let place = if element.is_signed() { "%lld" } else { "%llu" };
                let wide = match register.class {
                    Class::Double => register,
                    _ if element.is_signed() => self.compute(Class::Double, "cvt.s64.s32", register),
                    _ => self.compute(Class::Double, "cvt.u64.u32", register),
                };
                (place, wide)
            }
        }
    }

    /// The author's instructions, in a scope of their own, on registers whose names they do not have.
    pub(super) fn instructions(&mut self, ptx: &Ptx) {
        let outputs: Vec<Type> = ptx
            .outputs
            .iter()
            .map(|output| self.kernel.values[*output].ty)
            .collect();
        let inputs: Vec<(Type, Reg)> = ptx
            .inputs
            .iter()
            .map(|input| (self.kernel.ty(*input), self.register(*input)))
            .collect();
        let results: Vec<Held> = outputs.iter().map(|ty| self.fresh_held(*ty)).collect();
        self.line("{");
        let types = outputs.iter().chain(inputs.iter().map(|(ty, _)| ty));
        for (number, ty) in types.enumerate() {
            let width = if ty.element.size() == 2 {
                "b16"
            } else {
                bit_type(ty.element)
            };
            self.line(format!(".reg .{width} tw_operand{number};"));
        }
        for (number, (ty, register)) in (outputs.len()..).zip(&inputs) {
            match ty.element.size() {
                2 => self.line(format!("cvt.u16.u32\ttw_operand{number}, {register};")),
                _ => self.line(format!("mov.{}\ttw_operand{number}, {register};", bit_type(ty.element))),
            }
        }
        self.line("{");
        for line in substituted(&ptx.text).lines() {
            self.line(line);
        }
        self.line("}");
        for (number, held) in results.iter().enumerate() {
            let (element, Some(register)) = (held.ty.element, held.registers.first()) else {
                continue;
            };
            let sign = if element.is_signed() { "s" } else { "u" };
            match element.size() {
                2 => self.line(format!("cvt.{sign}32.{sign}16\t{register}, tw_operand{number};")),
                _ => self.line(format!("mov.{}\t{register}, tw_operand{number};", bit_type(element))),
            }
        }
        self.line("}");
        debug_assert!(results.iter().all(|held| class_of(held.ty.element) != Class::Predicate));
        for (output, held) in ptx.outputs.iter().zip(results) {
            self.define(*output, held);
        }
    }
}

/// A text with the names of the operands in place of `%0`, `%1`, …; `%%` is a percent sign.
fn substituted(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('%') {
        result += before;
        rest = behind;
        if let Some(behind) = rest.strip_prefix('%') {
            result.push('%');
            rest = behind;
        } else if rest.starts_with(|c: char| c.is_ascii_digit()) {
            // The digits stay.
            result += "tw_operand";
        } else {
            result.push('%');
        }
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::substituted;

    #[test]
    fn operands_of_the_authors_are_replaced_and_nothing_else() {
        assert_eq!(
            substituted("add.u32 %0, %1, %10; mov.u32 %%r, %%tid.x; // 50% of %%1"),
            "add.u32 tw_operand0, tw_operand1, tw_operand10; mov.u32 %r, %tid.x; // 50% of %1"
        );
    }
}
