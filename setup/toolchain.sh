#!/usr/bin/env bash
# Is there a Rust that can build the engine? Installs none: a toolchain is its user's. Names the command that does.
set -euo pipefail

least=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../engine/Cargo.toml")
. /etc/os-release 2>/dev/null || ID=unknown VERSION_ID=
case "$ID-${VERSION_ID:-}" in
debian-13) how="apt-get install rustc cargo rust-clippy rustfmt" ;;
ubuntu-24.04) how="apt-get install rustup && rustup default stable" ;;
*) how="install rustup as https://rustup.rs says, then: rustup default stable" ;;
esac

if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
	echo "setup: Rust $least or later is needed, and there is no cargo on PATH nor in CARGO_HOME: $how" >&2
	exit 3
fi
if ! found=$(rustc --version 2>&1); then
	echo "setup: rustc does not run ($found): rustup default stable, or set RUSTUP_HOME to the toolchain's folder" >&2
	exit 3
fi
found=$(cut -d' ' -f2 <<<"$found")
if [ "$(printf '%s\n' "$least" "$found" | sort -V | head -n 1)" != "$least" ]; then
	echo "setup: Rust $least or later is needed, this is $found: rustup update, or $how" >&2
	exit 3
fi
