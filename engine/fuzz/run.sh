#!/usr/bin/env bash
# Fuzzes targets in turn, each for FUZZ_SECONDS (600), and closes with a table of what each did; 1 at a crash.
#   engine/fuzz/run.sh [TARGET...]    all of them where none is named
#
# Needs no nightly Rust and no cargo-fuzz: coverage comes from LLVM's own pass, libFuzzer from libfuzzer-sys, for which a
# C++ compiler must be there (CXX). Memory is not watched beyond what safe Rust is. Corpora are kept between runs in
# target/fuzz/corpus, crashes in target/fuzz/crashes. Called by `make fuzz`, and by tests/engine/test_fuzz.py for seconds.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${FUZZ_SECONDS:-600}
input_bytes_max=20480 # beyond every bound on a flow's bytes, so that fuzzing reaches past them
input_seconds_max=10
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../../target/fuzz}

if ! command -v "${CXX:-c++}" >/dev/null; then
	echo "fuzz: libFuzzer is C++, and there is no ${CXX:-c++}: apt-get install g++" >&2
	exit 3
fi
host=$(rustc -vV | sed -n 's/^host: //p')
pass="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
for part in inline-8bit-counters pc-table trace-compares; do
	pass+=" -Cllvm-args=-sanitizer-coverage-$part"
done
# With --target, the flags hold for what is fuzzed and not for build scripts.
RUSTFLAGS="--cfg fuzzing $pass" cargo build --quiet --release --locked --target "$host"

known=(fuzz_targets/*.rs)
known=("${known[@]#fuzz_targets/}")
targets=("${@:-${known[@]%.rs}}")
report=$(mktemp -d)
trap 'rm -rf "$report"' EXIT

stat_of() { sed -n "s/^stat::$2: *//p" "$report/$1" | tail -n 1; }
crashed=()
for target in "${targets[@]}"; do
	corpus=$CARGO_TARGET_DIR/corpus/$target
	crashes=$CARGO_TARGET_DIR/crashes/$target
	mkdir -p "$corpus" "$crashes"
	begins=("$corpus") # what is found goes into the first one
	for kept in "seeds/$target" "cases/$target"; do
		[ ! -d "$kept" ] || begins+=("$kept")
	done
	echo "fuzz: $target for $seconds s" >&2
	"$CARGO_TARGET_DIR/$host/release/$target" -max_total_time="$seconds" -max_len="$input_bytes_max" \
		-timeout="$input_seconds_max" -artifact_prefix="$crashes/" -print_final_stats=1 \
		"${begins[@]}" >"$report/$target" 2>&1 || crashed+=("$target")
done

printf '\n%-14s %12s %8s %9s %7s\n' target runs runs/s coverage crashes
for target in "${targets[@]}"; do
	coverage=$(sed -n 's/^#.* cov: \([0-9]*\) .*/\1/p' "$report/$target" | tail -n 1)
	crash=$(grep -c '^Test unit written to' "$report/$target" || true)
	printf '%-14s %12s %8s %9s %7s\n' "$target" "$(stat_of "$target" number_of_executed_units)" \
		"$(stat_of "$target" average_exec_per_sec)" "${coverage:--}" "$crash"
done
[ ${#crashed[@]} -gt 0 ] || exit 0

for target in "${crashed[@]}"; do
	echo
	echo "fuzz: $target:"
	grep -E -A 3 'panicked at|^==[0-9]+== ?ERROR|^SUMMARY' "$report/$target" | head -n 12 || tail -n 12 "$report/$target"
	written=$(sed -n 's/.*Test unit written to //p' "$report/$target" | tail -n 1)
	[ -z "$written" ] || echo "to keep it: install -Dm644 $written engine/fuzz/cases/$target/NAME, and a sentence in engine/fuzz/cases.md"
done
echo
echo "then, and after it is mended: cargo test --release --package clearway-engine --no-default-features --test cases"
exit 1
