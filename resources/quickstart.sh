#!/bin/sh
# Installs what is missing on Debian 12, builds the program, runs the quickstart graph.
set -e
cd "$(dirname "$0")/.."
. resources/packages.sh
cmake --preset release -DREWARDLOOM_TESTS=OFF
cmake --build --preset release
exec build/bin/rewardloom run graphs/grpo-arithmetic.json "$@"
