#!/usr/bin/env bash
# Sees to what the build, the tests and the demo need of the system. Installs by apt what is missing and nothing else;
# says nothing when nothing is. Where there is no apt, it names what is missing and ends with 3.
set -euo pipefail

missing=()
need() { # need PACKAGE COMMAND...: the package is wanted unless the command succeeds
	local package=$1
	shift
	"$@" >/dev/null 2>&1 || missing+=("$package")
}
have() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1"; }

major() { # of clang "$1"; 0 when it does not run
	"$1" -E -dM -x c /dev/null 2>/dev/null | sed -n 's/^#define __clang_major__ //p' | grep . || echo 0
}
have_clang() {
	local name
	for name in ${CLANG:-clang-19 clang-18 clang-17 clang-16 clang}; do
		[ "$(major "$name")" -ge 16 ] && return
	done
	return 1
}
in_archive() { # not so of chromium in Ubuntu
	apt-cache show "$1" 2>/dev/null | grep -q ^Package:
}
newest_clang() { # clang-19 where the distribution has it, else its own
	in_archive clang-19 && echo clang-19 || echo clang
}

need python3-venv python3 -c 'import ensurepip, venv'
need gcc have cc
need libc6-dev test -e /usr/include/stdlib.h
need linux-libc-dev test -e /usr/include/linux/bpf.h
need pkg-config have pkg-config
need libelf-dev test -e /usr/include/libelf.h
need zlib1g-dev test -e /usr/include/zlib.h
need iproute2 have ip
need iputils-ping have ping
need curl have curl
need iperf3 have iperf3
need nftables have nft
need ethtool have ethtool
# clients that the tests of names record; a browser is large, and Debian starts a server of zones as soon as it is there,
# so these are for continuous integration alone
need openssl have openssl
need bind9-dnsutils have dig
need gnutls-bin have gnutls-cli
need netcat-openbsd have nc
need wget have wget
[ -z "${CI:-}" ] || ! in_archive chromium || need chromium have chromium
[ -z "${CI:-}" ] || need knot have knotd
[ -z "${CI:-}" ] || need g++ have "${CXX:-c++}" # for a short run of each fuzz target
need clang have_clang

[ ${#missing[@]} -gt 0 ] || exit 0
if ! command -v apt-get >/dev/null; then
	echo "setup: missing, by the names that Debian gives them: ${missing[*]} (clang: 16 or later)" >&2
	exit 3
fi
root=()
if [ "$(id -u)" -ne 0 ]; then
	root=(sudo)
	if ! command -v sudo >/dev/null; then
		echo "setup: to install ${missing[*]}, run as root: make setup" >&2
		exit 3
	fi
fi
apt() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=5 "$@" </dev/null; }

echo "setup: installing ${missing[*]}" >&2
# A source that cannot be reached is no reason to stop: whether the packages can be had shows below.
apt update || echo "setup: not every package list could be read" >&2
apt install --no-install-recommends "${missing[@]/%clang/$(newest_clang)}" >/dev/null
if ! have_clang; then
	echo "setup: clang 16 or later is needed, and this system's is $(major clang): apt-get install clang-19, or clang-16" >&2
	exit 3
fi
