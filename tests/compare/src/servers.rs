//! Who is compared: a table of servers that do the same job, and how each is started.
//!
//! A server that needs a compiler or an interpreter which this machine lacks is absent, and the
//! report says so; `deps.sh` installs what it can. What is compiled here is so at the beginning of
//! each run, from one file, in a second or two.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::record::Model::{self, Loop, Loops, Reflector, Threads};

/// A server, by what it is made of.
pub struct Entry {
    /// Short and fixed: what `--servers` takes.
    pub name: &'static str,
    pub title: &'static str,
    pub model: Model,
    made: Made,
    /// Within this package, for the reader of the report.
    pub source: &'static str,
    /// More connections than these it does not hold.
    pub most_connections: usize,
}

/// How a program comes about.
enum Made {
    /// The project's own server, which was built before.
    Synchat,
    /// A program of this package, the packages that it stands on, and its arguments.
    Rust(
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
    ),
    /// By a C compiler, and its arguments.
    C(&'static [&'static str]),
    /// By the Go compiler.
    Go,
    /// Run by Python, with these modules and arguments.
    Python(&'static [&'static str], &'static [&'static str]),
    /// Run by Node.
    Node,
}

/// All of them. The first is what the others are compared with.
pub const ENTRIES: &[Entry] = &[
    entry("synchat", "synchat", Threads, Made::Synchat, "src"),
    entry("c", "C, pthreads", Threads, Made::C(&[]), "peers/twin.c"),
    entry(
        "c-yield",
        "C, pthreads, sched_yield",
        Threads,
        Made::C(&["yield"]),
        "peers/twin.c",
    ),
    entry(
        "naive",
        "Rust, threads, read_until",
        Threads,
        Made::Rust("peer-naive", &[], &[]),
        "peers/naive.rs",
    ),
    entry(
        "net-io",
        "net-io, a pool of threads",
        Threads,
        Made::Rust("peer-net-io", &["net-io"], &[]),
        "peers/net_io.rs",
    )
    .holding(4096),
    entry(
        "tokio",
        "tokio, multi-threaded",
        Loops,
        Made::Rust("peer-tokio", &["tokio"], &[]),
        "peers/tokio.rs",
    ),
    entry(
        "tokio-1",
        "tokio, current thread",
        Loop,
        Made::Rust("peer-tokio", &["tokio"], &["current-thread"]),
        "peers/tokio.rs",
    ),
    entry(
        "tokio-framed",
        "tokio, Framed LinesCodec, a write per line",
        Loops,
        Made::Rust("peer-tokio-framed", &["tokio", "tokio-util"], &[]),
        "peers/tokio_framed.rs",
    ),
    entry(
        "smol",
        "smol",
        Loop,
        Made::Rust("peer-smol", &["smol"], &[]),
        "peers/smol.rs",
    ),
    entry(
        "mio",
        "mio, epoll by hand",
        Loop,
        Made::Rust("peer-mio", &["mio"], &[]),
        "peers/mio.rs",
    ),
    entry(
        "compio",
        "compio, io_uring",
        Loop,
        Made::Rust("peer-compio", &["compio"], &[]),
        "peers/compio.rs",
    ),
    entry(
        "asynchat",
        "Python asynchat, the article's",
        Loop,
        Made::Python(&["asyncore", "asynchat"], &[]),
        "peers/asynchat_server.py",
    ),
    entry(
        "asyncio",
        "Python asyncio, protocol",
        Loop,
        Made::Python(&["asyncio"], &[]),
        "peers/asyncio_protocol.py",
    ),
    entry(
        "asyncio-streams",
        "Python asyncio, streams",
        Loop,
        Made::Python(&["asyncio"], &[]),
        "peers/asyncio_streams.py",
    ),
    entry(
        "uvloop",
        "Python uvloop, protocol",
        Loop,
        Made::Python(&["uvloop"], &["uvloop"]),
        "peers/asyncio_protocol.py",
    ),
    entry("go", "Go, goroutines", Loops, Made::Go, "peers/echo.go"),
    entry("node", "Node.js", Loop, Made::Node, "peers/echo.js"),
    entry(
        "reflector",
        "bytes returned as they are",
        Reflector,
        Made::Rust("peer-reflector", &["mio"], &[]),
        "peers/reflector.rs",
    ),
];

const fn entry(
    name: &'static str,
    title: &'static str,
    model: Model,
    made: Made,
    source: &'static str,
) -> Entry {
    Entry {
        name,
        title,
        model,
        made,
        source,
        most_connections: usize::MAX,
    }
}

/// The entries of these names, in the order of [`ENTRIES`].
///
/// # Errors
///
/// At a name that is none of theirs.
pub fn named(names: &[String]) -> anyhow::Result<Vec<&'static Entry>> {
    if let Some(name) = names
        .iter()
        .find(|name| ENTRIES.iter().all(|entry| entry.name != **name))
    {
        let all: Vec<_> = ENTRIES.iter().map(|entry| entry.name).collect();
        anyhow::bail!("{name} is no server; there are {}", all.join(", "));
    }
    Ok(ENTRIES
        .iter()
        .filter(|entry| names.iter().any(|name| name == entry.name))
        .collect())
}

