//! A browser without a screen, in which pages are tested.

use std::ffi::OsString;
use std::process::Command;
use std::sync::OnceLock;

/// A Chromium that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Browser {
    program: OsString,
}

/// What a page has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its elements once its scripts have run, as HTML.
    pub dom: String,
    /// What it wrote to the console, errors that nobody caught included; a line each.
    pub console: Vec<String>,
}

impl Browser {
    /// The one that `TILEWRIGHT_CHROMIUM` names, or that is in `PATH`.
    ///
    /// # Errors
    /// None of them runs.
    pub fn find() -> Result<Self, &'static str> {
        static FOUND: OnceLock<Option<Browser>> = OnceLock::new();
        let works = |program: &OsString| {
            let output = Command::new(program).arg("--version").output();
            output.is_ok_and(|output| output.status.success())
        };
        let find = || {
            let named = std::env::var_os("TILEWRIGHT_CHROMIUM").filter(|value| !value.is_empty());
            let usual = [
                "chromium",
                "chromium-browser",
                "google-chrome",
                "chromium-headless-shell",
            ];
            let programs = named.into_iter().chain(usual.map(OsString::from));
            programs.into_iter().find(works).map(|program| Self { program })
        };
        FOUND.get_or_init(find).clone().ok_or("no Chromium runs")
    }

    /// Opens a page in a window of 1500 x 1000 points and lets its scripts run.
    ///
    /// # Errors
    /// What the browser complains about.
    pub fn open(&self, html: &str) -> Result<Page, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let file = folder.path().join("page.html");
        std::fs::write(&file, html).map_err(|error| error.to_string())?;
        let profile = folder.path().join("profile");
        let output = Command::new(&self.program)
            // The page is our own, and there may be no other user to be.
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args([
                "--window-size=1500,1000",
                "--virtual-time-budget=3000",
                "--enable-logging=stderr",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("--dump-dom")
            .arg(format!("file://{}", file.display()))
            .output()
            .map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(format!("{}\n{said}", output.status));
        }
        Ok(Page {
            dom: String::from_utf8_lossy(&output.stdout).into_owned(),
            console: said
                .lines()
                .filter(|line| line.contains(":CONSOLE"))
                .map(str::to_owned)
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Part;

    #[test]
    fn a_page_is_what_its_scripts_make_of_it_and_its_errors_are_told() {
        let Some(browser) = Part::Browser.or_skip(Browser::find()) else {
            return;
        };
        let page = browser.open("<p id=a></p><script>document.getElementById('a').textContent = 6 * 7</script>");
        let page = page.expect("it opens");
        assert!(
            page.dom.contains("<p id=\"a\">42</p>") && page.console.is_empty(),
            "{page:?}"
        );
        let page = browser.open("<script>nothing()</script>").expect("it opens");
        assert!(
            page.console.iter().any(|line| line.contains("nothing is not defined")),
            "{page:?}"
        );
    }
}
