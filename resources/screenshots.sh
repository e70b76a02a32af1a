#!/bin/sh
# Makes the README's pictures: resources/screenshots.sh [BUILD] [FOLDER]
set -eu
build=${1:-build}
folder=${2:-$build/screenshots}
"$build/bin/rewardloom-editor-screenshots" "$folder/100" 1600x1000
QT_SCALE_FACTOR=2 "$build/bin/rewardloom-editor-screenshots" "$folder/200" 1200x750
echo "pictures in $folder: look at them before they are used"
