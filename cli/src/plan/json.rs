//! Requests as JSON from standard input, plans as JSON to standard output.

use std::io::{self, Read};

use tilewright::dp::plan::{Plan, Request};

use crate::error::CommandError;

/// The most bytes of standard input. All requests and their plans are kept until the last is planned, so that a mistake in
/// one is told before anything is printed.
pub const MAX_BYTES: u64 = 16 << 20;

/// The mark that some editors and shells put first, in UTF-8 and in both orders of UTF-16.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const OF_UTF_16: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// The plans of the requests on standard input, one a line.
pub fn plans() -> Result<String, CommandError> {
    let mut input = Vec::new();
    io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut input)?;
    if input.len() as u64 > MAX_BYTES {
        return Err(CommandError::InputTooLarge);
    }
    if OF_UTF_16.iter().any(|mark| input.starts_with(mark)) {
        return Err(CommandError::Utf16);
    }
    let input = input.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&input);
    let requests: Vec<Request> = match input.trim_ascii_start().first() {
        None => return Err(CommandError::NoInput),
        Some(b'[') => serde_json::from_slice(input)?,
        Some(_) => vec![serde_json::from_slice(input)?],
    };
    let plan = |(index, request): (usize, &Request)| {
        let plan = Plan::new(request).map_err(|source| CommandError::Request { index, source })?;
        Ok(serde_json::to_string(&plan)?)
    };
    let plans = requests.iter().enumerate().map(plan);
    let plans = plans.collect::<Result<Vec<_>, CommandError>>()?;
    Ok(format!("[\n{}\n]\n", plans.join(",\n")))
}
