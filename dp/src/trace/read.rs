//! Reading a trace from CSV.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use csv::StringRecord;

use super::bounded::{Bounded, TooMuch};
use super::{MAX_BYTES, MAX_LINE, MAX_REQUESTS, MAX_TOKENS, Request, Trace, timestamp};
use crate::file::is_named_pipe;
use crate::text::value;

const NANOSECONDS: u128 = 1_000_000_000;

const TIMESTAMP: &str = "TIMESTAMP";
const CONTEXT: &str = "ContextTokens";
const GENERATED: &str = "GeneratedTokens";

/// A trace that cannot be read. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be opened.
    #[error("cannot open the trace {}: {source}", name(file))]
    Open {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is a named pipe, from which nothing may ever come.
    #[error("the trace {} is a named pipe; read from a file", name(file))]
    Pipe {
        /// The file.
        file: PathBuf,
    },
    /// The file has over [`MAX_BYTES`].
    #[error("the trace {} has over {MAX_BYTES} bytes; cut it into parts", name(file))]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// A line has over [`MAX_LINE`] bytes.
    #[error(
        "{}:{line}: the line has over {MAX_LINE} bytes, so this is no trace of requests",
        name(file)
    )]
    LongLine {
        /// The file.
        file: PathBuf,
        /// The line.
        line: u64,
    },
    /// The file has over [`MAX_REQUESTS`].
    #[error(
        "{}:{line}: the trace has over {MAX_REQUESTS} requests; cut it into parts",
        name(file)
    )]
    TooManyRequests {
        /// The file.
        file: PathBuf,
        /// The line of the first that is too many.
        line: u64,
    },
    /// The file cannot be read to its end, or is no CSV.
    #[error("{}:{line}: cannot read the trace: {source}", name(file))]
    Read {
        /// The file.
        file: PathBuf,
        /// The line, as far as it is known.
        line: u64,
        /// Why.
        source: csv::Error,
    },
    /// There is no request in the file.
    #[error(
        "{}: the trace holds no request; it needs a header line and one line per request",
        name(file)
    )]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// The header lacks a column.
    #[error(
        "{}:1: the trace has no column `{column}`; it needs {TIMESTAMP},{CONTEXT},{GENERATED}",
        name(file)
    )]
    MissingColumn {
        /// The file.
        file: PathBuf,
        /// The column.
        column: &'static str,
    },
    /// The header has a column twice.
    #[error("{}:1: the trace has two columns `{column}`; leave out one", name(file))]
    DuplicateColumn {
        /// The file.
        file: PathBuf,
        /// The column.
        column: &'static str,
    },
    /// A line ends before a column.
    #[error("{}:{line}: the value of `{column}` is missing", name(file))]
    MissingValue {
        /// The file.
        file: PathBuf,
        /// The line.
        line: u64,
        /// The column.
        column: &'static str,
    },
    /// A token count that is no whole number, or absurdly large.
    #[error(
        "{}:{line}: `{column}` is `{}`, which is not a token count (a whole number up to {MAX_TOKENS})",
        name(file),
        value(text)
    )]
    NotACount {
        /// The file.
        file: PathBuf,
        /// The line.
        line: u64,
        /// The column.
        column: &'static str,
        /// What is written there.
        text: String,
    },
    /// A token count below zero.
    #[error(
        "{}:{line}: `{column}` is {}; a token count cannot be negative",
        name(file),
        value(text)
    )]
    Negative {
        /// The file.
        file: PathBuf,
        /// The line.
        line: u64,
        /// The column.
        column: &'static str,
        /// What is written there.
        text: String,
    },
    /// A timestamp that is no date and time.
    #[error(
        "{}:{line}: `{TIMESTAMP}` is `{}`, which is not a time such as `2023-11-16 18:15:46.6805900`",
        name(file),
        value(text)
    )]
    NotATime {
        /// The file.
        file: PathBuf,
        /// The line.
        line: u64,
        /// What is written there.
        text: String,
    },
}

