//! `tilewright inspect` as a user runs it.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tilewright::runtime::compile::Nvrtc;
use tilewright_testing::{Browser, Page, Part};

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tilewright"));
    command.arg("inspect").args(arguments).envs(environment.iter().copied());
    command.output().unwrap()
}

fn succeed_with(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = run(arguments, environment);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && error.is_empty(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn succeed(arguments: &[&str]) -> String {
    succeed_with(arguments, &[])
}

fn fail(arguments: &[&str]) -> String {
    let output = run(arguments, &[]);
    assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// No compiler and no disassembler.
const NOTHING: [(&str, &str); 2] = [
    ("TILEWRIGHT_NVRTC", "/no/such/library"),
    ("TILEWRIGHT_NVDISASM", "/no/such/program"),
];

#[test]
fn a_kernel_is_shown_section_by_section() {
    let small = [
        "pad_rows", "--rows", "16", "--tokens", "10", "--hidden", "512", "--type", "f32",
    ];
    let text = succeed_with(&small, &NOTHING);
    for words in [
        "pad_rows on sm_90 with 132 multiprocessors\n  16 programs",
        "out: f32 [16, 512]",
        "rows: 10, exact",
        "holds  (out.extent(0) <= src.extent(0) || rows <= src.extent(0))",
        "fails  rows <= 0",
        "resident: ",
        "literal, shown here: 0 checks; literals: ",
        "because where elements lie is known at once",
        "load src   host-checked, proved",
        "store   out     f32      16     1",
        "out     32.0 KiB  32.0 KiB       64.0 KiB",
        "not here: registers, shared memory, occupancy and SASS\n",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    let text = succeed_with(
        &[&small[..], &["--section", "source,tile-ir,thread-ir,cuda,ptx"]].concat(),
        &NOTHING,
    );
    let found = [
        "dp/src/kernels/pad.rs\n",
        "tile IR\nkernel pad_rows(",
        "thread IR\nkernel pad_rows, ",
        "CUDA C++\n",
        "PTX\n",
    ];
    let places: Vec<_> = found.iter().map(|words| text.find(words)).collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{places:?}\n{text}"
    );
    assert!(text.contains("   28  pub fn pad_rows<T: Element>("), "{text}");
    let text = succeed_with(&[&small[..], &["--section", "sass"]].concat(), &NOTHING);
    assert!(
        text.starts_with("sass: none\n  ") && text.contains("/no/such/library"),
        "{text}"
    );
}

#[test]
fn a_variant_is_chosen_by_its_tier() {
    let of = |tier: &str| succeed_with(&["copy_to_slot", "--tier", tier, "--section", "class,proofs"], &NOTHING);
    let (resident, literal) = (of("resident"), of("literal"));
    assert!(
        resident.contains("  resident, shown here: ") && resident.contains("guarded"),
        "{resident}"
    );
    assert!(
        literal.contains("  literal, shown here: 0 checks") && !literal.contains("guarded"),
        "{literal}"
    );
}

#[test]
fn what_is_asked_for_wrongly_says_what_there_is() {
    let refused = |arguments: &[&str], words: &[&str]| {
        let error = fail(arguments);
        assert!(words.iter().all(|word| error.contains(word)), "{arguments:?}: {error}");
    };
    refused(&["gather_row"], &["no kernel `gather_row`, but gather_rows,"]);
    refused(&["gahter_rows"], &["but gather_rows"]);
    refused(&["\u{1b}[31m"], &["no kernel `\\u{1b}[31m`; ", "--list"]);
    refused(&[], &["KERNEL"]);
    refused(
        &["gather_rows", "--arch", "hopper"],
        &["`hopper` names no GPU architecture"],
    );
    refused(&["gather_rows", "--arch", "sm_120"], &["sm_120", "--multiprocessors"]);
    refused(&["gather_rows", "--type", "f64"], &["f64", "bf16"]);
    refused(
        &["gather_rows", "--section", "code,everything"],
        &["`everything` is no section", "thread-ir"],
    );
    refused(&["quantize_rows", "--hidden", "100"], &["a multiple of 128"]);
    refused(
        &["gather_rows", "--tier", "literal"],
        &["no variant with literals", "Exact"],
    );
    refused(&["gather_rows", "--dp", "0"], &["rank 0 of 0"]);
    refused(
        &["place_rows", "--dp", "4", "--rank", "4"],
        &["rank 4 of 4: ranks are counted from 0"],
    );
    refused(
        &["gather_rows", "--rows", "1099511627776000"],
        &["is too long: at most 2^40"],
    );
    refused(&["--bundle", "/no/such/file"], &["/no/such/file"]);
    refused(
        &["gather_rows", "--html", "/no/such/folder/page.html"],
        &["/no/such/folder/page.html"],
    );
}

#[test]
fn every_kernel_of_the_catalogue_is_shown() {
    let names = succeed(&["--list"]);
    assert!(names.lines().count() > 40, "{names}");
    for name in names.lines() {
        let small = [
            "--rows",
            "8",
            "--hidden",
            "256",
            "--dp",
            "2",
            "--experts",
            "4",
            "--experts-per-token",
            "2",
            "--json",
        ];
        let found: Value = serde_json::from_str(&succeed_with(&[&[name], &small[..]].concat(), &NOTHING)).unwrap();
        assert_eq!(found["kernel"], name);
        let listings: Vec<_> = found["listings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["name"])
            .collect();
        assert_eq!(listings, ["tile-ir", "thread-ir", "cuda", "ptx"], "{name}");
        // Each comes from lines of its file.
        for listing in found["listings"].as_array().unwrap() {
            let lines = listing["lines"].as_array().unwrap();
            assert!(lines.iter().any(|line| !line["at"].is_null()), "{name}: {listing}");
        }
        let source = &found["sources"][0]["lines"];
        assert!(!source.as_array().unwrap().is_empty(), "{name}: {}", found["sources"]);
    }
}

#[test]
fn figures_are_those_of_the_compiler() {
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    let found: Value = serde_json::from_str(&succeed(&["combine_rows", "--rows", "64", "--json"])).unwrap();
    let code = &found["code"];
    assert!(code["compiler"].as_str().unwrap().starts_with("NVRTC "), "{code}");
    assert!((8..=255).contains(&code["registers"].as_u64().unwrap()), "{code}");
    assert_eq!(code["spill_store_bytes"], 0, "{code}");
    assert!(code["occupancy"]["blocks"].as_u64().unwrap() > 0, "{code}");
    assert!(
        found["missing"]
            .as_array()
            .unwrap()
            .iter()
            .all(|missing| missing["what"] == "SASS"),
        "{found}"
    );
}

#[test]
fn the_kernels_of_a_bundle_tell_what_their_code_says() {
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("engine.bundle");
    let path = file.to_str().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_tilewright"))
        .args([
            "bundle",
            "--out",
            path,
            "--arch",
            "sm_90",
            "--hidden",
            "64",
            "--rows",
            "4",
            "--kernels",
            "rows",
        ])
        .env("TILEWRIGHT_CACHE", "off")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = succeed(&["--bundle", path]);
    for words in [
        "tilewright_gather_rows for sm_90 by nvrtc",
        " threads of a block, ",
        " registers, ",
        "  occupancy ",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    let all = text.matches(" for sm_90 by ").count();
    let some: Value = serde_json::from_str(&succeed(&["--bundle", path, "--kernel", "gather", "--json"])).unwrap();
    let some = some.as_array().unwrap();
    assert!(!some.is_empty() && some.len() < all, "{} of {all}", some.len());
    assert!(
        some.iter()
            .all(|kernel| kernel["threads"].as_u64().unwrap().is_multiple_of(32)),
        "{some:?}"
    );
    let error = fail(&["--bundle", path, "--kernel", "nothing"]);
    assert!(error.contains("no kernel whose name has `nothing` in it"), "{error}");
    assert!(fail(&["--bundle", path, "--arch", "sm_80"]).contains("holds no kernel for sm_80;"));
}

/// What a reader of the page does, and what comes of it: in the end `<pre id="told">` says so.
const READER: &str = r#"<script>
addEventListener("load", () => {
  const all = (query) => [...document.querySelectorAll(query)];
  const told = [];
  const tell = (what, is) => told.push(`${is ? "yes" : "no"}: ${what}`);
  const shown = () => all("[role=tabpanel]").filter((panel) => getComputedStyle(panel).display !== "none");
  const point = (element, type) => element.dispatchEvent(new MouseEvent(type, { bubbles: type === "click" }));
  const ground = (element) => getComputedStyle(element).backgroundColor;

  tell("the author's lines are there", all("[data-pane=source] .l").length > 5);
  const tabs = all("[role=tab]");
  for (const tab of tabs) {
    tab.click();
    const panels = shown();
    tell(`${tab.textContent} is the only one that is shown`, panels.length === 1 && panels[0].id === tab.getAttribute("aria-controls"));
    // A line of it that comes from a line of the author's which is there.
    const own = [...panels[0].querySelectorAll(".l[data-at]")];
    const pairs = own.map((line) => [line, document.querySelector(`[data-pane=source] [data-at="${line.dataset.at}"]`)]);
    const [line, source] = pairs.find(([, source]) => source) ?? [];
    tell(`${tab.textContent} comes from the author's lines`, source);
    if (!source) continue;
    const before = ground(line);
    point(source, "mouseenter");
    const others = own.filter((other) => other.dataset.at !== line.dataset.at);
    tell(`${tab.textContent} is lit by its line`, ground(line) !== before && line.classList.contains("near"));
    tell(`${tab.textContent} has other lines that are not`, others.every((other) => !other.classList.contains("near")));
    point(source, "mouseleave");
    tell(`${tab.textContent} is lit no longer`, ground(line) === before);
    point(line, "click");
    tell(`${tab.textContent} is pinned with its line`, source.classList.contains("pinned") && ground(line) !== before);
    dispatchEvent.call(document, new KeyboardEvent("keydown", { key: "Escape" }));
    tell(`${tab.textContent} is let go`, all(".pinned").length === 0);
  }
  const item = document.querySelector("rect.item");
  point(item, "mouseenter");
  const same = [...item.closest("svg").querySelectorAll(".same")];
  tell("a thread's items are told from others", same.length > 0 && same.every((one) => one.dataset.owner === item.dataset.owner));
  const link = document.querySelector("a.at");
  point(link, "click");
  tell("a link shows its line", all(".pinned").some((line) => line.dataset.at === link.dataset.line));
  const light = ground(document.body);
  document.getElementById("theme").click();
  tell("it is dark or light", ground(document.body) !== light);
  tell("nothing is wider than the window", document.documentElement.scrollWidth <= innerWidth);
  const pre = document.createElement("pre");
  pre.id = "told";
  pre.textContent = told.join("\n");
  document.body.append(pre);
});
</script>"#;

fn told(page: &Page) -> Vec<&str> {
    let told = page
        .dom
        .split_once(r#"<pre id="told">"#)
        .and_then(|(_, rest)| rest.split_once("</pre>"));
    told.map_or_else(Vec::new, |(told, _)| told.lines().collect())
}

fn page_of(kernel: &str, file: &Path, environment: &[(&str, &str)]) -> String {
    let arguments = [kernel, "--html", file.to_str().unwrap()];
    assert_eq!(succeed_with(&arguments, environment), "");
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn the_page_works_in_a_browser_without_a_word_on_its_console() {
    let Some(browser) = Part::Browser.or_skip(Browser::find()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    for kernel in [
        "gather_rows",
        "pad_rows",
        "combine_rows",
        "quantize_to_slot",
        "count_experts",
    ] {
        let html = page_of(kernel, &file, &[]);
        for way in ["http:", "https:", "<link rel=\"stylesheet\"", "src=", "@import", "url("] {
            assert!(
                !html.contains(way),
                "{kernel}: it asks for something from elsewhere: {way}"
            );
        }
        let page = browser
            .open(&html.replace("</body>", &format!("{READER}</body>")))
            .unwrap();
        assert!(page.console.is_empty(), "{kernel}: {:?}", page.console);
        let told = told(&page);
        let wrong: Vec<_> = told.iter().filter(|line| !line.starts_with("yes: ")).collect();
        assert!(told.len() > 20 && wrong.is_empty(), "{kernel}: {wrong:?} of {told:?}");
    }
}

#[test]
fn the_page_says_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let html = page_of("gather_rows", &folder.path().join("page.html"), &NOTHING);
    assert!(html.contains("<h2>Not here</h2>") && html.contains("/no/such/library"));
    let ids: Vec<&str> = html
        .split(" id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let distinct: HashSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), distinct.len(), "{ids:?}");
    assert!(!html.contains("id=\"sass\""));
}
