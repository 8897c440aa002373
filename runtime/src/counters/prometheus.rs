//! Counters as Prometheus reads them.

use std::fmt::Write;

use super::Counters;

pub(super) fn text(counters: &Counters, labels: &str) -> String {
    let mut text = String::new();
    let braced = if labels.is_empty() {
        String::new()
    } else {
        format!("{{{labels}}}")
    };
    let mut one = |name: &str, kind: &str, help: &str, samples: &[(String, String)]| {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (suffix, value) in samples {
            let _ = writeln!(text, "{name}{suffix} {value}");
        }
    };
    let seconds = |nanos: u64| (nanos as f64 / 1e9).to_string();
    let simple = |value: String| [(braced.clone(), value)];
    let with = |suffix: &str, name: &str, value: &str, count: u64| {
        let comma = if labels.is_empty() { "" } else { "," };
        (
            format!("{suffix}{{{labels}{comma}{name}=\"{value}\"}}"),
            count.to_string(),
        )
    };

    let c = counters;
    for (name, help, value) in [
        ("launches", "Launches.", c.launches),
        ("launch_hits", "Launches for which no variant had to be built.", c.hits),
        ("traces", "Kernels recorded.", c.traces),
        ("compiles", "Variants compiled.", c.compiles),
        ("compile_waits", "Launches that waited for a variant.", c.waits),
        (
            "promotions",
            "Variants built behind that serve in place of others.",
            c.promotions,
        ),
        (
            "rejections",
            "Variants with literals that measured as no faster.",
            c.rejections,
        ),
        ("evictions", "Variants dropped to make room.", c.evictions),
        (
            "held_back",
            "Launches that wanted a variant which had made room shortly before.",
            c.held_back,
        ),
        (
            "compile_failures",
            "Attempts to build a variant behind that failed.",
            c.failures,
        ),
        (
            "busy_loads",
            "Variants loaded behind while the device had work.",
            c.busy_loads,
        ),
    ] {
        let name = format!("tilewright_{name}_total");
        one(&name, "counter", help, &simple(value.to_string()));
    }
    one(
        "tilewright_compile_wait_seconds_total",
        "counter",
        "How long launches waited for variants.",
        &simple(seconds(c.wait_nanos)),
    );
    one(
        "tilewright_served_total",
        "counter",
        "Launches by what served them.",
        &[
            with("", "tier", "resident", c.served_resident),
            with("", "tier", "proved", c.served_proved),
            with("", "tier", "literal", c.served_literal),
        ],
    );
    one(
        "tilewright_variants",
        "gauge",
        "Variants there are.",
        &simple(c.variants.to_string()),
    );
    one(
        "tilewright_code_bytes",
        "gauge",
        "Bytes of the cubins that are loaded.",
        &simple(c.code_bytes.to_string()),
    );

    let mut samples = Vec::new();
    let mut seen = 0;
    let last = c.host_time.buckets().count() - 1;
    for (bucket, (end, count)) in c.host_time.buckets().enumerate() {
        seen += count;
        let end = if bucket == last {
            "+Inf".to_owned()
        } else {
            end.as_secs_f64().to_string()
        };
        samples.push(with("_bucket", "le", &end, seen));
    }
    samples.push((format!("_sum{braced}"), c.host_time.sum().as_secs_f64().to_string()));
    samples.push((format!("_count{braced}"), seen.to_string()));
    one(
        "tilewright_launch_seconds",
        "histogram",
        "How long launches took on the host.",
        &samples,
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Tally;
    use std::time::Duration;

    #[test]
    fn every_line_is_a_comment_or_a_sample_and_buckets_never_fall() {
        let tally = Tally::default();
        tally.took(Duration::from_micros(4));
        tally.took(Duration::from_secs(7));
        tally.waited(Duration::from_millis(1500));
        for labels in ["", "device=\"0\""] {
            let text = text(&tally.read(), labels);
            assert!(
                text.contains(&format!(
                    "tilewright_compile_wait_seconds_total{} 1.5\n",
                    if labels.is_empty() {
                        String::new()
                    } else {
                        format!("{{{labels}}}")
                    }
                )),
                "{text}"
            );
            let mut before = 0;
            for line in text.lines().filter(|line| !line.starts_with("# ")) {
                let (name, value) = line.rsplit_once(' ').expect("a name and a value");
                assert_eq!(name.contains('{'), name.ends_with('}'), "{line}");
                assert!(!name.contains(",}") && !name.contains("{,"), "{line}");
                let value: f64 = value.parse().expect("a number");
                if name.contains("_bucket") {
                    assert!(value as u64 >= before, "{line}");
                    before = value as u64;
                }
            }
            assert_eq!(before, 2);
            assert!(text.contains("le=\"+Inf\"} 2\n"));
        }
    }
}