fn name(file: &Path) -> String {
    value(&file.to_string_lossy())
}

impl Trace {
    /// Reads a trace from a CSV file. Columns may be in any order, and there may be others.
    ///
    /// # Errors
    /// The file cannot be read, holds no request or too many, lacks a column or has it twice, or has a malformed value; the
    /// error names the file and the line. A named pipe is refused, since nothing may ever come from it; standard input and
    /// the pipes that a shell makes can be read.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, TraceError> {
        let file = file.as_ref();
        let cannot_open = |source| TraceError::Open {
            file: file.to_owned(),
            source,
        };
        if is_named_pipe(file) {
            return Err(TraceError::Pipe { file: file.to_owned() });
        }
        Self::parse(File::open(file).map_err(cannot_open)?, file)
    }

    /// Reads a trace from anything that yields CSV; `name` is what errors call it.
    ///
    /// # Errors
    /// As [`Trace::read`].
    pub fn parse(reader: impl Read, name: impl AsRef<Path>) -> Result<Self, TraceError> {
        let file = name.as_ref();
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(Bounded::new(reader));
        let header = reader.headers().map_err(|source| read_error(file, source))?.clone();
        if header.is_empty() {
            return Err(TraceError::Empty { file: file.to_owned() });
        }
        let columns = Columns::find(file, &header)?;
        let mut requests = Vec::new();
        for record in reader.into_records() {
            let record = record.map_err(|source| read_error(file, source))?;
            if requests.len() == MAX_REQUESTS {
                return Err(TraceError::TooManyRequests {
                    file: file.to_owned(),
                    line: line_of(&record),
                });
            }
            requests.push(columns.request(file, &record)?);
        }
        // A recorder may write requests when they end; what counts is when they came.
        requests.sort_by_key(|&(arrival, ..)| arrival);
        let Some(&(first, ..)) = requests.first() else {
            return Err(TraceError::Empty { file: file.to_owned() });
        };
        // Years have at most nine digits, so their seconds fit.
        let after_first = |arrival: i128| {
            let nanoseconds = (arrival - first) as u128;
            Duration::new((nanoseconds / NANOSECONDS) as u64, (nanoseconds % NANOSECONDS) as u32)
        };
        let requests = requests
            .into_iter()
            .map(|(arrival, context_tokens, generated_tokens)| Request {
                arrival: after_first(arrival),
                context_tokens,
                generated_tokens,
            });
        Ok(Self {
            requests: requests.collect(),
        })
    }
}

fn read_error(file: &Path, source: csv::Error) -> TraceError {
    let file = file.to_owned();
    match TooMuch::of(&source) {
        Some(TooMuch::Bytes) => TraceError::TooLarge { file },
        Some(TooMuch::Line(line)) => TraceError::LongLine { file, line },
        None => TraceError::Read {
            line: source.position().map_or(1, csv::Position::line),
            file,
            source,
        },
    }
}

fn line_of(record: &StringRecord) -> u64 {
    record.position().map_or(0, csv::Position::line)
}

/// Where each column is.
struct Columns {
    timestamp: usize,
    context: usize,
    generated: usize,
}

