//! Instructions of the author's own.

use super::print::in_quotes;
use super::pull::Point;
use super::types::c_type;
use super::writer::Writer;
use crate::element::ElementType;
use crate::ir::Ptx;

impl Writer<'_> {
    /// Runs instructions on one element; returns the output that is wanted.
    pub(super) fn ptx(&mut self, code: &Ptx, point: &Point) -> String {
        let mut inputs = Vec::new();
        for &input in &code.inputs {
            let element = self.kernel.ty(input).element;
            let value = self.pull(input, point);
            inputs.push(format!("\"{}\"({value})", constraint(element)));
        }
        let names: Vec<String> = code.outputs.iter().map(|_| self.fresh("asm")).collect();
        let mut outputs = Vec::new();
        for (&element, name) in code.outputs.iter().zip(&names) {
            self.line(format!("{} {name};", c_type(element)));
            outputs.push(format!("\"={}\"({name})", constraint(element)));
        }
        // Pure instructions: what nothing uses, or what is computed twice, the compiler may leave out.
        let (outputs, inputs, text) = (outputs.join(", "), inputs.join(", "), in_quotes(&code.text));
        self.line(format!("asm(\"{{{text}}}\" : {outputs} : {inputs});"));
        // NVVM 13.0 does not end if a loop decides by one of several outputs; alone, as what nothing came of, each is fine.
        if names.len() > 1 {
            for (&element, name) in code.outputs.iter().zip(&names) {
                self.line(format!("asm(\"\" : \"+{}\"({name}));", constraint(element)));
            }
        }
        names.get(code.output).cloned().unwrap_or_default()
    }
}

fn constraint(element: ElementType) -> &'static str {
    match element {
        ElementType::F32 => "f",
        ElementType::F64 => "d",
        _ => match element.size() {
            2 => "h",
            4 => "r",
            _ => "l",
        },
    }
}
