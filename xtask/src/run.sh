#!/usr/bin/env bash
# Runs the programs of this bundle on a GPU host; Rust is not needed there.
#
#   run.sh [tests]          every test and example; a test that finds no GPU, NVRTC or NCCL fails
#   run.sh sanitize [NAME…] compute-sanitizer over test programs (default: gpu_* and the movement kernels' suites), with
#                           the tools $TOOLS (default: memcheck racecheck initcheck); the two tests of
#                           contexts in tilewright-dp.movement, one process, did not end in 9 minutes under any of them
#   run.sh fuzz [CASES]     random kernels against the CPU device (default: 10000, about 7 minutes on 16 cores), from seed
#                           TILEWRIGHT_FUZZ_FIRST on (default: 0); a failure names its seed, and TILEWRIGHT_FUZZ_SEED=…
#                           runs that case alone
#   run.sh races [CASES]    random kernels with accesses planted in them that may be races, in checked builds (default: 10000,
#                           of which about 3000 have two writes that do not go together), chosen as those of fuzz are
#   run.sh bench [ARG…]     the measurement against Triton and torch; ARGs are benches/compare.py's
#   run.sh collectives [ARG…] elements that meet, beside Triton and torch; ARGs are benches/collectives.py's
#   run.sh race [SECONDS]   all of it, movement of every width, alignment and type, with L2 cold and warm, computed rows and collectives,
#                           beside Triton, torch, a copy and CUDA C++ by hand; each part begins no case after SECONDS (default: 1200).
#                           Drawn in race.html; fails on a bar
#   run.sh batch [ARG…]     padding a whole batch, beside torch; ARGs are benches/batch.py's
#   run.sh peers [ARG…]     gathers and sums between GPUs, beside NCCL and torch; ARGs are benches/peers_gather.py's
#   run.sh serve [ARG…]     the serving loop, sealed, drawn in serving_loop.svg; ARGs are those of the example `serving_loop`
#   run.sh cold [THREADS]   classes that were never launched, beside NVRTC alone: one at a time, and on so many threads (default: 1,2,4,8,16)
#   run.sh schedules ARG…   one schedule against another; ARGs are benches/schedules.py's
#   run.sh tune [ARG…]      what `cargo xtask tune` writes a table from, elsewhere; ARGs are benches/tune.py's
#
# Results go to the folder $OUT (default: out): one line of JSON per program in tests.jsonl, what they printed in
# tests.log. A program that fails does not stop the others; the exit status says whether any did.
# LIMIT is the most seconds that one program may take (default: 240).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
here=$PWD
cd - >/dev/null
# The programs travel packed, and those of an earlier bundle must not run.
if [ -f "$here/programs.tar.xz" ]; then
    rm -rf "$here"/{tests,examples,bench}
    tar -C "$here" -xJf "$here/programs.tar.xz" || exit 1
fi
out=${OUT:-out}
mkdir -p "$out"
# Compiling is tested and timed.
export TILEWRIGHT_CACHE=${TILEWRIGHT_CACHE:-off}
export TILEWRIGHT_REQUIRE_GPU=1 TILEWRIGHT_REQUIRE_NVRTC=1 TILEWRIGHT_REQUIRE_NCCL=1 RUST_BACKTRACE=${RUST_BACKTRACE:-0}

