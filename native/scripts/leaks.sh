#!/usr/bin/env bash
# Runs the whole add-on in Node.js under AddressSanitizer, and then looks for what it has lost: npm run leaks
# Needs gcc and valgrind. Node.js itself is no subject of it: only blocks that the add-on has asked for are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
include=${NODE_INCLUDE:-$(dirname "$(dirname "$(command -v node)")")/include/node}
mkdir -p .work/leaks
flags=(-std=c11 -g -O1 -fPIC -shared -fno-omit-frame-pointer -DFE_VERSION='"test"' -I"$include" src/core.c src/addon.c)
gcc "${flags[@]}" -fsanitize=address -o .work/leaks/asan.node
gcc "${flags[@]}" -o .work/leaks/plain.node

echo 'Memory errors (AddressSanitizer):'
LD_PRELOAD=$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 \
  node --expose-gc scripts/stress.cjs "$PWD/.work/leaks/asan.node" "${1:-2000}"

echo 'Lost blocks (valgrind):'
log=.work/leaks/valgrind.log
valgrind --leak-check=full --show-leak-kinds=definite,indirect --num-callers=12 --log-file="$log" \
  node --jitless --expose-gc scripts/stress.cjs "$PWD/.work/leaks/plain.node" "${2:-100}" 2> /dev/null
if grep -qE '\((core|addon)\.c:' "$log"; then
  grep -E -B12 -A12 '\((core|addon)\.c:' "$log"
  exit 1
fi
grep 'definitely lost' "$log"
