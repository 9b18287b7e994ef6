//! The modules of a crate, and which of them use which, read from the sources with `syn`.
//!
//! A module uses another where a path names it or something in it: in a `use`, or anywhere in the
//! code, macros included. What a module re-exports counts as what it comes from. Code behind
//! `#[cfg(test)]` is left out.
//!
//! In one folder no circle may be: modules are compared with their siblings, each with all that is
//! below it. A module and what is below it are one room, so they may use each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Expr, Item, Lit, Meta, UseTree};

/// The crate, then the modules on the way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(Vec<String>);

impl Name {
    pub fn new(text: &str) -> Name {
        Name(text.split("::").map(str::to_owned).collect())
    }

    fn child(&self, name: &str) -> Name {
        Name([self.0.clone(), vec![name.to_owned()]].concat())
    }

    fn parent(&self) -> Name {
        Name(self.0[..self.0.len() - 1].to_vec())
    }

    /// Whether it is `room`, or below it.
    pub fn is_in(&self, room: &Name) -> bool {
        self.0.starts_with(&room.0)
    }

    /// The one of `parent`'s modules that this is in.
    pub fn below(&self, parent: &Name) -> Option<Name> {
        let depth = parent.0.len() + 1;
        (self.is_in(parent) && self.0.len() >= depth).then(|| Name(self.0[..depth].to_vec()))
    }

    pub fn is_crate(&self) -> bool {
        self.0.len() == 1
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("::"))
    }
}

/// A path in a module's code, its segments.
type Segments = Vec<String>;

#[derive(Default)]
struct Module {
    /// Paths as they are written, without those that are re-exported.
    paths: BTreeSet<Segments>,
    /// What a `use` brings in, by the name it has here.
    imports: BTreeMap<String, Segments>,
}

/// All modules of some crates.
#[derive(Default)]
pub struct Modules(BTreeMap<Name, Module>);

/// One module uses another, by this path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    pub from: Name,
    pub to: Name,
    pub path: String,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} uses {} ({})", self.from, self.to, self.path)
    }
}

impl Modules {
    /// Reads a crate from its `lib.rs` or `main.rs`.
    pub fn read(&mut self, name: &str, folder: &Path) {
        let start = ["lib.rs", "main.rs"].map(|file| folder.join(file));
        let start = start.iter().find(|file| file.exists()).expect("a crate has a root");
        self.read_file(start, &Name::new(name), folder);
    }

    /// `folder` holds the files of the module's own modules.
    fn read_file(&mut self, file: &Path, name: &Name, folder: &Path) {
        let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        self.read_items(parsed.items, name, folder);
    }

    fn read_items(&mut self, items: Vec<Item>, name: &Name, folder: &Path) {
        self.0.entry(name.clone()).or_default();
        for item in items {
            match item {
                Item::Mod(module) if !is_test(&module.attrs) => {
                    let child = module.ident.to_string();
                    let below = folder.join(&child);
                    match module.content {
                        Some((_, items)) => self.read_items(items, &name.child(&child), &below),
                        None => {
                            let file = file_of(&module.attrs, folder, &child);
                            self.read_file(&file, &name.child(&child), &below);
                        }
                    }
                }
                Item::Mod(_) => {}
                Item::Use(used) if is_test(&used.attrs) => {}
                Item::Use(used) => {
                    let is_private = matches!(used.vis, syn::Visibility::Inherited);
                    let mut all = Vec::new();
                    spread(&used.tree, &mut Vec::new(), &mut all);
                    let module = self.0.entry(name.clone()).or_default();
                    for (segments, known_as) in all {
                        module.imports.insert(known_as, segments.clone());
                        if is_private {
                            module.paths.insert(segments);
                        }
                    }
                }
                item if is_test(attributes(&item)) => {}
                item => {
                    let module = self.0.entry(name.clone()).or_default();
                    paths_in(item.to_token_stream(), &mut module.paths);
                }
            }
        }
    }

    /// Every use of one module by another.
    pub fn uses(&self) -> Vec<Use> {
        let mut all = BTreeSet::new();
        for (from, module) in &self.0 {
            for path in &module.paths {
                let to = self.resolved(from, path, 0).filter(|to| to != from);
                all.extend(to.map(|to| Use { from: from.clone(), to, path: path.join("::") }));
            }
        }
        all.into_iter().collect()
    }

    /// The module that has what a path names. `None`: none of ours.
    fn resolved(&self, from: &Name, path: &[String], depth: usize) -> Option<Name> {
        let (mut at, mut rest) = self.start(from, path)?;
        while let Some(name) = rest.first().map(|name| at.child(name))
            && self.0.contains_key(&name)
        {
            (at, rest) = (name, &rest[1..]);
        }
        let import = rest.first().and_then(|name| self.0[&at].imports.get(name));
        let behind = import.filter(|_| depth < 8).and_then(|i| self.resolved(&at, i, depth + 1));
        Some(behind.unwrap_or(at))
    }

