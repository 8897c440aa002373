//! Reading a trace from CSV.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use csv::StringRecord;

use super::{Request, Trace, timestamp};

const TIMESTAMP: &str = "TIMESTAMP";
const CONTEXT: &str = "ContextTokens";
const GENERATED: &str = "GeneratedTokens";

/// More tokens than any request has; a larger number is a mistake in the file.
const MAX_TOKENS: u64 = 1 << 32;

/// A trace that cannot be read. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be opened.
    #[error("cannot open the trace {}: {source}", file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be read to its end, or is no CSV.
    #[error("{}:{line}: cannot read the trace: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The line, as far as it is known.
        line: u64,
        /// Why.
        source: csv::Error,
    },
    /// There is no request in the file.
    #[error("{}: the trace holds no request; it needs a header line and one line per request", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// The header lacks a column.
    #[error("{}:1: the trace has no column `{column}`; it needs {TIMESTAMP},{CONTEXT},{GENERATED}", file.display())]
    MissingColumn {
        /// The file.
        file: PathBuf,
        /// The column.
        column: &'static str,
    },
    /// A line ends before a column.
    #[error("{}:{line}: the value of `{column}` is missing", file.display())]
    MissingValue {
        /// The file.
        file: PathBuf,
        /// The line.
        line: u64,
        /// The column.
        column: &'static str,
    },
    /// A token count that is no whole number, or absurdly large.
    #[error("{}:{line}: `{column}` is `{text}`, which is not a token count (a whole number up to {MAX_TOKENS})", file.display())]
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
    #[error("{}:{line}: `{column}` is {text}; a token count cannot be negative", file.display())]
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
    #[error("{}:{line}: `{TIMESTAMP}` is `{text}`, which is not a time such as `2023-11-16 18:15:46.6805900`", file.display())]
    NotATime {
        /// The file.
        file: PathBuf,
        /// The line.
        line: u64,
        /// What is written there.
        text: String,
    },
}

impl Trace {
    /// Reads a trace from a CSV file. Columns may be in any order, and there may be others.
    ///
    /// # Errors
    /// The file cannot be read, holds no request, lacks a column, or has a malformed value; the error names the file and
    /// the line.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, TraceError> {
        let file = file.as_ref();
        let reader = File::open(file).map_err(|source| TraceError::Open {
            file: file.to_owned(),
            source,
        })?;
        Self::parse(reader, file)
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
            .from_reader(reader);
        let header = reader.headers().map_err(|source| read_error(file, source))?.clone();
        if header.is_empty() {
            return Err(TraceError::Empty { file: file.to_owned() });
        }
        let columns = Columns::find(file, &header)?;
        let mut requests = Vec::new();
        for record in reader.into_records() {
            requests.push(columns.request(file, &record.map_err(|source| read_error(file, source))?)?);
        }
        // A recorder may write requests when they end; what counts is when they came.
        requests.sort_by_key(|&(arrival, ..)| arrival);
        let Some(&(first, ..)) = requests.first() else {
            return Err(TraceError::Empty { file: file.to_owned() });
        };
        let after_first = |arrival: i128| Duration::from_nanos(u64::try_from(arrival - first).unwrap_or(u64::MAX));
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
    let line = source.position().map_or(1, csv::Position::line);
    TraceError::Read {
        file: file.to_owned(),
        line,
        source,
    }
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
            // Spreadsheets put a byte order mark before the first name.
            let position = header
                .iter()
                .position(|name| name.trim_start_matches('\u{feff}') == column);
            position.ok_or_else(|| TraceError::MissingColumn {
                file: file.to_owned(),
                column,
            })
        };
        Ok(Self {
            timestamp: find(TIMESTAMP)?,
            context: find(CONTEXT)?,
            generated: find(GENERATED)?,
        })
    }

    /// A line's arrival in nanoseconds, prompt tokens and answer tokens.
    fn request(&self, file: &Path, record: &StringRecord) -> Result<(i128, u64, u64), TraceError> {
        let line = record.position().map_or(0, csv::Position::line);
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