impl Columns {
    fn find(file: &Path, header: &StringRecord) -> Result<Self, TraceError> {
        let find = |column: &'static str| {
            let file = file.to_owned();
            // Spreadsheets put a byte order mark before the first name.
            let mut names = header.iter().map(|name| name.strip_prefix('\u{feff}').unwrap_or(name));
            let Some(position) = names.position(|name| name == column) else {
                return Err(TraceError::MissingColumn { file, column });
            };
            match names.any(|name| name == column) {
                true => Err(TraceError::DuplicateColumn { file, column }),
                false => Ok(position),
            }
        };
        Ok(Self {
            timestamp: find(TIMESTAMP)?,
            context: find(CONTEXT)?,
            generated: find(GENERATED)?,
        })
    }

    /// A line's arrival in nanoseconds, prompt tokens and answer tokens.
    fn request(&self, file: &Path, record: &StringRecord) -> Result<(i128, u64, u64), TraceError> {
        let line = line_of(record);
        let value = |at: usize, column: &'static str| match record.get(at) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(TraceError::MissingValue {
                file: file.to_owned(),
                line,
                column,
            }),
        };
        let count = |at, column| -> Result<u64, TraceError> {
            let text = value(at, column)?;
            let file = file.to_owned();
            match text.parse::<i128>() {
                Ok(number) if number < 0 => Err(TraceError::Negative {
                    file,
                    line,
                    column,
                    text: text.to_owned(),
                }),
                Ok(number) if number <= MAX_TOKENS as i128 => Ok(number as u64),
                _ => Err(TraceError::NotACount {
                    file,
                    line,
                    column,
                    text: text.to_owned(),
                }),
            }
        };
        let text = value(self.timestamp, TIMESTAMP)?;
        let arrival = timestamp::parse(text);
        let arrival = arrival.ok_or_else(|| TraceError::NotATime {
            file: file.to_owned(),
            line,
            text: text.to_owned(),
        })?;
        Ok((
            arrival,
            count(self.context, CONTEXT)?,
            count(self.generated, GENERATED)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n";

    fn parse(lines: &str) -> Result<Trace, String> {
        Trace::parse(format!("{HEADER}{lines}").as_bytes(), "trace.csv").map_err(|error| error.to_string())
    }

    #[test]
    fn requests_are_ordered_by_arrival() {
        let trace = parse("2023-11-16 18:15:47,5,6\n2023-11-16 18:15:46.5,374,44\n").unwrap();
        let request = |milliseconds, context_tokens, generated_tokens| Request {
            arrival: Duration::from_millis(milliseconds),
            context_tokens,
            generated_tokens,
        };
        assert_eq!(trace.requests(), [request(0, 374, 44), request(500, 5, 6)]);
    }

    #[test]
    fn columns_are_found_by_name() {
        let text = "Model,GeneratedTokens,ContextTokens,TIMESTAMP\r\nx, 7 ,8,2023-11-16 18:15:47\r\n";
        let trace = Trace::parse(text.as_bytes(), "trace.csv").unwrap();
        assert_eq!(
            (trace.requests()[0].context_tokens, trace.requests()[0].generated_tokens),
            (8, 7)
        );
    }

    #[test]
    fn every_mistake_names_file_and_line() {
        let good = "2023-11-16 18:15:46.6805900,374,44\n";
        for (line, expected) in [
            (
                "2023-11-16 18:15:47,x,44",
                "trace.csv:3: `ContextTokens` is `x`, which is not a token count",
            ),
            (
                "2023-11-16 18:15:47,1.5,44",
                "trace.csv:3: `ContextTokens` is `1.5`, which is not a token count",
            ),
            (
                "2023-11-16 18:15:47,9999999999999,44",
                "trace.csv:3: `ContextTokens` is `9999999999999`",
            ),
            (
                "2023-11-16 18:15:47,374,-44",
                "trace.csv:3: `GeneratedTokens` is -44; a token count cannot be negative",
            ),
            (
                "2023-11-16 18:15:47,374",
                "trace.csv:3: the value of `GeneratedTokens` is missing",
            ),
            (
                "2023-11-16 18:15:47,,44",
                "trace.csv:3: the value of `ContextTokens` is missing",
            ),
            (
                "yesterday,374,44",
                "trace.csv:3: `TIMESTAMP` is `yesterday`, which is not a time",
            ),
        ] {
            let error = parse(&format!("{good}{line}\n{good}")).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_column_that_is_there_twice_is_refused_and_any_other_is_not() {
        let parse = |header: &str| {
            let text = format!("{header}\n2023-11-16 18:15:47,5,6,7,8\n");
            Trace::parse(text.as_bytes(), "trace.csv").map_err(|error| error.to_string())
        };
        for column in [TIMESTAMP, CONTEXT, GENERATED] {
            assert_eq!(
                parse(&format!("{TIMESTAMP},{CONTEXT},{GENERATED},{column}")).unwrap_err(),
                format!("trace.csv:1: the trace has two columns `{column}`; leave out one")
            );
        }
        assert!(parse(&format!("\u{feff}{TIMESTAMP},{TIMESTAMP},{CONTEXT},{GENERATED}")).is_err());
        assert!(parse(&format!("\u{feff}{TIMESTAMP},{CONTEXT},{GENERATED},Model,Model")).is_ok());
        assert!(parse(&format!("\u{feff}\"{TIMESTAMP}\",{CONTEXT},{GENERATED}")).is_ok());
    }

    #[test]
    fn a_request_has_no_more_tokens_than_the_most() {
        let line = |context: u64, generated: u64| parse(&format!("2023-11-16 18:15:47,{context},{generated}\n"));
        assert!(line(MAX_TOKENS, MAX_TOKENS).is_ok());
        for (context, generated) in [(MAX_TOKENS + 1, 1), (1, MAX_TOKENS + 1), (1 << 32, 1), (u64::MAX, 1)] {
            let error = line(context, generated).unwrap_err();
            assert!(error.contains("a whole number up to 16777216"), "{error}");
        }
    }

    #[test]
    fn arrivals_may_be_centuries_apart() {
        let trace = parse("0001-01-01 00:00:00,1,1\n9999-12-31 23:59:59.5,1,1\n").unwrap();
        assert_eq!(trace.requests()[1].arrival, Duration::from_millis(315_537_897_599_500));
        assert!(parse("999999999-01-01 00:00:00,1,1\n0001-01-01 00:00:00,1,1\n").is_ok());
    }

    #[test]
    fn what_never_ends_is_refused_in_time() {
        let error = |reader: &mut dyn Read| Trace::parse(reader, "trace.csv").unwrap_err();
        // A line without an end, at once and after others.
        assert!(matches!(
            error(&mut std::io::repeat(0)),
            TraceError::LongLine { line: 1, .. }
        ));
        let mut endless = HEADER.as_bytes().chain(std::io::repeat(b'"'));
        assert!(matches!(error(&mut endless), TraceError::LongLine { line: 2, .. }));
    }

    #[test]
    fn huge_values_are_not_repeated_whole() {
        let huge = "9".repeat(MAX_LINE as usize / 2);
        for line in [
            format!("2023-11-16 18:15:47,{huge},1"),
            format!("2023-11-16 18:15:47,1,-{huge}"),
            format!("{huge},1,1"),
        ] {
            let error = parse(&line).unwrap_err();
            assert!(error.len() < 300, "{error}");
        }
        let error = Trace::read("n".repeat(100_000)).unwrap_err().to_string();
        assert!(error.len() < 300, "{error}");
    }

    #[test]
    fn files_without_requests_are_errors() {
        let text = |text: &str| Trace::parse(text.as_bytes(), "trace.csv").unwrap_err().to_string();
        assert!(text("").starts_with("trace.csv: the trace holds no request"));
        assert!(text(HEADER).starts_with("trace.csv: the trace holds no request"));
        assert!(
            text("TIMESTAMP,ContextTokens\n").starts_with("trace.csv:1: the trace has no column `GeneratedTokens`")
        );
        let error = Trace::read("no/such/trace.csv").unwrap_err().to_string();
        assert!(
            error.starts_with("cannot open the trace no/such/trace.csv: "),
            "{error}"
        );
        assert!(text("TIMESTAMP,ContextTokens,GeneratedTokens\n\u{0}").contains("trace.csv:2"));
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        let mut bytes = HEADER.as_bytes().to_vec();
        bytes.extend(b"2023-11-16 18:15:46,\xff,1\n");
        let error = Trace::parse(bytes.as_slice(), "trace.csv").unwrap_err();
        assert!(matches!(error, TraceError::Read { line: 2, .. }), "{error}");
    }
}
