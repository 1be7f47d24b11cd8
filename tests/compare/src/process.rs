//! Starts and places a server's process, reads its use of the machine, and always ends it.
//!
//! Each measurement has its own process, so no server keeps memory from an earlier workload. The
//! cost is one start per measurement, tens of milliseconds.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::record::Variant;
use crate::servers::Program;

/// The longest time that a server may take to start. Python on a busy machine is slow.
const START: Duration = Duration::from_secs(20);

/// The file with the error output of the current server.
pub const LAST_WORDS: &str = "server.stderr";

/// The environment variables that servers get. Others could configure one server differently.
const ENVIRONMENT: [&str; 4] = ["PATH", "HOME", "LANG", "PYENV_VERSION"];

/// A server that runs until this value is dropped.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    last_words: std::path::PathBuf,
    switches_of_earlier_children: u64,
}

/// The use of the machine by a process at one moment. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub threads: u64,
    pub resident: u64,
    pub page_tables: u64,
    pub virtual_size: u64,
}

impl Process {
    /// Starts a server on a free port and waits until it answers. If `wrapper` is given, that
    /// program with its arguments starts the server. Error output goes to a file in `folder`.
    pub fn start(
        program: &Program,
        variant: Variant,
        wrapper: &[&str],
        folder: &Path,
        stop: &AtomicBool,
    ) -> anyhow::Result<Self> {
        // The command: chrt, the wrapper, the program, the address between its arguments.
        let address = free_address()?;
        let mut words: Vec<String> = Vec::new();
        if variant == Variant::Batch {
            words.extend(["chrt", "-b", "0"].map(str::to_owned));
        }
        words.extend(wrapper.iter().map(|&word| word.to_owned()));
        words.push(program.path.to_string_lossy().into_owned());
        words.extend(program.before.iter().cloned());
        words.push(address.to_string());
        words.extend(program.after.iter().cloned());

        // Every server gets the same environment and streams.
        let last_words = folder.join(LAST_WORDS);
        let printed = File::create(&last_words)?;

        let cores = Cores::of_server(variant)?;
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(printed)
            // Many runtimes read settings from the environment.
            .env_clear()
            .envs(
                ENVIRONMENT
                    .iter()
                    .filter_map(|name| Some((name, env::var_os(name)?))),
            )
            // Ctrl-C must reach only the comparison, which ends its servers itself.
            .process_group(0);
        let parent = Pid::this();
        // SAFETY: between fork and exec the closure makes only system calls. It allocates nothing
        // and takes no lock.
        unsafe {
            command.pre_exec(move || {
                // Even a killed comparison must leave no server behind.
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
                if nix::unistd::getppid() != parent {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                cores.adopt()?;
                Ok(())
            });
        }

        let switches_of_earlier_children = switches_of_children()?;
        let child = command.spawn().with_context(|| words[0].clone())?;
        let mut process = Self {
            child,
            address,
            last_words,
            switches_of_earlier_children,
        };

        // Wait until it answers a line.
        let deadline = Instant::now() + START;
        loop {
            if let Some(how) = process.died() {
                bail!("it did not start: {how}");
            }
            match greet(address) {
                Ok(()) => return Ok(process),
                Err(_) if stop.load(Ordering::Relaxed) => bail!("stopped"),
                Err(error) if Instant::now() > deadline => {
                    bail!("it did not answer within {START:?}: {error}")
                }
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// If the process has ended, returns its exit status and its last line of output.
    pub fn died(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        let said = fs::read_to_string(&self.last_words).unwrap_or_default();
        let last: String = said
            .lines()
            .last()
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect();

        Some(if last.is_empty() {
            status.to_string()
        } else {
            format!("{status}: {last}")
        })
    }

    /// Returns the processor time of all its threads so far, in nanoseconds.
    pub fn cpu(&self) -> u64 {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        clock_getcpuclockid(pid)
            .and_then(clock_gettime)
            .map_or(0, |time| Duration::from(time).as_nanos() as u64)
    }

    /// Returns its present use of the machine. All values are zero once the process is gone.
    pub fn usage(&self) -> Usage {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();

        let number = |name: &str| {
            status
                .lines()
                .find_map(|line| {
                    line.strip_prefix(name)?
                        .split_whitespace()
                        .next()?
                        .parse()
                        .ok()
                })
                .unwrap_or(0_u64)
        };

        Usage {
            threads: number("Threads:"),
            resident: number("VmRSS:") * 1024,
            page_tables: number("VmPTE:") * 1024,
            virtual_size: number("VmSize:") * 1024,
        }
    }

    /// Ends the process. Returns the context switches of all threads that it ever had.
    pub fn end(mut self) -> anyhow::Result<u64> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(switches_of_children()? - self.switches_of_earlier_children)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a free address on loopback. If another program takes it before the server does, the
/// server reports that, and its measurement fails.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Sends a line and waits for its echo. A server that listens may not serve yet: a pool of threads
/// takes some time to start.
fn greet(address: SocketAddr) -> io::Result<()> {
    const LINE: &[u8] = b"hello\r\n";

    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(LINE)?;
    stream.read_exact(&mut [0; LINE.len()])
}

/// Returns the context switches of all children that have ended and were waited for.
fn switches_of_children() -> anyhow::Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let both = usage.voluntary_context_switches() + usage.involuntary_context_switches();
    Ok(both.cast_unsigned())
}

/// A set of cores.
#[derive(Clone, Copy)]
pub struct Cores(CpuSet);

impl Cores {
    /// Returns the cores that this process may use.
    pub fn all() -> anyhow::Result<Self> {
        Ok(Self(sched_getaffinity(Pid::from_raw(0))?))
    }

    fn of_server(variant: Variant) -> anyhow::Result<Self> {
        let all = Self::all()?;
        Ok(match (variant, all.first()) {
            (Variant::OneCore, Some(first)) => {
                let mut one = CpuSet::new();
                one.set(first)?;
                Self(one)
            }
            _ => all,
        })
    }

    /// Returns the cores for the generator beside a server in `variant`.
    pub fn of_generator(variant: Variant) -> anyhow::Result<Self> {
        let mut cores = Self::all()?;

        if variant == Variant::OneCore {
            let Some(first) = cores.first().filter(|_| cores.count() > 1) else {
                bail!("this machine has no second core for the generator");
            };
            cores.0.unset(first)?;
        }

        Ok(cores)
    }

    fn first(&self) -> Option<usize> {
        (0..CpuSet::count()).find(|&core| self.0.is_set(core) == Ok(true))
    }

    pub fn count(&self) -> usize {
        (0..CpuSet::count())
            .filter(|&core| self.0.is_set(core) == Ok(true))
            .count()
    }

    /// Moves the calling thread, and those that it starts later, to these cores.
    pub fn adopt(&self) -> io::Result<()> {
        Ok(sched_setaffinity(Pid::from_raw(0), &self.0)?)
    }
}
