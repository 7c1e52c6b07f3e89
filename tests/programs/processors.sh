#!/usr/bin/env bash
# Whether everything runs on older processors too: the tests of cells and of precision, two steps of every configuration
# and a transcription, on this machine told to do without AVX-512 (avx2), and without AVX as well (sse). Prints a line
# for each part; the first that fails ends it, and says why. Under ten minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME="$work/cache" # kernels are built anew, as on a machine that never had them

part() { # part NAME COMMAND...: run it, say how long it took, and show what it said where it failed
    local name=$1 started=$SECONDS
    shift
    if "$@" >"$work/said" 2>&1; then
        echo "$name: $(tail -n 1 "$work/said") ($((SECONDS - started)) s)"
    else
        cat "$work/said"
        echo "$name: FAILED"
        exit 1
    fi
}

transcribe() { # transcribe PRECISION OUTPUT: the examples by a model of the tree, in one process
    python -m asr.transcribe recipes/barista_bilstm_ctc/model recipes/barista_bilstm_ctc/examples --precision "$1" --output "$2" \
        --num-workers 1 --device cpu
}

hear() { # hear NAME LACKING...: in all precisions, of which float32 hears the same words as on the whole processor
    transcribe fp32 "$work/$1-fp32.txt" && diff "$work/whole.txt" "$work/$1-fp32.txt" || return 1
    for precision in bf16 int8; do
        transcribe "$precision" "$work/$1-$precision.txt" 2>"$work/notices" || return 1
        cat "$work/notices"
        said=$(grep -c "^precision $precision: this processor" "$work/notices" || true) # once, and only where it lacks it
        case " ${*:2} " in *" $precision "*) test "$said" = 1 || return 1 ;; *) test "$said" = 0 || return 1 ;; esac
    done
    diff "$work/$1-fp32.txt" "$work/$1-bf16.txt" || return 1
    echo "$(wc -l <"$work/$1-fp32.txt") examples in fp32, bf16 and int8"
}

on() { # on NAME ATEN_CPU_CAPABILITY ONEDNN_MAX_CPU_ISA LACKING...: every part on a processor without these precisions
    export ATEN_CPU_CAPABILITY=$2 ONEDNN_MAX_CPU_ISA=$3
    part "$1: cells and precision" python -m pytest -n 2 --dist worksteal -p no:cacheprovider \
        tests/model/cells/test_cells.py tests/model/scan/test_paths.py tests/model/scan/test_halves.py tests/model/layers/test_directions.py \
        tests/recognition/test_precision.py
    part "$1: every configuration" python -m tests.programs.two_steps "$work/$1"
    part "$1: transcription" hear "$1" "${@:4}"
    unset ATEN_CPU_CAPABILITY ONEDNN_MAX_CPU_ISA
}

part "whole: transcription" transcribe fp32 "$work/whole.txt"
on avx2 avx2 AVX2 bf16
on sse default SSE41 bf16 int8
