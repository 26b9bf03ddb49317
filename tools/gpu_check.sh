#!/usr/bin/env bash
# Checks the kernels and measures the speed on a machine with one GPU and no network, in less than 10 minutes.
#
# usage: tools/gpu_check.sh [--cpu] PACKAGES OUT
#
#   --cpu      try the script on a CPU, with a small model and small images
#   PACKAGES   folder with what the machine lacks: wheels, and packages as folders of Python sources, such as
#              detectron2 (its compiled part is not needed); nothing is installed outside of a temporary folder
#   OUT        folder for summary.md, summary.json, benchmark.json, detector.json, profile.txt and log.txt
#
# Every step has a time limit, and runs even if another one fails. The exit status is 0 if all steps passed, 1 if
# one failed, and 2 if the arguments cannot be used.

set -u

TOTAL=570 # seconds for all steps

usage() {
    echo "gpu_check.sh: error: $1; usage: tools/gpu_check.sh [--cpu] PACKAGES OUT" >&2
    exit 2
}

device=cuda
if [[ ${1-} == --cpu ]]; then
    device=cpu
    shift
fi
(($# == 2)) || usage "expected 2 arguments, got $#"
packages=$(cd "$1" 2>/dev/null && pwd) || usage "PACKAGES $1 is not a folder"
mkdir -p "$2" 2>/dev/null && out=$(cd "$2" && pwd) || usage "OUT $2 cannot be created"
cd "$(dirname "$0")/.." || exit 2

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
export PYTHONPATH="$PWD:$temporary/site:$packages" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
export PYTHONWARNINGS=ignore::FutureWarning TRITON_CACHE_DIR="$temporary/triton" XDG_CACHE_HOME="$temporary/cache"
rm -f "$out"/{summary.md,summary.json,benchmark.json,detector.json,profile.txt,log.txt}
failed=0
json=()

step() { # name, limit in seconds, lines of its output for the summary, command
    local name=$1 limit=$2 lines=$3 start=$SECONDS left=$((TOTAL - SECONDS)) result=passed status
    shift 3
    ((limit > left)) && limit=$left
    if ((limit < 1)); then
        result="not run, no time left" && : >"$temporary/output"
    else
        timeout --kill-after=5 "$limit" "$@" >"$temporary/output" 2>&1 </dev/null
        status=$?
        ((status == 0)) || result="failed with status $status"
        ((status == 124 || status == 137)) && result="stopped after $limit s"
    fi
    [[ $result == passed ]] || failed=1
    local seconds=$((SECONDS - start))
    json+=("{\"name\": \"$name\", \"result\": \"$result\", \"seconds\": $seconds}")
    echo "| $name | $result | $seconds |" >>"$temporary/table"
    { printf '\n## %s: %s\n\n```\n' "$name" "$result" && tail -n "$lines" "$temporary/output" && printf '\n```\n'; } \
        >>"$temporary/outputs"
    { printf '\n===== %s: %s\n\n' "$name" "$result" && cat "$temporary/output"; } >>"$out/log.txt"
    [[ $name == profile ]] && cp "$temporary/output" "$out/profile.txt"
    echo "$name: $result ($seconds s)"
    write_summary # after each step, because the machine may be taken away
}

write_summary() {
    local passed
    ((failed)) && passed=false || passed=true
    {
        printf '# GPU check\n\n| step | result | s |\n|---|---|---|\n'
        cat "$temporary/table" "$temporary/outputs"
    } >"$out/summary.md"
    local IFS=,
    printf '{"passed": %s, "device": "%s", "steps": [%s]}\n' "$passed" "$device" "${json[*]}" >"$out/summary.json"
}

benchmark=(python3 tools/benchmark.py)
if [[ $device == cuda ]]; then
    backbone=(--variants t --batch 8 --sizes 800x1344 --dtypes bf16 --repeats 7)
    backbone+=(--against detectron2-mvit ours:attention=sdpa ours:recompute=cheap)
    detector=(--variant t --batch 8 --size 800x1344 --dtypes bf16)
    detectors=(detectron2-mvit ours-detectron2 ours-torchvision torchvision-r50)
    repeats=5
    tests=(tests/backbone)
else
    backbone=(--variants nano --sizes 64x96 --repeats 1 --against detectron2-mvit)
    detector=(--variant nano --size 64x96)
    detectors=(detectron2-mvit ours-detectron2 ours-torchvision)
    repeats=1
    tests=(tests/backbone/test_layers.py)
fi

setup() {
    local wheels=("$packages"/*.whl)
    if [[ -e ${wheels[0]} ]]; then
        python3 -m pip install --no-index --no-deps --no-compile --no-cache-dir --quiet \
            --disable-pip-version-check --target "$temporary/site" "${wheels[@]}" || return
    fi
    [[ $device == cpu ]] || nvidia-smi || return
    python3 - "$device" <<'PYTHON'
import importlib
import sys

failed = False
for name in (
    "torch triton torchvision numpy PIL safetensors pytest pycocotools.mask tqdm yaml "
    "antlr4 cloudpickle fvcore iopath omegaconf portalocker tabulate termcolor yacs "
    "detectron2.modeling mvit_det.benchmark.detector_main mvit_det.detectron2"
).split():
    try:
        module = importlib.import_module(name)
        print(name, getattr(module, "__version__", ""), module.__file__)
    except Exception as error:
        print(f"{name} cannot be imported: {type(error).__name__}: {error}")
        failed = True
if sys.argv[1] == "cuda":
    import torch

    print(torch.cuda.get_device_name(), torch.cuda.get_device_capability())
sys.exit(failed)
PYTHON
}

self_test() {
    [[ $device == cuda ]] || export TRITON_INTERPRET=1
    python3 - "$device" <<'PYTHON'
import sys

import torch

from mvit_det.ops.triton.self_test import check_triton

failed = False
# Triton's interpreter does not support bfloat16.
for dtype in (torch.bfloat16, torch.float16) if sys.argv[1] == "cuda" else (torch.float16,):
    try:
        check_triton(sys.argv[1], dtype)
        print(dtype, "passed")
    except Exception as error:
        print(dtype, f"failed: {type(error).__name__}: {error}")
        failed = True
sys.exit(failed)
PYTHON
}

# timeout(1) starts a program, not a function of this shell.
export -f setup self_test
export device packages temporary
step setup 60 40 bash -c setup
step self-test 90 20 bash -c self_test
step backbone 120 40 "${benchmark[@]}" --device "$device" "${backbone[@]}" --out "$out"
step detector 200 100 "${benchmark[@]}" detector --device "$device" "${detector[@]}" --repeats "$repeats" \
    --detectors "${detectors[@]}" --out "$out"
step profile 90 5 "${benchmark[@]}" detector --device "$device" "${detector[@]}" --profile \
    --detectors "${detectors[@]:0:3}"
# Last, because they also run on a CPU.
step tests 180 20 python3 -m pytest -q -p no:cacheprovider -m "not slow" "${tests[@]}"
exit "$failed"
