#!/bin/sh
# usage: test_plugin.sh BUILD_DIR SOURCE_DIR CXX_FLAGS; installs the package, builds a plug-in against it, uses it.
set -eu
build=$1
here=$2
flags=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/prefix" > "$work/install.log"
cmake -S "$here" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_FLAGS="$flags" > "$work/configure.log" 2>&1 || { cat "$work/configure.log"; exit 1; }
cmake --build "$work/build" > "$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
program=$work/prefix/bin/rewardloom
plugin=$work/build/example_plugin.so

"$program" nodes example.negate --plugin "$plugin" | grep -q 'Negated rewards'
"$program" nodes --json --plugin "$plugin" | grep -q '"example.negate"'
cat > "$work/graph.json" <<'G'
{
  "rewardloom": 1,
  "name": "plug-in",
  "settings": {"iterations": 2},
  "nodes": {
    "tasks":   {"type": "data.arithmetic"},
    "actor":   {"type": "text.policy", "params": {"model": "MODEL"}},
    "rollout": {"type": "sample.generate", "inputs": {"policy": "actor.policy", "prompts": "tasks.prompts"},
                "params": {"group_size": 2, "max_tokens": 4}},
    "check":   {"type": "reward.exact_match", "inputs": {"completions": "rollout.completions"}},
    "turned":  {"type": "example.negate", "inputs": {"rewards": "check.rewards"}},
    "adv":     {"type": "advantage.group", "inputs": {"rewards": "turned.negated"}},
    "clip":    {"type": "loss.policy_clip"},
    "update":  {"type": "optimize.policy", "inputs": {"policy": "actor.policy", "completions": "rollout.completions",
                "advantages": "adv.advantages", "terms": ["clip.term"]}}
  }
}
G
sed -i "s#MODEL#$work/prefix/share/rewardloom/resources/models/arithmetic#" "$work/graph.json"
"$program" run "$work/graph.json" --plugin "$plugin" --out "$work/runs" --quiet
"$program" inspect "$work"/runs/* --port turned.negated | grep -q 'turned.negated'

# Without the plug-in the type is unknown, and a plug-in of another interface version is refused.
status=0; "$program" check "$work/graph.json" > "$work/out" 2>&1 || status=$?
[ "$status" = 3 ] && grep -q 'unknown-type' "$work/out"
status=0; "$program" nodes --plugin "$work/build/old_plugin.so" > "$work/out" 2>&1 || status=$?
[ "$status" != 0 ] && grep -q 'plugin-abi' "$work/out" && grep -q 'interface 0' "$work/out"
echo "plug-in: ok"