/// Where things are on this machine.
pub struct Places {
    /// Of this package: its sources.
    pub package: PathBuf,
    /// Where programs are compiled to.
    pub built: PathBuf,
    /// The project's own server.
    pub synchat: PathBuf,
    /// So many connections the project's own server is to take, and no more.
    pub connections: usize,
    /// The interpreter, which has the packages that `deps.sh` installed.
    pub python: PathBuf,
}

/// What is needed to start a server.
pub struct Program {
    pub path: PathBuf,
    /// Before the address.
    pub before: Vec<String>,
    /// After the address.
    pub after: Vec<String>,
    /// What it is made of, with versions.
    pub version: String,
}

impl Program {
    /// The command, for the reader of the report.
    pub fn command(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let source = self
            .before
            .iter()
            .map(|path| path.rsplit('/').next().unwrap_or(path));
        let mut words = vec![&*name];
        words.extend(source);
        words.push("ADDRESS");
        words.extend(self.after.iter().map(String::as_str));
        words.join(" ")
    }
}

impl Entry {
    /// The same, which holds so many connections and no more.
    const fn holding(self, connections: usize) -> Self {
        Self {
            most_connections: connections,
            ..self
        }
    }

    /// Builds the server where that is needed.
    ///
    /// # Errors
    ///
    /// In words, what is absent.
    pub fn prepare(&self, places: &Places) -> Result<Program, String> {
        let source = places.package.join(self.source);
        let source = source.to_string_lossy().into_owned();
        let program = |path: &Path, version: String| Program {
            path: path.to_owned(),
            before: Vec::new(),
            after: Vec::new(),
            version,
        };
        let owned = |arguments: &[&str]| arguments.iter().map(|&a| a.to_owned()).collect();
        match self.made {
            Made::Synchat => {
                let version = first_line(Command::new(&places.synchat).arg("--version"))?;
                Ok(Program {
                    after: vec![
                        "--quiet".to_owned(),
                        "--max-connections".to_owned(),
                        places.connections.to_string(),
                    ],
                    ..program(&places.synchat, version)
                })
            }
            Made::Rust(name, packages, arguments) => {
                let path = std::env::current_exe()
                    .map_err(|error| error.to_string())?
                    .with_file_name(name);
                if !path.exists() {
                    return Err(format!("{} is not built", path.display()));
                }
                let versions: Vec<_> = packages.iter().map(|name| locked_version(name)).collect();
                let version = match &versions[..] {
                    [] => first_line(Command::new("rustc").arg("--version"))
                        .unwrap_or_else(|_| "Rust".to_owned()),
                    some => some.join(", "),
                };
                Ok(Program {
                    after: owned(arguments),
                    ..program(&path, version)
                })
            }
            Made::C(arguments) => {
                let version = first_line(Command::new("cc").arg("--version"))?;
                let path = places.built.join("twin");
                compile(
                    Command::new("cc")
                        .args(["-O2", "-pthread", "-o"])
                        .arg(&path)
                        .arg(source),
                )?;
                Ok(Program {
                    after: owned(arguments),
                    ..program(&path, version)
                })
            }
            Made::Go => {
                let version = first_line(Command::new("go").arg("version"))?;
                let path = places.built.join("echo-go");
                compile(
                    Command::new("go")
                        // One file is no module.
                        .env("GO111MODULE", "off")
                        .args(["build", "-o"])
                        .arg(&path)
                        .arg(source),
                )?;
                Ok(program(&path, version))
            }
            Made::Python(modules, arguments) => {
                let mut version = first_line(Command::new(&places.python).arg("--version"))?;
                for module in modules {
                    let script =
                        format!("import {module}; print(getattr({module}, '__version__', ''))");
                    let own = first_line(
                        Command::new(&places.python).args(["-W", "ignore", "-c", &script]),
                    )
                    .map_err(|_| format!("{version} has no module {module}"))?;
                    if !own.is_empty() {
                        version = format!("{module} {own}, {version}");
                    }
                }
                Ok(Program {
                    before: vec![source],
                    after: owned(arguments),
                    ..program(&places.python, version)
                })
            }
            Made::Node => {
                let version = first_line(Command::new("node").arg("--version"))?;
                Ok(Program {
                    before: vec![source],
                    ..program(Path::new("node"), format!("Node.js {version}"))
                })
            }
        }
    }
}

/// The first line that a program prints; or, in words, that it is absent or fails.
pub fn first_line(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{name} is not installed"),
        _ => format!("{name}: {error}"),
    })?;
    if !output.status.success() {
        return Err(format!("{name}: {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn compile(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        let text = String::from_utf8_lossy(&output.stderr);
        Err(format!(
            "{name}: {}",
            text.lines().next().unwrap_or("failed")
        ))
    }
}

/// A package of this program's lock file, with its version.
fn locked_version(package: &str) -> String {
    const LOCK: &str = include_str!("../Cargo.lock");
    LOCK.split("[[package]]")
        .find_map(|entry| {
            let mut lines = entry.trim().lines();
            (lines.next()? == format!("name = \"{package}\"")).then(|| {
                lines
                    .next()?
                    .strip_prefix("version = \"")?
                    .strip_suffix('"')
            })?
        })
        .map_or_else(
            || package.to_owned(),
            |version| format!("{package} {version}"),
        )
}
