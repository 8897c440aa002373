//! What readings have to be: bars, as data beside the readings.

use serde_json::Value;

use super::{Case, Figure, Role};

/// The most that a time may be of another one, for some of the cases.
#[derive(Debug)]
pub struct Bar {
    operations: Vec<String>,
    columns: [u64; 2],
    rows: [u64; 2],
    elements: Vec<String>,
    misaligned: Vec<String>,
    /// Cold alone, if it does not say.
    l2: Vec<String>,
    over: Role,
    most: f64,
}

/// A case that is not what a bar asks.
#[derive(Debug, PartialEq)]
pub struct Unmet {
    /// The case, and on how many rows.
    pub case: String,
    /// What it takes.
    pub is: f64,
    /// What it may take at most.
    pub most: f64,
    /// Of what.
    pub over: &'static str,
}

impl Bar {
    /// Those of a file; which one is none, and why.
    pub fn parse(text: &str) -> Result<Vec<Self>, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
        let bars = value.as_array().ok_or("no list of bars")?;
        let numbered = bars.iter().enumerate();
        let bar = |(number, bar)| Self::of(bar).map_err(|field| format!("bar {number} has no `{field}`"));
        numbered.map(bar).collect()
    }

    fn of(value: &Value) -> Result<Self, &'static str> {
        let words = |field: &str| {
            let words = value[field].as_array().into_iter().flatten();
            words.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        // From and to, either of which may be left out.
        let between = |field: &str| {
            let end = |end: usize, otherwise| value[field][end].as_u64().unwrap_or(otherwise);
            [end(0, 0), end(1, u64::MAX)]
        };
        let operations = words("operations");
        match operations.is_empty() {
            true => Err("operations"),
            false => Ok(Self {
                operations,
                columns: between("columns"),
                rows: between("rows"),
                elements: words("elements"),
                misaligned: words("misaligned"),
                l2: match words("l2") {
                    none if none.is_empty() => vec!["cold".to_owned()],
                    some => some,
                },
                over: match value["over"].as_str() {
                    Some("copy") => Role::Floor,
                    Some("by hand") => Role::Hand,
                    Some("best peer") => Role::Peer,
                    _ => return Err("over"),
                },
                most: value["most"].as_f64().ok_or("most")?,
            }),
        }
    }

    fn is_about(&self, case: &Case, rows: u64) -> bool {
        let within = |[least, most]: [u64; 2], number| least <= number && number <= most;
        let names = |list: &[String], name: &String| list.is_empty() || list.contains(name);
        self.operations.contains(&case.operation)
            && within(self.columns, case.columns)
            && within(self.rows, rows)
            && names(&self.elements, &case.element)
            && names(&self.misaligned, &case.misaligned)
            && names(&self.l2, &case.l2)
    }
}

/// How many cases bars are about that have been measured, each over what it is to be compared with, and which of them are slower. Of
/// several bars for one of these the strictest counts.
pub fn judge(bars: &[Bar], figures: &[Figure]) -> (usize, Vec<Unmet>) {
    let mut judged: Vec<(&Case, u64)> = Vec::new();
    let (mut cases, mut unmet) = (0, Vec::new());
    for figure in figures.iter().filter(|figure| figure.role == Role::Ours) {
        let at = (&figure.case, figure.rows);
        if judged.contains(&at) {
            continue;
        }
        judged.push(at);
        for over in [Role::Floor, Role::Hand, Role::Peer] {
            let about = bars.iter().filter(|bar| bar.over == over && bar.is_about(at.0, at.1));
            let strictest = about.map(|bar| bar.most).min_by(f64::total_cmp);
            let best = |role| super::best(figures, at.0, at.1, role);
            let Some((most, (ours, other))) = strictest.zip(best(Role::Ours).zip(best(over))) else {
                continue;
            };
            cases += 1;
            if ours / other > most {
                unmet.push(Unmet {
                    case: format!("{} on {} rows", at.0, at.1),
                    is: ours / other,
                    most,
                    over: over.name(),
                });
            }
        }
    }
    (cases, unmet)
}
