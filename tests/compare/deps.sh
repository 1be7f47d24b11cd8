#!/bin/sh
# Installs the tools that the comparison uses besides a Rust toolchain: Debian packages, if it runs
# as root, and uvloop, in a virtual environment. The only argument is the folder of that environment.
#
# If something cannot be installed, the script says so with the reason and goes on. The report then
# lacks that peer. The script fails only if a tool is missing that the comparison needs.
set -u

root=$(cd "$(dirname "$0")/../.." && pwd)
venv=${1:-$root/target/compare/venv}
uvloop=0.23.0
# Debian keeps some of the tools in these folders.
PATH=$PATH:/usr/sbin:/sbin
# The output of a command that can fail.
words=$(mktemp) || exit 1
trap 'rm -f "$words"' EXIT
trap 'exit 130' HUP INT TERM

# Each row: the tool, its Debian packages, needed or optional, and its purpose.
table() {
    cat <<END
strace strace needed to count system calls
cc gcc,libc6-dev needed for the peer in C
python3 python3 needed for the peers in Python, 3.11 or later
chromium chromium needed to look at the report in a test
chrt util-linux optional for servers under batch scheduling
go golang-go optional for the peer in Go
node nodejs optional for the peer in JavaScript
ensurepip python3-venv optional for uvloop
END
}

# Succeeds if a tool is here and works. A file in the path is not enough.
has() {
    case $1 in
    cc) echo '#include <pthread.h>' | cc -x c -fsyntax-only - ;;
    python3) python3 -c 'import sys, asyncio; sys.exit(sys.version_info < (3, 11))' ;;
    ensurepip) python3 -c 'import ensurepip' ;;
    *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

# Sets `missing` to the rows of the table whose tools are not here.
look() {
    missing=$(table | while read -r tool row; do has "$tool" || echo "$tool $row"; done)
}

can_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

# Runs apt-get with a timeout, because its lock or the network may be slow.
apt() {
    DEBIAN_FRONTEND=noninteractive timeout --foreground 900 \
        apt-get -qq -o DPkg::Lock::Timeout=120 "$@" </dev/null >/dev/null 2>"$words"
}

# Prints the last line of a failed command's output.
why() {
    tail -n 1 "$words" | grep . || echo "it printed nothing before its timeout"
}

# Installs one package after the other, so one that fails does not stop the others.
install_missing() {
    apt update || echo "compare-deps: apt-get update: $(why)" >&2
    echo "$missing" | while read -r tool packages row; do
        echo "installing $(echo "$packages" | tr ',' ' ')"
        # shellcheck disable=SC2046 # A word for each package.
        apt install -y --no-install-recommends $(echo "$packages" | tr ',' ' ') ||
            echo "compare-deps: $tool: apt-get install: $(why)" >&2
    done
}

# Succeeds if the environment has this uvloop, and the Python that the other peers run on.
has_uvloop() {
    [ -x "$venv/bin/python3" ] || return 1
    program='import sys, uvloop; print(sys.version, uvloop.__version__)'
    [ "$("$venv/bin/python3" -c "$program" 2>/dev/null)" = \
        "$(python3 -c "import sys; print(sys.version, '$uvloop')" 2>/dev/null)" ]
}

install_uvloop() {
    echo "installing uvloop $uvloop to $venv"
    clear=
    # An environment may be of another Python. Never clear any other folder.
    [ ! -f "$venv/pyvenv.cfg" ] || clear=--clear
    timeout --foreground 120 python3 -m venv $clear "$venv" >"$words" 2>&1 &&
        timeout --foreground 300 "$venv/bin/python3" -m pip install --quiet --disable-pip-version-check \
            --only-binary :all: "uvloop==$uvloop" </dev/null >"$words" 2>&1
}

look
if [ -n "$missing" ] && can_install; then
    install_missing
    look
fi
has_uvloop || install_uvloop ||
    echo "compare-deps: missing: uvloop $uvloop (optional): $(why)" >&2
python3 -W ignore -c 'import asynchat' 2>/dev/null ||
    echo "compare-deps: missing: asynchat (optional): only Python up to 3.11 has it" >&2

[ -z "$missing" ] || echo "$missing" | while read -r tool packages need what; do
    echo "compare-deps: missing: $tool ($need), $what:" \
        "as root, apt-get install $(echo "$packages" | tr ',' ' ')" >&2
done
! echo "$missing" | grep -q ' needed '
