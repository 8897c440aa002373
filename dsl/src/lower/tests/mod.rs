//! Kernels that are lowered, and do the same as the tile interpreter says.

mod alone;
mod apart;
mod barriers;
mod clusters;
mod effects;
mod firsts;
mod in_order;
mod kept;
mod lines;
mod loops;
mod marks;
mod meeting;
mod movement;
mod peers;
mod ptx;
mod random;
mod run;
mod shapes;
mod sorts;
mod wide;

/// Compares a text with the file that is kept.
fn golden(file: &str, text: &str) {
    let path = format!("{}/src/lower/tests/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var("TILEWRIGHT_BLESS").is_ok_and(|value| value == "1") {
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text, kept,
        "{text}\nIf this is meant, TILEWRIGHT_BLESS=1 writes the file anew."
    );
}
