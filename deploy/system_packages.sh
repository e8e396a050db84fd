#!/usr/bin/env bash
# Makes sure the system packages that pip cannot bring are there: installs them through apt when run as root,
# otherwise prints the one command that does. Debian 12 or later, Ubuntu 24.04 or later.
set -euo pipefail

packages=(
  ca-certificates
  python3-venv     # only looked for where the interpreter lacks ensurepip, see below
  libusb-1.0-0     # Open3D does not import without it
  libgl1 libegl1 libgomp1 libglib2.0-0 libx11-6 # Open3D and OpenCV
  libllvm19        # Mitsuba's LLVM variants (LLVM 15 crashes them)
  chromium         # the tests open the Dagster UI in it
  fonts-dejavu-core
)

python=${1:-python3}
missing=()
for package in "${packages[@]}"; do
  case "$package" in
    python3-venv)
      "$python" -c 'import ensurepip' 2>/dev/null && continue
      package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv" ;;
    chromium)
      command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null && continue ;;
  esac
  # libglib2.0-0 is libglib2.0-0t64 on newer releases: both provide the name
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' && continue
  dpkg-query -W -f='${Status}' "${package}t64" 2>/dev/null | grep -q 'ok installed' && continue
  missing+=("$package")
done

[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
  echo "system packages: expected apt (Debian or Ubuntu), found none. Install the equivalents of: ${missing[*]}" >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "system packages: these are missing and need root. Run this, then make again:" >&2
  echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "system packages: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
