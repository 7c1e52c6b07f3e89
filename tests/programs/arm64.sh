#!/bin/bash
# Compiles the kernel of the cells for ARM64 and runs it in an emulator against the plain reference.
#
#     apt install g++-aarch64-linux-gnu qemu-user
#     bash tests/programs/arm64.sh
#
# On an ARM64 machine, or to try the program itself: CXX=g++ EMULATOR=env bash tests/programs/arm64.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
compiler=${CXX:-aarch64-linux-gnu-g++} emulator=${EMULATOR:-qemu-aarch64}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for type in float double; do
  ${PYTHON:-python} -m tests.programs.arm64_cases "$type" "$work/$type"
  for folder in "$work/$type"/*/; do
    "$compiler" -std=c++17 -O2 -pthread -ffp-contract=fast -fno-math-errno -static -DSCALAR=$type -DSTORED=$type \
      -I"$folder" -Iasr/model/scan/cpu tests/programs/arm64_kernel.cpp -o "$folder/program"
    printf '%-8s %-18s ' $type "$(basename "$folder")"
    $emulator "$folder/program" "$folder/case"
  done
done
echo "every cell equals the reference"
