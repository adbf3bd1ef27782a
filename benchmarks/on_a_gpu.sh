#!/usr/bin/env bash
# Everything that wants a CUDA device, in one run; results in the folder OUT (default: gpu-results).
#
#     benchmarks/on_a_gpu.sh CAMVID CIFAR10 [OUT]
#
# Parts go on after one another even where one fails; the last lines say which did. Without the
# fidelity runs (FIDELITY=no) about a quarter of an hour, with them a GPU week.
set -uo pipefail
[ $# -ge 2 ] || { sed -n '2,7p' "$0" >&2; exit 2; }
camvid=$(realpath "$1") cifar10=$(realpath "$2") out=$(realpath -m "${3:-gpu-results}")
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$out"
failed=()

part() { # part NAME COMMAND...: its output in OUT/NAME.log
    local name=$1
    shift
    printf '== %s: %s\n' "$name" "$*"
    mkdir -p "$out/$name"
    (cd "$out/$name" && "$@") >"$out/$name.log" 2>&1 || failed+=("$name")
    tail -n 20 "$out/$name.log"
}

datac=("$python" -m datac)
part doctor "${datac[@]}" doctor
part step "$python" "$root/benchmarks/search_step.py" --device cuda --json "$out/step.json"
part step-published "$python" "$root/benchmarks/search_step.py" --device cuda --batch 64 --draws 4 \
    --variant dense_channels_last sparse --repeats 5 --json "$out/step-published.json"
part search "${datac[@]}" search --data "$camvid" --device cuda --restart
part search-bf16 "${datac[@]}" search --data "$camvid" --device cuda --precision bf16 --restart
part train "${datac[@]}" train "$out/search/genotype.json" --data "$camvid" --crop 180x240 \
    --device cuda --restart
part compile "${datac[@]}" compile "$out/search/genotype.json" --weights "$out/train/child" \
    --data "$camvid" --target torch --target onnx --target trt --target trt-rtx
if [ "$("$python" -c 'import torch; print(torch.cuda.device_count())')" -gt 1 ]; then
    part torchrun torchrun --nproc-per-node 2 -m datac search --data "$camvid" --device cuda --restart
fi
if [ "${FIDELITY:-yes}" = yes ]; then
    part fidelity "$python" "$root/benchmarks/fidelity.py" --cifar10 "$cifar10" --camvid "$camvid" \
        --size gpu --device cuda --jobs 1 --out "$out/fidelity-runs" --results "$out/fidelity.jsonl"
fi
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[*]}" >&2
    exit 1
fi
