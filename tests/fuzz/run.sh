#!/bin/sh
# Runs one fuzz target, and prints its result in one line: tests/fuzz/run.sh BINARY SECONDS, in the
# project's root. It only reads the committed corpus. New inputs go below target/fuzz.
set -u
binary=$1 seconds=$2
name=$(basename "$binary")
log=target/fuzz/$name.log
corpus=target/fuzz/corpus/$name
artifacts=target/fuzz/artifacts/$name/
dictionary=tests/fuzz/$name.dict
mkdir -p "$corpus" "$artifacts"

set -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=1024 \
    -print_final_stats=1 -artifact_prefix="$artifacts"
[ ! -f "$dictionary" ] || set -- "$@" -dict="$dictionary"
echo "$name: $seconds s; the log is $log"
"$binary" "$@" "$corpus" "tests/fuzz/corpus/$name" >"$log" 2>&1
status=$?

of_log() { sed -n "s/$1/\\1/p" "$log" | tail -n 1; }
runs=$(of_log '^stat::number_of_executed_units: *\([0-9]*\)$')
rate=$(of_log '^stat::average_exec_per_sec: *\([0-9]*\)$')
edges=$(of_log '^#.* cov: \([0-9]*\) .*')
counters=$(of_log '.*(\([0-9]*\) inline 8-bit counters).*')
figures="${runs:-no} executions, ${rate:-0} a second, ${edges:-0} of ${counters:-0} edges"
if [ "$status" -eq 0 ] && [ "${edges:-0}" -gt 0 ]; then
    echo "$name: $figures; nothing found"
else
    grep -A 3 'panicked at\|^==[0-9]*== *ERROR\|ALARM' "$log" | head -n 20
    input=$(of_log '.*Test unit written to \(.*\)')
    echo "$name: $figures; FAILED with exit code $status${input:+; to see it again: $binary $input}"
    exit 1
fi