    /// Where a path begins, and what is left of it.
    fn start<'a>(&self, from: &Name, path: &'a [String]) -> Option<(Name, &'a [String])> {
        let first = path.first()?;
        let root = Name::new(&first.replace('_', "-"));
        match first.as_str() {
            "crate" => Some((Name(from.0[..1].to_vec()), &path[1..])),
            "self" => Some((from.clone(), &path[1..])),
            "super" => {
                let count = path.iter().take_while(|segment| *segment == "super").count();
                let up = (0..count).fold(from.clone(), |at, _| at.parent());
                Some((up, &path[count..]))
            }
            _ if self.0.contains_key(&from.child(first)) => Some((from.clone(), path)),
            _ if self.0.contains_key(&root) => Some((root, &path[1..])),
            _ => None,
        }
    }

    /// The circles among the modules of each folder: sorted names, and a use for each pair.
    pub fn circles(&self) -> Vec<(Vec<Name>, Vec<Use>)> {
        let uses = self.uses();
        let mut found = Vec::new();
        for parent in self.0.keys() {
            let mut edges: BTreeMap<(Name, Name), &Use> = BTreeMap::new();
            for used in &uses {
                let ends = (used.from.below(parent), used.to.below(parent));
                if let (Some(from), Some(to)) = ends
                    && from != to
                {
                    edges.entry((from, to)).or_insert(used);
                }
            }
            found.extend(circles(&edges));
        }
        found
    }
}

/// Modules that reach each other, and the uses among them.
fn circles(edges: &BTreeMap<(Name, Name), &Use>) -> Vec<(Vec<Name>, Vec<Use>)> {
    let nodes: BTreeSet<&Name> = edges.keys().flat_map(|(from, to)| [from, to]).collect();
    let mut reaches: BTreeSet<(&Name, &Name)> = edges.keys().map(|(a, b)| (a, b)).collect();
    // Warshall's closure: at most forty modules stand in a folder.
    for middle in &nodes {
        for from in &nodes {
            for to in &nodes {
                if reaches.contains(&(from, middle)) && reaches.contains(&(middle, to)) {
                    reaches.insert((from, to));
                }
            }
        }
    }
    let both = |a: &Name, b: &Name| reaches.contains(&(a, b)) && reaches.contains(&(b, a));
    let rooms: BTreeSet<Vec<Name>> = nodes
        .iter()
        .filter(|name| both(name, name))
        .map(|a| nodes.iter().filter(|b| both(a, b)).map(|name| (*name).clone()).collect())
        .collect();
    let inside = |room: &Vec<Name>| -> Vec<Use> {
        let among = edges.iter().filter(|((a, b), _)| room.contains(a) && room.contains(b));
        among.map(|(_, used)| (*used).clone()).collect()
    };
    rooms.into_iter().map(|room| (room.clone(), inside(&room))).collect()
}

/// The file of a module, where its parent's files are in `folder`.
fn file_of(attributes: &[Attribute], folder: &Path, name: &str) -> PathBuf {
    let path = attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    let own = folder.join(format!("{name}.rs"));
    match path {
        Some(path) => folder.join(path),
        None if own.exists() => own,
        None => folder.join(name).join("mod.rs"),
    }
}

/// Whether `#[cfg(test)]`, or a `cfg` that asks for tests, stands above an item.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            list.tokens.clone().into_iter().any(|token| token.to_string() == "test")
        }
        _ => false,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        _ => &[],
    }
}

/// The paths of a `use`, each with the name that it has afterwards.
fn spread(tree: &UseTree, before: &mut Segments, all: &mut Vec<(Segments, String)>) {
    let mut add = |before: &Segments, last: String, known_as: String| {
        let segments = match last.as_str() {
            "self" => before.clone(),
            _ => [before.clone(), vec![last]].concat(),
        };
        all.push((segments, known_as));
    };
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            spread(&path.tree, before, all);
            before.pop();
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            let known_as = match (name.as_str(), before.last()) {
                ("self", Some(last)) => last.clone(),
                _ => name.clone(),
            };
            add(before, name, known_as);
        }
        UseTree::Rename(rename) => add(before, rename.ident.to_string(), rename.rename.to_string()),
        UseTree::Glob(_) => add(before, "*".to_owned(), "*".to_owned()),
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| spread(tree, before, all));
        }
    }
}

/// Every `a::b::c` in code.
fn paths_in(tokens: TokenStream, paths: &mut BTreeSet<Segments>) {
    let (mut path, mut colons): (Segments, usize) = (Vec::new(), 0);
    let mut end = |path: &mut Segments| {
        if path.len() > 1 {
            paths.insert(std::mem::take(path));
        }
        path.clear();
    };
    let mut groups = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ':' => {
                colons += 1;
                continue;
            }
            TokenTree::Ident(ident) => {
                // `::std`, and what stands behind a type, begin nothing of ours.
                if colons != 2 || path.is_empty() {
                    end(&mut path);
                }
                path.push(ident.to_string());
            }
            TokenTree::Group(group) => {
                end(&mut path);
                groups.push(group.stream());
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => end(&mut path),
        }
        colons = 0;
    }
    end(&mut path);
    groups.into_iter().for_each(|group| paths_in(group, paths));
}