# one KIND NAME COMMAND…: runs it and writes its line. Several may run at a time.
one() {
    local kind=$1 name=$2 log start status summary passed failed seconds lock
    shift 2
    log=$(mktemp)
    start=$(date +%s.%N)
    timeout --kill-after=10 "${LIMIT:-240}" "$@" >"$log" 2>&1 </dev/null
    status=$?
    seconds=$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "%.2f", b - a }')
    summary=$(grep '^test result: ' "$log" | tail -n 1)
    passed=$(sed -n 's/.* \([0-9]*\) passed;.*/\1/p' <<<"$summary")
    failed=$(sed -n 's/.* \([0-9]*\) failed;.*/\1/p' <<<"$summary")
    # Without a summary (an example, a crash, a time-out) the status tells.
    if [ -z "$summary" ]; then passed=$((status == 0)); failed=0; fi
    if [ "$status" -ne 0 ]; then
        [ "$failed" -gt 0 ] || failed=1
    fi
    exec {lock}>"$out/tests.lock"
    flock "$lock"
    printf '{"name":"%s","kind":"%s","passed":%d,"failed":%d,"seconds":%s,"status":%d}\n' \
        "$name" "$kind" "$passed" "$failed" "$seconds" "$status" >>"$out/tests.jsonl"
    { printf '\n===== %s %s (status %d)\n' "$kind" "$name" "$status"; cat "$log"; } >>"$out/tests.log"
    if [ "$status" -ne 0 ]; then
        printf 'FAILED %s %s (status %d, %s s)\n' "$kind" "$name" "$status" "$seconds"
        # The tests that failed and what they said; of a crash or a time-out, the end.
        if grep -q '^failures:' "$log"; then sed -n '/^failures:/,$p' "$log" | head -n 40; else tail -n 15 "$log"; fi
    else
        printf 'ok %s %s: %d passed, %s s\n' "$kind" "$name" "$passed" "$seconds"
    fi
    exec {lock}>&-
    rm -f "$log"
}

