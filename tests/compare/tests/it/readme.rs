//! Tests of this package's README: it names every server and every subcommand that the program has.

use std::fs;
use std::path::Path;

use crate::support::{run, text};

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    fs::read_to_string(path).expect("this package has a README")
}

/// Returns the names of all servers, in their order. The program lists them when it gets a wrong one.
fn servers() -> Vec<String> {
    let output = text(&run(&["run", "--servers", "nonsense"]));
    let (_, names) = output.split_once("choose from ").expect("a list");
    names.trim().split(", ").map(str::to_owned).collect()
}

#[test]
fn the_readme_has_a_row_for_each_server() {
    let readme = readme();
    let (_, section) = readme.split_once("## The servers\n").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("another section");

    let rows: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(rows, servers());
}

#[test]
fn the_readme_names_every_subcommand() {
    let help = text(&run(&["--help"]));
    let (_, commands) = help.split_once("Commands:\n").expect("a list");
    let names: Vec<&str> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() >= 5, "{help}");

    let readme = readme();
    for name in names {
        assert!(readme.contains(&format!("\ncompare {name} ")), "{name}");
    }
}
