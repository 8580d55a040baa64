#!/usr/bin/env bash
# Fuzzes the core alone, under AddressSanitizer and UndefinedBehaviorSanitizer, with libFuzzer:
#   npm run fuzz -- -max_total_time=3600
# Needs clang with its runtime (Debian: clang, libclang-rt-dev) and the headers of OpenSSL (libssl-dev).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
clang=${CLANG:-$(command -v clang || compgen -c clang- | grep -E '^clang-[0-9]+$' | sort -V | tail -1)}
mkdir -p .work/fuzz/corpus
"$clang" -std=c11 -g -O1 -fno-omit-frame-pointer -fsanitize=fuzzer,address,undefined \
  -fno-sanitize-recover=undefined fuzz/core.c src/core.c -lcrypto -o .work/fuzz/core
exec .work/fuzz/core -max_len=10000 -timeout=10 "$@" .work/fuzz/corpus
