//! Kernels of a bundle: their texts are gone, and what is left are facts about their code.

use std::path::Path;

use tilewright::runtime::cache::Bundle;
use tilewright::runtime::inspect::{CubinInspection, Section};

use super::Arguments;
use crate::error::CommandError;

/// Shows the kernels that are asked for.
pub fn show(arguments: &Arguments, file: &Path) -> Result<String, CommandError> {
    let mut cubins = Bundle::open(file)?.cubins()?;
    let is_wanted = |name: &str| arguments.kernel.as_deref().is_none_or(|wanted| name.contains(wanted));
    cubins.retain(|stored| is_wanted(&stored.name));
    cubins.retain(|stored| arguments.arch.is_none_or(|arch| stored.cubin.architecture == arch));
    if cubins.is_empty() {
        return Err(CommandError::NotInBundle {
            file: file.to_owned(),
            name: arguments.kernel.clone(),
            architecture: arguments.arch,
        });
    }
    cubins.sort_by(|one, other| (&one.name, one.key).cmp(&(&other.name, other.key)));
    let found = cubins.iter().map(CubinInspection::of).collect::<Result<Vec<_>, _>>()?;
    if arguments.json {
        return Ok(serde_json::to_string_pretty(&found)? + "\n");
    }
    let with_code = arguments.section.contains(&Section::Listing("sass"));
    let text = |found: &CubinInspection| {
        let code = found.sass.as_ref().filter(|_| with_code);
        let code = code.map_or_else(String::new, |listing| listing.text());
        format!("{found}{code}")
    };
    let texts: Vec<String> = found.iter().map(text).collect();
    Ok(texts.join("\n"))
}
