//! The project's own rules, as far as a look at its files can check them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::time_limit;

fn root() -> &'static Path {
    time_limit::begins();
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns all Rust files below a folder, without those that a build has made.
pub(crate) fn rust_files(folder: &str) -> Vec<PathBuf> {
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
fn log_and_simplelog_are_the_only_packages() {
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
fn only_sys_has_unsafe_code() {
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
fn only_the_command_line_names_simplelog() {
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
fn every_file_opens_with_a_module_comment() {
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

/// Checks that each `use` that begins like this names a module before the file's own. A layer names
/// its own files with `super`.
fn assert_uses_what_stands_before(file: &Path, own: usize, order: &[String], prefix: &str) {
    for line in read(file).lines().map(str::trim) {
        // A module's own tests use all of it.
        let Some(used) = line.strip_prefix(prefix).filter(|used| *used != "*;") else {
            continue;
        };
        let used = used.split([':', ';']).next().unwrap();
        let place = order.iter().position(|module| module == used);
        let is_before = place.is_some_and(|place| place < own);
        assert!(is_before, "{}: {line}", file.display());
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
    for layer in modules("src/lib.rs").into_iter().chain(["cli".to_owned()]) {
        let folder = root().join("src").join(&layer);
        // The shelf lists its protocols itself: a new one needs no other line.
        if !folder.is_dir() || layer == "handlers" {
            continue;
        }
        let tour = read(folder.join("mod.rs"));
        let lines = tour.lines().count();
        assert!((10..=60).contains(&lines), "{layer}: {lines} lines");
        for entry in fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            // A folder beside a file of its name holds that file's tests.
            let file = name.trim_end_matches(".rs");
            let is_named = name == "mod.rs" || tour.contains(&format!("`{file}.rs`"));
            assert!(is_named, "src/{layer}/mod.rs does not name {name}");
        }
    }
}

#[test]
fn every_log_line_has_a_fixed_target() {
    for file in rust_files("src") {
        let text = read(&file);
        for level in ["error", "warn", "info", "debug", "trace"] {
            for call in text.split(&format!("log::{level}!(")).skip(1) {
                let has_target = call.trim_start().starts_with("target: ");
                assert!(
                    has_target,
                    "{}: log::{level}!({}",
                    file.display(),
                    &call[..40.min(call.len())]
                );
            }
        }
    }
}

#[test]
fn a_new_protocol_is_one_file_and_one_word() {
    let shelf = read("src/handlers/mod.rs");
    let (_, list) = shelf.split_once("\nshelf! {\n").expect("it has a list");
    let (list, _) = list.split_once("\n}").expect("it has an end");
    let listed: Vec<_> = list
        .lines()
        .map(|name| name.trim().trim_end_matches(','))
        .collect();
    for file in rust_files("src/handlers") {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        if name == "mod" {
            continue;
        }
        assert!(listed.contains(&&*name), "{name} is not in the list");
        // Nothing else in the source needs to know it.
        let has_row = read(&file).contains("pub(super) const NAMED: NamedHandler");
        assert!(has_row, "{name} has no row");
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
fn the_page_explains_every_difference_from_asynchat() {
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

    let page = read("tests/README.md");
    for name in names {
        let name = name.trim_end_matches(',');
        assert!(
            page.contains(&format!("`{name}`")),
            "tests/README.md does not explain {name}"
        );
    }
}

/// Returns the rows of the table below this heading of `tests/README.md`, as their cells.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, behind) = page
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("tests/README.md has no section {heading:?}"));
    let rows = behind
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'));

    // An escaped bar belongs to its cell.
    let cells = rows.map(|row| row.replace("\\|", "\u{2502}"));
    let cells = cells.map(|row| {
        row.trim_matches('|')
            .split('|')
            .map(str::to_owned)
            .collect()
    });
    cells.collect()
}

/// Returns whether this is a test or a module of tests: `wire`, `wire::a_test`,
/// `heavy::scale::a_test`, or `matcher::tests::a_test` for a unit test of the library.
fn is_a_test(path: &str) -> bool {
    let has_test = |file: &Path, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.contains(&format!("fn {name}()"))
    };
    match path.split("::").collect::<Vec<_>>()[..] {
        [module] => root().join(format!("tests/it/{module}.rs")).exists(),
        ["heavy", module, name] => has_test(&root().join(format!("tests/heavy/{module}.rs")), name),
        // The tests of a long file have a file of their own.
        [module, "tests", name] => rust_files("src").iter().any(|file| {
            let is_its = |place: String| file.ends_with(place);
            let holds_them = is_its(format!("{module}.rs")) || is_its(format!("{module}/tests.rs"));
            holds_them && has_test(file, name)
        }),
        [module, name] => has_test(&root().join(format!("tests/it/{module}.rs")), name),
        _ => false,
    }
}

#[test]
fn the_tests_that_the_page_names_exist() {
    let page = read("tests/README.md");
    for (heading, least) in [
        ("Limits, and what happens at them", 17),
        ("Threats, and the tests that attack", 30),
        (
            "Faults that were found, and the tests that keep them cured",
            75,
        ),
    ] {
        let rows = table(&page, heading);
        assert!(rows.len() >= least, "{heading}: only {} rows", rows.len());
        for row in rows {
            let tests: Vec<_> = row.last().unwrap().split('`').skip(1).step_by(2).collect();
            assert!(!tests.is_empty(), "no test in {row:?}");
            for test in tests {
                assert!(is_a_test(test), "{heading}: there is no test {test}");
            }
        }
    }
}

/// Returns the names of the tests in a file.
pub(crate) fn tests_in(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") {
            is_test = true;
        } else if let Some(definition) = line.strip_prefix("fn ")
            && is_test
        {
            names.extend(definition.split('(').next());
            is_test = false;
        }
    }
    names
}

#[test]
fn test_names_have_at_most_70_characters() {
    const LONGEST: usize = 70;
    let folders = ["src", "tests/it", "tests/heavy"];
    let mut seen = 0;

    for file in folders.into_iter().flat_map(rust_files) {
        for name in tests_in(&read(&file)) {
            seen += 1;
            assert!(
                name.len() <= LONGEST,
                "{}: {name} has {} characters, the longest name may have {LONGEST}",
                file.display(),
                name.len()
            );
        }
    }

    assert!(seen > 300, "only {seen} tests are found");
}

#[test]
fn the_readme_is_short() {
    let readme = read("README.md");
    let words = readme.split_whitespace().count();
    assert!(words < 2000, "README.md has {words} words");
}

#[test]
fn each_example_fits_on_a_page_and_says_how_to_start_it() {
    for file in rust_files("tests/examples") {
        let (text, name) = (read(&file), file.file_stem().unwrap().to_str().unwrap());
        let lines = text.lines().count();
        assert!(lines <= 65, "{name} has {lines} lines");

        let start = format!("cargo run --example {name}");
        let intro: Vec<_> = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        let intro = intro.join(" ");
        assert!(
            intro.contains("First start it") && intro.contains(&start),
            "{name}: {intro}"
        );
        assert!(
            read("README.md").contains(&start),
            "README.md does not name {name}"
        );
    }
}

/// The lines of code that a student reads first, without comments, blank lines and tests.
fn lines_to_read() -> usize {
    let folders = ["src/framing", "src/conversation"];
    let mut files: Vec<_> = folders.into_iter().flat_map(rust_files).collect();
    files.push(root().join("src/handlers/echo.rs"));
    let code = |line: &&str| !line.is_empty() && !line.starts_with("//");
    files
        .iter()
        .map(|file| {
            let text = read(file);
            let source = text.lines().take_while(|line| *line != "#[cfg(test)]");
            source.map(str::trim).filter(code).count()
        })
        .sum()
}

#[test]
fn the_readme_tells_truly_how_much_there_is_to_read() {
    let readme = read("README.md");
    let (before, _) = readme
        .split_once(" lines of code")
        .expect("it has a figure");
    let figure = before.rsplit(' ').next().unwrap().replace(',', "");
    let (said, is) = (figure.parse::<usize>().unwrap(), lines_to_read());
    assert!(
        said.abs_diff(is) * 20 <= is,
        "README.md says {said} lines, there are {is}"
    );
}
