//! What an assembler of PTX says, read back into findings.
//!
//! `ptxas`, `nvJitLink` and the driver name lines of the text, which knows where each of them comes from.

use tilewright_dsl::backend::ptx::Module;

use super::Diagnostic;
use super::diagnostic::Severity;

/// The findings of a log about a text, in its order, each at the line of Rust that it is about. Lines of the log that are no
/// findings are left out.
pub fn parse_ptx_log(log: &str, module: &Module) -> Vec<Diagnostic> {
    log.lines().filter_map(|line| finding(line, module)).collect()
}

/// Reads `ptxas application ptx input, line 37; error   : message`, or the same without a place.
fn finding(line: &str, module: &Module) -> Option<Diagnostic> {
    let said = line.strip_prefix("ptxas ")?;
    let placed = said.match_indices(", line ").find_map(|(at, words)| {
        let (number, rest) = said[at + words.len()..].split_once(';')?;
        Some((number.parse::<u32>().ok()?, rest.trim_start()))
    });
    let (number, rest) = placed.unwrap_or((0, said));
    let (severity, message) = Severity::split(rest)?;
    let span = module.span(number);
    let text = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let excerpt = text.and_then(|at| module.text.lines().nth(at));
    Some(Diagnostic {
        file: span.map_or_else(String::new, |span| span.file.to_owned()),
        line: span.map_or(0, |span| span.line),
        severity,
        message: message.to_owned(),
        excerpt: excerpt.map(|line| line.trim().to_owned()).into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tilewright_dsl::backend::ptx::{Target, print};
    use tilewright_dsl::element::ElementType;
    use tilewright_dsl::ir::{Literal, Span};
    use tilewright_dsl::thread::{Builder, Ptx, Statement, Type, Value};
    use tilewright_testing::{Part, Ptxas};

    /// A kernel with an instruction that there is not, of the author's.
    fn mistaken() -> Module {
        let mut b = Builder::new("mistaken", 32);
        b.at(Span {
            file: "kernels/own.rs",
            line: 12,
            column: 9,
        });
        let ty = Type::scalar(ElementType::U32);
        let output = b.kernel_mut().values.append(Value { ty, facts: None });
        b.push(Statement::Ptx(Ptx {
            text: "add.q32 %0, %1, 1;".to_owned(),
            outputs: vec![output],
            inputs: vec![Literal::new(7u32).into()],
            meaning: None,
        }));
        print(&b.finish(), Target::new(90).expect("a target")).expect("it prints")
    }

    fn is_of_the_author(found: &[Diagnostic]) {
        let first = found.first().expect("a finding");
        assert_eq!((first.file.as_str(), first.line), ("kernels/own.rs", 12));
        assert_eq!(first.severity, Severity::Error);
        assert!(first.message.contains(".q32"), "{first}");
        assert_eq!(first.excerpt, ["add.q32 tw_operand0, tw_operand1, 1;"]);
    }

    #[test]
    fn findings_about_a_text_are_at_lines_of_rust() {
        let module = mistaken();
        let (line, _) = (1..)
            .zip(module.text.lines())
            .find(|(_, line)| line.contains("add.q32"))
            .expect("the line");
        let log = format!(
            "ptxas application ptx input, line {line}; error   : Unknown modifier '.q32'\n\
             ptxas fatal   : Ptx assembly aborted due to errors\n\
             ERROR NVJITLINK_ERROR_PTX_COMPILE: JIT the PTX (mistaken)\n"
        );
        let found = parse_ptx_log(&log, &module);
        is_of_the_author(&found);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].to_string(), "error: Ptx assembly aborted due to errors");
        assert!(parse_ptx_log("", &module).is_empty());
        // No line of this text.
        let beyond = parse_ptx_log("ptxas x, line 4294967295; warning : odd", &module);
        assert_eq!(beyond[0].to_string(), "warning: odd");
    }

    #[test]
    fn the_assembler_speaks_so() {
        let Some(ptxas) = Part::Ptxas.or_skip(Ptxas::find()) else {
            return;
        };
        let module = mistaken();
        let log = ptxas
            .assemble(&module.text, "sm_90", &[])
            .expect_err("no such instruction");
        is_of_the_author(&parse_ptx_log(&log, &module));
    }
}
