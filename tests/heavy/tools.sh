#!/bin/sh
# Looks for the tools that the tests in this folder use. As root, it installs the Debian packages of
# those that are missing. Otherwise it names them and fails.
set -eu
# Debian keeps the tools of administrators here.
PATH=$PATH:/usr/sbin:/sbin

missing() {
    while read -r tool package; do
        command -v "$tool" >/dev/null || echo "$tool $package"
    done <<END
strace strace
prlimit util-linux
unshare util-linux
nsenter util-linux
setpriv util-linux
mount mount
chroot coreutils
timeout coreutils
sysctl procps
cc gcc
c++ g++
kill procps
ss iproute2
ip iproute2
systemd-socket-activate systemd
systemd-analyze systemd
python3 python3
curl curl
nc netcat-openbsd
bash bash
zsh zsh
fish fish
groff groff-base
man man-db
END
}

if [ -n "$(missing)" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    packages=$(missing | cut -d ' ' -f 2 | sort -u)
    echo "installing:" $packages
    apt-get update -qq
    # shellcheck disable=SC2086 # A word for each package.
    DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends $packages </dev/null
fi
if [ -n "$(missing)" ]; then
    echo "missing: these tools, and the Debian packages that have them:" >&2
    missing >&2
    exit 1
fi
