//! Traces that are missing, empty or malformed.

use std::error::Error;

use tilewright::dp::trace::Trace;

use crate::support::{Outcome, fails};

#[test]
fn a_trace_that_is_missing_empty_or_malformed_names_the_file_and_the_line() -> Outcome {
    const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
    let scratch = tempfile::tempdir()?;
    let folder = scratch.path();
    fails(
        Trace::read(folder.join("no such trace.csv")),
        &["cannot open the trace", "no such trace.csv", "No such file"],
    );
    fails(
        Trace::read(folder),
        &[&folder.display().to_string(), "cannot read the trace"],
    );

    let file = folder.join("trace.csv");
    let read = |text: &[u8]| -> Result<Trace, Box<dyn Error>> {
        std::fs::write(&file, text)?;
        Ok(Trace::read(&file)?)
    };
    let line = "2023-11-16 18:15:46.6805900,374,44\n";
    fails(
        read(b""),
        &["trace.csv", "no request", "a header line and one line per request"],
    );
    fails(read(HEADER.as_bytes()), &["trace.csv", "no request"]);
    fails(
        read(b"TIMESTAMP,Tokens\n1,2\n"),
        &["trace.csv:1", "no column `ContextTokens`", "GeneratedTokens"],
    );
    let bad: [(&str, &[&str]); 7] = [
        (
            "2023-11-16 18:15:47,many,44",
            &["`ContextTokens` is `many`", "a whole number up to"],
        ),
        (
            "2023-11-16 18:15:47,374,-1",
            &["`GeneratedTokens` is -1", "cannot be negative"],
        ),
        (
            "2023-11-16 18:15:47,99999999999999999999,1",
            &["`ContextTokens`", "a whole number up to"],
        ),
        ("2023-11-16 18:15:47,NaN,1", &["`ContextTokens` is `NaN`"]),
        ("2023-11-16 18:15:47,374", &["`GeneratedTokens` is missing"]),
        ("noon,374,44", &["`TIMESTAMP` is `noon`", "2023-11-16 18:15:46"]),
        ("2023-02-30 18:15:47,374,44", &["`TIMESTAMP` is `2023-02-30 18:15:47`"]),
    ];
    for (bad, words) in bad {
        let error = fails(read(format!("{HEADER}{line}{bad}\n{line}").as_bytes()), words);
        assert!(error.to_string().contains("trace.csv:3: "), "{error}");
    }
    let mut bytes = format!("{HEADER}{line}").into_bytes();
    bytes.extend(b"2023-11-16 18:15:47,\xff,44\n");
    fails(read(&bytes), &["trace.csv:3", "cannot read the trace"]);
    assert_eq!(read(format!("{HEADER}{line}").as_bytes())?.requests().len(), 1);
    Ok(())
}
