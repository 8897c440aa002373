//! What was found, as a page that stands alone.

use std::fmt::Write;

use super::listing::{Line, Place};
use super::report::{Distribution, Inspection};
use super::text::{bytes, known_bytes, place};
use super::{Listing, picture};

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// A text between tags or quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
    out
}

/// The attributes by which lines of one origin know each other, and their colour.
fn origin(at: Option<Place>) -> String {
    let of = |Place { source, line }: Place| {
        let hue = (u64::from(line) * 67 + source as u64 * 31) % 360;
        format!(r#" data-at="{source}-{line}" style="--h:{hue}""#)
    };
    at.map(of).unwrap_or_default()
}

fn line(number: u32, text: &str, at: Option<Place>) -> String {
    let text = if text.is_empty() { " ".to_owned() } else { escaped(text) };
    format!(
        r#"<div class="l"{}><span class="n">{number}</span><code>{text}</code></div>"#,
        origin(at)
    )
}

fn card(value: &str, what: &str, more: &str) -> String {
    format!(
        r#"<div class="card"><span>{}</span><b>{}</b><i>{}</i></div>"#,
        escaped(what),
        escaped(value),
        escaped(more)
    )
}

fn section(heading: &str, small: &str, body: &str) -> String {
    let small = match small {
        "" => String::new(),
        small => format!("<small>{}</small>", escaped(small)),
    };
    format!("<section><h2>{}{small}</h2>{body}</section>", escaped(heading))
}

/// A table of cells that are HTML; columns behind `left` are numbers.
fn table(heads: &[&str], left: usize, rows: impl Iterator<Item = Vec<String>>) -> String {
    let class = |column| if column < left { "" } else { r#" class="r""# };
    let mut out = String::from(r#"<div class="wide"><table><tr>"#);
    for (column, head) in heads.iter().enumerate() {
        let _ = write!(out, "<th{}>{}</th>", class(column), escaped(head));
    }
    out.push_str("</tr>");
    for row in rows {
        out.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let _ = write!(out, "<td{}>{cell}</td>", class(column));
        }
        out.push_str("</tr>");
    }
    out + "</table></div>"
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escaped(text))
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: String = items.map(|item| format!("<li>{item}</li>")).collect();
    format!("<ul>{items}</ul>")
}

impl Inspection {
    /// A page of HTML that stands alone: the author's lines beside those that are made of them, how a tile is spread over
    /// threads, and all figures.
    pub fn to_html(&self) -> String {
        let title = escaped(&format!("{} on {}", self.kernel, self.architecture));
        let shown = self.class.variants.iter().find(|variant| variant.is_shown);
        let subtitle = format!(
            "{} with {} multiprocessors, the {} variant",
            self.architecture,
            self.multiprocessors,
            shown.map_or("", |variant| variant.tier)
        );
        let body = [
            self.cards(),
            self.side_by_side(),
            self.spread(),
            format!(r#"<div class="two">{}{}</div>"#, self.proved(), self.class_section()),
            self.accessed(),
            self.moved(),
            self.left_out(),
        ];
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <link rel=\"icon\" href=\"data:,\"><title>{title}</title><style>{STYLE}</style></head>\n\
             <body><header><h1>{}</h1><p>{}</p><button id=\"theme\">light or dark</button></header>\n<main>{}</main>\n\
             <script>{SCRIPT}</script></body></html>\n",
            escaped(&self.kernel),
            escaped(&subtitle),
            body.join("\n")
        )
    }

    /// A link to the author's line.
    fn link(&self, at: Option<Place>) -> String {
        let Some(known) = at else { return String::new() };
        let Place { source, line } = known;
        format!(
            r#"<a class="at" data-line="{source}-{line}">{}</a>"#,
            escaped(&place(at, &self.sources))
        )
    }

    fn cards(&self) -> String {
        let launch = &self.launch;
        let blocks = launch.blocks.map_or("too many".to_owned(), |blocks| blocks.to_string());
        let mut cards = vec![card(
            &launch.programs.to_string(),
            "programs",
            &format!("{blocks} blocks of {} threads", launch.threads),
        )];
        if let Some(code) = &self.code {
            let spills = match code.spill_store_bytes.zip(code.spill_load_bytes) {
                Some((0, 0)) => "no spills".to_owned(),
                Some((stores, loads)) => format!("spills: {stores} bytes stored, {loads} loaded"),
                None => String::new(),
            };
            cards.push(card(&code.registers.to_string(), "registers of a thread", &spills));
            let local = format!("{} of local memory", bytes(code.local_bytes.into()));
            cards.push(card(
                &bytes(code.shared_bytes.into()),
                "shared memory of a block",
                &local,
            ));
            if let Some(occupancy) = &code.occupancy {
                let share = 100 * occupancy.warps / occupancy.most_warps;
                let line = occupancy.line();
                let more = line.split_once(": ").map_or("", |(_, more)| more);
                cards.push(card(&format!("{share} %"), "occupancy", more));
            }
        }
        let traffic = &self.traffic;
        let asked = format!("tiles ask for {}", known_bytes(traffic.asked_bytes));
        cards.push(card(&bytes(traffic.floor_bytes), "bytes at least", &asked));
        let checks: usize = self
            .class
            .variants
            .iter()
            .filter(|one| one.is_shown)
            .map(|one| one.checks)
            .sum();
        let narrow = self.accesses.iter().filter(|access| access.narrow.is_some()).count();
        cards.push(card(
            &checks.to_string(),
            "checks left",
            &format!("{narrow} narrow accesses"),
        ));
        format!(r#"<div class="cards">{}</div>"#, cards.concat())
    }

    fn side_by_side(&self) -> String {
        let mut left = String::new();
        for (at, source) in self.sources.iter().enumerate() {
            let _ = write!(
                left,
                r#"<div class="bar"><em>{}</em></div><div class="lines" data-pane="source">"#,
                escaped(&source.file)
            );
            if source.lines.is_empty() {
                left.push_str(r#"<p class="faint" style="padding:0 1rem">This file was not found.</p>"#);
            }
            for (number, text) in (source.first..).zip(&source.lines) {
                let own = Place {
                    source: at,
                    line: number,
                };
                left += &line(number, text, self.is_origin(own).then_some(own));
            }
            left.push_str("</div>");
        }
        let (mut tabs, mut panels) = (String::new(), String::new());
        for (at, Listing { name, title, lines }) in self.listings.iter().enumerate() {
            let is_first = *name == "thread-ir" || (at == 0 && self.listing("thread-ir").is_none());
            let _ = write!(
                tabs,
                r#"<button role="tab" aria-selected="{is_first}" aria-controls="{name}">{}</button>"#,
                escaped(title)
            );
            let hidden = if is_first { "" } else { " hidden" };
            let _ = write!(panels, r#"<div class="lines" role="tabpanel" id="{name}"{hidden}>"#);
            for (number, Line { text, at }) in (1..).zip(lines) {
                panels += &line(number, text, *at);
            }
            panels.push_str("</div>");
        }
        format!(
            r#"<div class="pair"><section class="pane">{left}</section><section class="pane"><div class="bar" role="tablist">{tabs}</div>{panels}</section></div>"#
        )
    }

    /// Whether any line comes from one of the author's.
    fn is_origin(&self, at: Place) -> bool {
        let mut lines = self.listings.iter().flat_map(|listing| &listing.lines);
        lines.any(|line| line.at == Some(at))
    }

    fn spread(&self) -> String {
        let schedule = &self.schedule;
        let mut body = format!(
            "<p>{}.</p>{}",
            escaped(&sentence(&schedule.reason)),
            picture::blocks(self)
        );
        let mut drawn: Vec<&Distribution> = Vec::new();
        for spread in &self.distributions {
            let is_alike = |other: &&Distribution| other.text == spread.text;
            // Stores of two branches are mostly spread alike.
            if drawn.iter().any(is_alike) {
                continue;
            }
            drawn.push(spread);
            let places = self.distributions.iter().filter(is_alike);
            let places: Vec<String> = places.map(|other| self.link(other.at)).collect();
            let _ = write!(
                body,
                "<p>{} {}. <span class=\"faint\">{}.</span></p>{}",
                places.join(", "),
                escaped(&spread.text),
                picture::told(spread),
                picture::tile(self, spread)
            );
        }
        let small = format!(
            "{} threads of a program, {} programs of a block, {} blocks of a program, {} in flight",
            schedule.threads, schedule.programs_per_block, schedule.splits, schedule.unroll
        );
        section("How it is spread over blocks and threads", &small, &body)
    }

    fn proved(&self) -> String {
        let rows = self.proofs.iter().map(|proof| {
            let tags = proof.axes.iter().map(|axis| {
                let class = match axis.as_str() {
                    "proved" | "host-checked" => "good",
                    _ => "warn",
                };
                format!(r#"<span class="tag {class}">{}</span>"#, escaped(axis))
            });
            let what = code(&format!("{} {}", proof.kind, proof.tensor));
            vec![self.link(proof.at), what, tags.collect()]
        });
        section(
            "Why every index is in range",
            "by axis",
            &table(&["line", "access", "axes"], 3, rows),
        )
    }

    fn class_section(&self) -> String {
        let class = &self.class;
        let mut body = list(self.launch.arguments.iter().map(|argument| code(argument)));
        body += "<p class=\"faint\">All launches of its class</p>";
        body += &list(class.facts.iter().map(|fact| escaped(fact)));
        if !class.conditions.is_empty() {
            body += "<p class=\"faint\">What proofs want of a launch</p>";
            body += &list(class.conditions.iter().map(|condition| {
                let (class, word) = if condition.holds {
                    ("good", "holds")
                } else {
                    ("warn", "fails")
                };
                format!(r#"<span class="tag {class}">{word}</span>{}"#, code(&condition.text))
            }));
        }
        let rows = class.variants.iter().map(|variant| {
            let shown = if variant.is_shown { " (here)" } else { "" };
            let rest = match &variant.refused {
                Some(why) => [format!("none: {}", escaped(why)), String::new(), String::new()],
                None => [
                    variant.checks.to_string(),
                    code(&variant.literals.join(", ")),
                    escaped(&variant.schedule),
                ],
            };
            [format!("{}{shown}", variant.tier)].into_iter().chain(rest).collect()
        });
        body += "<p class=\"faint\">Variants that may serve it</p>";
        body += &table(&["tier", "checks", "literals", "schedule"], 4, rows);
        section("Its class, conditions and variants", "", &body)
    }

    fn accessed(&self) -> String {
        let rows = self.accesses.iter().map(|access| {
            let each = if access.each_trip { " a trip" } else { "" };
            let narrow = access.narrow.as_deref().map_or_else(String::new, |why| {
                format!(r#"<span class="warn">{}</span>"#, escaped(why))
            });
            vec![
                self.link(access.at),
                code(&format!("{} {}", access.kind, access.tensor)),
                narrow,
                escaped(&access.element),
                access.bytes.to_string(),
                format!("{}{each}", access.repeats),
            ]
        });
        let heads = [
            "line",
            "access",
            "narrow because",
            "element",
            "bytes at once",
            "of a thread, at most",
        ];
        section("What a thread reads and writes", "", &table(&heads, 4, rows))
    }

    fn moved(&self) -> String {
        let traffic = &self.traffic;
        let each = traffic.tensors.iter().map(|one| {
            let cells = [Some(one.floor_bytes), one.asked_bytes, one.issued_bytes];
            let cells = cells.map(known_bytes);
            [code(&format!("{} {}", one.kind, one.tensor))]
                .into_iter()
                .chain(cells)
                .collect()
        });
        let all = [Some(traffic.floor_bytes), traffic.asked_bytes, traffic.issued_bytes].map(known_bytes);
        let all = ["all".to_owned()].into_iter().chain(all).collect();
        let heads = ["", "at least", "tiles ask for", "threads issue at most"];
        section("Bytes", "where nothing is masked", &table(&heads, 1, each.chain([all])))
    }

    fn left_out(&self) -> String {
        match self.missing.is_empty() {
            true => String::new(),
            false => {
                let items = self.missing.iter();
                let items = items.map(|one| format!("<b>{}</b>: {}", escaped(one.what), escaped(&one.why)));
                section("Not here", "", &list(items))
            }
        }
    }
}

/// A text with a capital.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_authors_write_is_no_markup() {
        assert_eq!(escaped(r#"<b a="1">&'"#), "&lt;b a=&quot;1&quot;&gt;&amp;&#39;");
        let place = Some(Place { source: 1, line: 20 });
        let html = line(7, "a < b", place);
        assert!(
            html.contains(r#"data-at="1-20""#) && html.contains("a &lt; b"),
            "{html}"
        );
    }

    #[test]
    fn the_page_asks_for_nothing_from_elsewhere() {
        for text in [STYLE, SCRIPT] {
            for way in ["http:", "https:", "url(", "@import", "fetch(", "import("] {
                assert!(!text.contains(way), "{way}");
            }
        }
    }
}
