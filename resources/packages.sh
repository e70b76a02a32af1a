# Installs those packages of resources/debian-packages.txt that are missing. Sourced from the project's root.
list=resources/debian-packages.txt
[ -n "$1" ] && list=$1
missing=""
for package in $(sed 's/#.*//' "$list"); do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
  echo "installing:$missing"
  if [ "$(id -u)" = 0 ]; then as_root=""; else as_root=sudo; fi
  $as_root apt-get update -q
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
fi
