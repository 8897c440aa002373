//! Which file is taken: what is named or nothing else, and otherwise the first that is whole.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::places::{Names, Place, Surroundings, libraries};
use super::{Absent, Found, Searched, Wanted};

/// A search: what is wanted, and where.
pub(super) struct Search<'a, D> {
    pub wanted: &'a Wanted,
    pub around: &'a Surroundings,
    pub disk: &'a D,
}

impl<D: Disk> Search<'_, D> {
    /// The library that opens first, and what was passed over before it.
    ///
    /// What the variable names is the only one: a file, the libraries of a folder, or a bare name, which is searched for where
    /// all are unless the current folder has it. `python` is asked for a further folder when all others have failed.
    pub fn run<L>(
        &self,
        open: impl FnMut(&Path) -> Result<L, String>,
        python: impl FnOnce() -> Option<PathBuf>,
    ) -> Result<Found<L>, Absent> {
        let mut trials = Trials {
            search: self,
            open,
            tried: HashSet::new(),
            searched: Vec::new(),
            passed_over: Vec::new(),
        };
        let library = match &self.around.named {
            Some(value) => trials.named(value, python),
            None => trials.everywhere(Names::Usual, python),
        };
        match (library, &self.around.named) {
            (Some(library), _) => Ok(Found {
                library,
                passed_over: trials.passed_over,
            }),
            (None, Some(value)) => Err(Absent::Named {
                value: value.clone(),
                searched: trials.searched,
            }),
            (None, None) => Err(Absent::NotFound {
                searched: trials.searched,
            }),
        }
    }
}

/// A search going on.
struct Trials<'a, D, F> {
    search: &'a Search<'a, D>,
    open: F,
    /// Without links: a folder is often linked under several names, and a library under several versions.
    tried: HashSet<PathBuf>,
    searched: Vec<Searched>,
    passed_over: Vec<Searched>,
}

impl<D: Disk, L, F: FnMut(&Path) -> Result<L, String>> Trials<'_, D, F> {
    fn named(&mut self, value: &Path, python: impl FnOnce() -> Option<PathBuf>) -> Option<L> {
        let Search { wanted, around, disk } = *self.search;
        let path = around.absolute(value);
        if disk.is_folder(&path) {
            let origin = wanted.variable;
            return self.folder(Names::Usual, Place { origin, root: path });
        }
        match value.to_str() {
            Some(name) if !name.contains('/') && !disk.exists(&path) => self.everywhere(Names::Exactly(name), python),
            _ => self.first(wanted.variable, [path]),
        }
    }

    fn everywhere(&mut self, names: Names<'_>, python: impl FnOnce() -> Option<PathBuf>) -> Option<L> {
        let Search { wanted, around, disk } = *self.search;
        let loader_names = match &names {
            Names::Usual => wanted.loader_names,
            Names::Exactly(name) => std::slice::from_ref(name),
        };
        // A process has one of them, wherever it came from.
        let is_wanted = |file: &&PathBuf| loader_names.iter().any(|name| file.ends_with(name));
        let loaded: Vec<_> = around.loader.loaded.iter().filter(is_wanted).cloned().collect();
        if let Some(library) = self.first("this process", loaded) {
            return Some(library);
        }
        for name in loader_names {
            let origin = "the loader's path";
            let files = around.loader.places(name).map(|file| around.absolute(&file));
            let files: Vec<_> = files.filter(|file| disk.exists(file)).collect();
            if files.is_empty() {
                self.searched.push(Searched {
                    origin,
                    place: name.into(),
                    outcome: "not in its folders".to_owned(),
                });
            }
            if let Some(library) = self.first(origin, files) {
                return Some(library);
            }
        }
        for Place { origin, root } in around.places(wanted, disk) {
            let root = around.absolute(&root);
            if let Some(library) = self.folder(names, Place { origin, root }) {
                return Some(library);
            }
        }
        // Starting Python is the last thing to try.
        let origin = "the packages python3 reports";
        self.folder(
            names,
            Place {
                origin,
                root: python()?,
            },
        )
    }

    fn folder(&mut self, names: Names<'_>, Place { origin, root }: Place) -> Option<L> {
        let Search { wanted, disk, .. } = *self.search;
        let files = libraries(disk, wanted, names, &root);
        if files.is_empty() {
            self.searched.push(wanted.nothing_in(names, origin, root));
        }
        self.first(origin, files)
    }

    /// The first of some files that opens.
    fn first(&mut self, origin: &'static str, files: impl IntoIterator<Item = PathBuf>) -> Option<L> {
        for place in files {
            let known = self.search.disk.canonical(&place).unwrap_or_else(|| place.clone());
            if !self.tried.insert(known) {
                continue;
            }
            match (self.open)(&place) {
                Ok(library) => return Some(library),
                Err(outcome) => {
                    let searched = Searched { origin, place, outcome };
                    self.passed_over.push(searched.clone());
                    self.searched.push(searched);
                }
            }
        }
        None
    }
}
