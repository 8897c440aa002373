//! What a panic says, for errors that tell of one.

use std::any::Any;

/// The message of a panic that was caught.
///
/// ```
/// let panic = std::panic::catch_unwind(|| panic!("{} rows", 3)).unwrap_err();
/// assert_eq!(tilewright_dsl::panic::message(&*panic), "3 rows");
/// ```
pub fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it has no message")
}
