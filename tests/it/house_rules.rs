//! The project's own rules, where a look at its files can check them.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Rust files below a folder, but for what was built in it.
fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(!files.is_empty());
    files
}

#[test]
fn the_manifest_names_log_and_simplelog_and_no_other_package() {
    let manifest = read("Cargo.toml");
    let mut section = "";
    let mut packages = Vec::new();
    for line in manifest.lines() {
        match line.strip_prefix('[') {
            Some(name) => section = name.trim_end_matches(']'),
            None if section.contains("dependencies") => {
                packages.extend(line.split_once(" = ").map(|(name, _)| name));
            }
            None => {}
        }
    }
    assert_eq!(packages, ["log", "simplelog"]);
}

#[test]
fn unsafe_code_is_in_sys_alone() {
    for file in rust_files("src") {
        let text = read(&file);
        let is_sys = file.ends_with("src/net/sys.rs");
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let is_unsafe = code.into_iter().any(|line| {
            line.split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == "unsafe")
        });
        assert_eq!(is_unsafe, is_sys, "{}", file.display());
    }
}

#[test]
fn simplelog_is_named_by_the_command_line_alone() {
    for file in rust_files("src") {
        let named = read(&file).contains("simplelog");
        assert!(
            !named || file.starts_with(root().join("src/cli")),
            "{}",
            file.display()
        );
    }
}

#[test]
fn every_file_opens_with_what_it_is() {
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        assert!(read(&file).starts_with("//!"), "{}", file.display());
    }
}

/// The modules that a file declares, in their order.
fn modules(file: &str) -> Vec<String> {
    let list = read(file);
    let in_a_list = list
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    in_a_list.map(str::to_owned).collect()
}

/// Checks that each `use` that begins like this names a module before the file's own.
fn assert_uses_what_stands_before(file: &Path, own: usize, order: &[String], prefix: &str) {
    for line in read(file).lines().map(str::trim) {
        // A module's own tests use all of it.
        let Some(used) = line.strip_prefix(prefix).filter(|used| *used != "*;") else {
            continue;
        };
        let used = used.split([':', ';']).next().unwrap();
        let place = order.iter().position(|module| module == used);
        let is_before = place.is_some_and(|place| place < own);
        let is_itself = prefix == "use crate::" && place == Some(own);
        assert!(is_before || is_itself, "{}: {line}", file.display());
    }
}

#[test]
fn each_layer_uses_only_layers_before_it() {
    let layers = modules("src/lib.rs");
    assert!(layers.len() >= 7, "{layers:?}");
    for file in rust_files("src") {
        let inside = file.strip_prefix(root().join("src")).unwrap();
        let layer = inside.to_str().unwrap().split(['/', '.']).next().unwrap();
        let Some(own) = layers.iter().position(|other| other == layer) else {
            assert!(
                ["lib", "main", "cli", "from_asynchat"].contains(&layer),
                "lib.rs has no {layer}"
            );
            continue;
        };
        assert_uses_what_stands_before(&file, own, &layers, "use crate::");
    }
}

#[test]
fn each_file_of_a_layer_uses_only_files_before_it() {
    for layer in ["framing", "conversation", "net", "server"] {
        let order = modules(&format!("src/{layer}/mod.rs"));
        assert!(order.len() >= 5, "{order:?}");
        for (own, module) in order.iter().enumerate() {
            let file = root().join(format!("src/{layer}/{module}.rs"));
            assert_uses_what_stands_before(&file, own, &order, "use super::");
        }
    }
}

#[test]
fn each_layer_opens_with_a_short_tour() {
    for layer in modules("src/lib.rs") {
        let folder = root().join("src").join(&layer);
        if !folder.is_dir() {
            continue;
        }
        let tour = read(folder.join("mod.rs"));
        let lines = tour.lines().count();
        assert!((10..=60).contains(&lines), "{layer}: {lines} lines");
        for entry in fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_named = name == "mod.rs" || tour.contains(&format!("`{name}`"));
            assert!(is_named, "src/{layer}/mod.rs does not name {name}");
        }
    }
}

#[test]
fn the_crates_map_names_every_layer() {
    let map = read("src/lib.rs");
    for layer in modules("src/lib.rs") {
        let names = [format!("`{layer}/`"), format!("`{layer}.rs`")];
        assert!(
            names.iter().any(|name| map.contains(name)),
            "src/lib.rs does not name {layer}"
        );
    }
}

#[test]
fn the_readme_names_every_deliberate_difference_from_asynchat() {
    let golden = read("tests/it/golden.rs");
    let list = golden
        .split_once("enum Difference {")
        .expect("the list of differences")
        .1
        .split_once('}')
        .unwrap()
        .0;
    let names: Vec<_> = list
        .lines()
        .map(str::trim)
        .filter(|line| line.ends_with(',') && !line.starts_with('/'))
        .collect();
    assert!(names.len() >= 6, "{names:?}");
    let readme = read("README.md");
    for name in names {
        let name = name.trim_end_matches(',');
        assert!(
            readme.contains(&format!("`{name}`")),
            "README.md does not explain {name}"
        );
    }
}

#[test]
fn the_tests_that_the_readme_names_exist() {
    let readme = read("README.md");
    let (_, threats) = readme
        .split_once("### Threats, and the tests that attack")
        .expect("it has a table");
    let (threats, _) = threats.split_once("\n## ").expect("it has an end");
    let mut named = 0;
    for test in threats.split('`').filter(|word| word.contains("::")) {
        let (module, name) = test.split_once("::").expect("it has a module");
        let is_there = ["it", "heavy"].iter().any(|folder| {
            let path = root().join(format!("tests/{folder}/{module}.rs"));
            fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("fn {name}()")))
        });
        assert!(is_there, "there is no test {test}");
        named += 1;
    }
    assert!(named > 30, "only {named}");
}
