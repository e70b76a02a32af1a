#!/bin/sh
# Installs what is missing on Debian 12, builds everything, runs all tests.
set -e
cd "$(dirname "$0")/.."
. resources/packages.sh
cmake --preset release -DREWARDLOOM_TESTS=ON
cmake --build --preset release
exec ctest --preset release "$@"
