//! The table of servers that do the same job, and the way to build and start each of them.
//!
//! A server is absent if this machine lacks its compiler or interpreter. The report says so, and
//! `deps.sh` installs what it can. The C and Go servers are compiled at the beginning of each run,
//! in a second or two.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::record::Model::{self, Loop, Loops, Reflector, Threads};

/// A server of the table.
pub struct Entry {
    /// The short, fixed name that `--servers` takes.
    pub name: &'static str,
    pub title: &'static str,
    pub model: Model,
    made: Made,
    /// The path of the source in this package, for the reader of the report.
    pub source: &'static str,
    /// The highest number of connections that the server can hold.
    pub most_connections: usize,
}

/// The way to build or run a server.
enum Made {
    /// The project's own server, built before, and further arguments.
    Synchat(&'static [&'static str]),
    /// A program of this package, the packages that it uses, and its arguments.
    Rust(
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
    ),
    /// Built by a C compiler, and started with these arguments.
    C(&'static [&'static str]),
    /// Built by the Go compiler.
    Go,
    /// Run by Python, with these modules and arguments.
    Python(&'static [&'static str], &'static [&'static str]),
    /// Run by Node.js.
    Node,
}

/// All servers. The others are compared with the first.
pub const ENTRIES: &[Entry] = &[
    entry("synchat", "synchat", Threads, Made::Synchat(&[]), "src"),
    entry(
        "synchat-new",
        "synchat, a new thread per client",
        Threads,
        Made::Synchat(&["--spare-threads=0"]),
        "src",
    ),
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
        "Python asynchat, from the article",
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
        "returns bytes unread",
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

/// Returns the entries with these names, in the order of [`ENTRIES`].
///
/// # Errors
///
/// Returns an error if a name is unknown.
pub fn named(names: &[String]) -> anyhow::Result<Vec<&'static Entry>> {
    if let Some(name) = names
        .iter()
        .find(|name| ENTRIES.iter().all(|entry| entry.name != **name))
    {
        let all: Vec<_> = ENTRIES.iter().map(|entry| entry.name).collect();
        anyhow::bail!("there is no server {name}: choose from {}", all.join(", "));
    }

    Ok(ENTRIES
        .iter()
        .filter(|entry| names.iter().any(|name| name == entry.name))
        .collect())
}

/// The paths and settings that servers are built and started with.
pub struct Places {
    /// The folder of this package, with the sources.
    pub package: PathBuf,
    /// The folder for compiled programs.
    pub built: PathBuf,
    /// The program file of synchat.
    pub synchat: PathBuf,
    /// The highest number of connections that synchat accepts.
    pub connections: usize,
    /// The Python interpreter, with the packages that `deps.sh` installed.
    pub python: PathBuf,
}

/// All that is needed to start a server.
pub struct Program {
    pub path: PathBuf,
    /// The arguments before the address.
    pub before: Vec<String>,
    /// The arguments after the address.
    pub after: Vec<String>,
    /// The parts of the server, with versions.
    pub version: String,
}

impl Program {
    /// Returns the command, for the reader of the report.
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
    /// Limits the entry to this number of connections.
    const fn holding(self, connections: usize) -> Self {
        Self {
            most_connections: connections,
            ..self
        }
    }

    /// Builds the server if that is needed.
    ///
    /// # Errors
    ///
    /// Returns a text that says what is missing.
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
            Made::Synchat(arguments) => {
                let version = first_line(Command::new(&places.synchat).arg("--version"))?;
                let most = format!("--max-connections={}", places.connections);
                let arguments = ["--quiet", &most]
                    .into_iter()
                    .chain(arguments.iter().copied());
                Ok(Program {
                    after: arguments.map(str::to_owned).collect(),
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
                        // A single file is not a module.
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

/// Returns the first line that a program prints. The error says that it is missing or failed.
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

/// Returns a package with its version from this program's lock file.
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
