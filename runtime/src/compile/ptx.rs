//! What an assembler of PTX says, read back into findings.
//!
//! `ptxas`, `nvJitLink` and the driver name lines of the text, which knows where each of them comes from.

use std::time::Instant;

use tilewright_dsl::backend::ptx::Text;

use super::diagnostic::assembler;
use super::unended::{Compilation, UNENDED};
use super::{CompileError, CompileOptions, Cubin, Diagnostic};

/// What an assembler made of a text, or what it says against it.
pub(crate) type Assembled<E> = Result<Result<Vec<u8>, String>, E>;

/// The cubin of a text of PTX, by an assembler that any thread may call. What takes longer than the options' limit is an
/// error, and its thread is left to itself.
///
/// # Errors
/// The assembler refuses the text or does not end; or it fails in a way of its own.
pub(crate) fn assemble<E: From<CompileError> + Send + 'static>(
    text: &Text,
    kernel: &str,
    options: &CompileOptions,
    assembler: impl FnOnce(&str) -> Assembled<E> + Send + 'static,
) -> Result<Cubin, E> {
    let started = Instant::now();
    let compilation = Compilation {
        kernel: kernel.to_owned(),
        source: text.text.clone(),
        arguments: Vec::new(),
    };
    let source = text.text.clone();
    let result = UNENDED.within(compilation, options.limit, move || assembler(&source))?;
    let bytes = result?.map_err(|log| CompileError::Rejected {
        compiler: "the driver",
        kernel: kernel.to_owned(),
        architecture: options.arch,
        diagnostics: parse_ptx_log(&log, text),
        log,
    })?;
    tracing::debug!(kernel, architecture = %options.arch, elapsed = ?started.elapsed(), bytes = bytes.len(), "assembled");
    Ok(Cubin {
        bytes: bytes.into(),
        architecture: options.arch,
        log: String::new(),
    })
}

/// The findings of a log about a text, in its order, each at the line of Rust that it is about. Lines of the log that are no
/// findings are left out.
pub fn parse_ptx_log(log: &str, text: &Text) -> Vec<Diagnostic> {
    log.lines().filter_map(|line| finding(line, text)).collect()
}

fn finding(line: &str, source: &Text) -> Option<Diagnostic> {
    let (number, severity, message) = assembler(line)?;
    let span = source.span(number);
    let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let excerpt = at.and_then(|at| source.text.lines().nth(at));
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
    use super::super::Severity;
    use super::*;
    use tilewright_dsl::backend::ptx::{Target, print};
    use tilewright_dsl::element::ElementType;
    use tilewright_dsl::ir::{Literal, Span};
    use tilewright_dsl::thread::{Builder, Ptx, Statement, Type, Value};
    use tilewright_testing::{Part, Ptxas};

    /// A kernel with an instruction that there is not, of the author's.
    fn mistaken() -> Text {
        let mut b = Builder::new("mistaken", 32);
        b.at(Span {
            file: "kernels/own.rs",
            line: 12,
            column: 9,
        });
        let ty = Type::scalar(ElementType::U32);
        let output = b.kernel_mut().values.append(Value::of(ty));
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
        let text = mistaken();
        let (line, _) = (1..)
            .zip(text.text.lines())
            .find(|(_, line)| line.contains("add.q32"))
            .expect("the line");
        let log = format!(
            "ptxas application ptx input, line {line}; error   : Unknown modifier '.q32'\n\
             ptxas fatal   : Ptx assembly aborted due to errors\n\
             ERROR NVJITLINK_ERROR_PTX_COMPILE: JIT the PTX (mistaken)\n"
        );
        let found = parse_ptx_log(&log, &text);
        is_of_the_author(&found);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].to_string(), "error: Ptx assembly aborted due to errors");
        assert!(parse_ptx_log("", &text).is_empty());
        // No line of this text.
        let beyond = parse_ptx_log("ptxas x, line 4294967295; warning : odd", &text);
        assert_eq!(beyond[0].to_string(), "warning: odd");
    }

    #[test]
    fn the_assembler_speaks_so() {
        let Some(ptxas) = Part::Ptxas.or_skip(Ptxas::find()) else {
            return;
        };
        let text = mistaken();
        let log = ptxas
            .assemble(&text.text, "sm_90", &[])
            .expect_err("no such instruction");
        is_of_the_author(&parse_ptx_log(&log, &text));
    }
}