tests() {
    local file
    for file in "$here"/tests/*; do [ -f "$file" ] && one test "$(basename "$file")" "$file"; done
    for file in "$here"/examples/*; do
        case $(basename "$file") in
            dp_attention) set -- --counts 20,20,20,20,20,20,20,20 --device cuda ;;
            kv_cache | moe_permute | quantize | serving_loop) set -- --device cuda ;;
            *) set -- ;;
        esac
        [ -f "$file" ] && one example "$(basename "$file")" "$file" "$@"
    done
}

sanitize() {
    local name tool file
    if [ $# -eq 0 ]; then
        for file in "$here"/tests/{gpu_*,tilewright-dp.*}; do
            # The kernels of NCCL are NVIDIA's, and so are the calls that fail in it.
            [ -f "$file" ] && [[ $file != *.nccl ]] && set -- "$@" "$(basename "$file")"
        done
    fi
    for name in "$@"; do
        for tool in ${TOOLS:-memcheck racecheck initcheck}; do
            case "$tool $name" in
                # It loses track of kernels that threads launch at the same time, and counts that as an error.
                'racecheck tilewright-dp.collective' | 'racecheck tilewright-dp.movement') echo "left out: $tool $name" ;;
                *) pairs "$tool" "$name" ;;
            esac
        done
    done
    wait
}

# pairs TOOL NAME: the tests of a program under a tool, two in each process, since a tool makes a test tens of times slower.
pairs() {
    local tool=$1 name=$2 count=2 first
    local -a tests
    mapfile -t tests < <("$here/tests/$name" --list --format terse | sed -n 's/: test$//p')
    for ((first = 0; first < ${#tests[@]}; first += count)); do
        [ "$(jobs -rp | wc -l)" -lt "$(nproc)" ] || wait -n
        # One test at a time: the sanitizer stops the whole process at each launch anyway.
        one "$tool" "$name.${tests[first]//::/.}" compute-sanitizer --tool "$tool" --error-exitcode 1 \
            --require-cuda-init no "$here/tests/$name" --test-threads=1 --exact "${tests[@]:first:count}" &
    done
}

# NVRTC compiles one program at a time in a process, so there is a process for every two cores.
fuzz() { random fuzz same_bits "$@"; }
races() { random races planted "$@"; }

# random KIND TEST [CASES]: the test of this name, by chunks.
random() {
    local kind=$1 test=$2 cases=${3:-10000} chunk=200 from=${TILEWRIGHT_FUZZ_FIRST:-0} workers=$((($(nproc) + 1) / 2)) worker
    [ -z "${TILEWRIGHT_FUZZ_SEED:-}" ] || cases=1
    for ((worker = 0; worker < workers; worker++)); do
        seeds "$worker" &
    done
    wait
    grep -E ' (cases|planted accesses) from seed ' "$out/tests.log" | awk '
        { cases += $1; if (match($0, /writes_on_gpu: [0-9]+/)) writes += substr($0, RSTART + 15, RLENGTH - 15) }
        END { printf "%d cases, %d writes reported by a checked build\n", cases, writes }'
}

# The chunks of one worker.
seeds() {
    local cores=$((2 * $1)),$((2 * $1 + 1)) first
    for ((first = $1 * chunk; first < cases; first += workers * chunk)); do
        export TILEWRIGHT_FUZZ_FIRST=$((from + first))
        export TILEWRIGHT_FUZZ_CASES=$((cases - first < chunk ? cases - first : chunk))
        one "$kind" "seeds-$TILEWRIGHT_FUZZ_FIRST" taskset -c "$cores" "$here/tests/differential" --nocapture "$test"
    done
}

# movement NAME ARG…: a part of the race.
movement() {
    local name=$1
    shift
    python3 "$here/bench/compare.py" --ours "$here/bench/libmovement.so" --out "$out/$name.jsonl" --seconds "$limit" \
        --jobs $(($(nproc) / 2)) "$@" || exit 2
}

task=${1:-tests}
[ $# -gt 0 ] && shift
case $task in
    tests | sanitize | fuzz | races)
        : >"$out/tests.jsonl"
        : >"$out/tests.log"
        "$task" "$@"
        # What was to run and did not is a failure too.
        [ -s "$out/tests.jsonl" ] || { echo "nothing ran: no such program in $here/tests"; exit 1; }
        awk -F'[:,]' '{ programs++; passed += $6; failed += $8 } END { printf "%d programs: %d passed, %d failed\n", programs, passed, failed; exit failed > 0 }' "$out/tests.jsonl"
        ;;
    bench) python3 "$here/bench/compare.py" --ours "$here/bench/libmovement.so" --out "$out/reading.jsonl" "$@" ;;
    collectives) python3 "$here/bench/collectives.py" --ours "$here/bench/libmovement.so" --out "$out/collectives.jsonl" "$@" ;;
    race)
        limit=${1:-1200}
        movement race --l2 cold warm --columns 128 131 576 2880 4096 5120 7167 7168 --rows 1 3 17 64 100 333 1000 4096 5000 16384
        movement race-alignments --ops gather scatter slot --misaligned source output both --rows 1000 4096 16384
        movement race-types --ops gather scatter slot --dtypes f32 f8 --columns 576 7168 --rows 1000 16384
        movement race-computed --ops store_mla quantize_rows dequantize_rows combine_rows --rows 64 4096
        python3 "$here/bench/collectives.py" --ours "$here/bench/libmovement.so" --out "$out/race-collectives.jsonl" \
            --seconds "$limit" || exit 2
        "$here/bench/xtask" bench-report "$out"/race{,-alignments,-types,-computed,-collectives}.jsonl --bars "$here/bench/bars.json" --page "$out/race.html"
        ;;
    batch) python3 "$here/bench/batch.py" --ours "$here/bench/libmovement.so" --out "$out/batch.jsonl" "$@" ;;
    peers) python3 "$here/bench/peers_gather.py" --ours "$here/bench/libmovement.so" --out "$out/peers-gather.jsonl" "$@" ;;
    serve) "$here/examples/serving_loop" --device cuda --svg "$out/serving_loop.svg" "$@" ;;
    cold)
        export TILEWRIGHT_THREADS=${1:-1,2,4,8,16}
        "$here/tests/tilewright-runtime.unit" --ignored --nocapture --test-threads 1 cold_class
        ;;
    schedules) python3 "$here/bench/schedules.py" --ours "$here/bench/libmovement.so" --out "$out/schedules.jsonl" "$@" ;;
    tune) python3 "$here/bench/tune.py" --ours "$here/bench/libmovement.so" --out "$out/tuning.jsonl" "$@" ;;
    *) echo "unknown task '$task': tests, sanitize, fuzz, races, bench, collectives, batch, race, peers, serve, cold, schedules or tune" >&2; exit 2 ;;
esac
