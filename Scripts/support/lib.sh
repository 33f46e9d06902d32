# Shared by the scripts in Scripts/; source it, do not run it.
# shellcheck shell=bash
set -euo pipefail
export LC_ALL=C.UTF-8

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"

bold='' plain=''
if [[ -t 1 ]]; then bold=$'\033[1m' plain=$'\033[0m'; fi

say() { printf '%s==> %s%s\n' "$bold" "$*" "$plain"; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# install_packages PACKAGE...: Debian packages, as root or through sudo.
install_packages() {
  local sudo=()
  if ((EUID != 0)); then
    sudo -n true 2>/dev/null || die "missing packages, and no right to install them; run: sudo apt-get install $*"
    sudo=(sudo -n)
  fi
  say "Installing $*"
  local apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
  local log
  log=$(mktemp)
  if ! { "${apt[@]}" update && "${apt[@]}" install --yes --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    die "apt-get could not install: $* (its whole output: $log)"
  fi
  rm -f "$log"
}

# require WHAT=PACKAGE...: WHAT is a command or an absolute path; the package is installed where it is missing.
require() {
  local pair what missing=()
  for pair in "$@"; do
    what=${pair%%=*}
    case $what in
      /*) [[ -e $what ]] ;;
      *) command -v "$what" >/dev/null ;;
    esac || missing+=("${pair#*=}")
  done
  ((${#missing[@]} == 0)) && return
  command -v apt-get >/dev/null || die "missing (Debian's package names): ${missing[*]}"
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  install_packages "${missing[@]}"
}

require_swift() {
  command -v swift >/dev/null || die "no Swift toolchain in PATH; Swift 6.3 or newer is needed: https://www.swift.org/install/linux"
  # What swift.org lists for Debian 12; a toolchain that was only unpacked does not start, or does not link, without it.
  if ! swift --version >/dev/null 2>&1; then
    install_packages binutils libcurl4 libedit2 libncurses6 libpython3.11 libsqlite3-0 libxml2 libz3-4 tzdata zlib1g
    swift --version >/dev/null || die "the Swift toolchain does not start, see above"
  fi
  require g++=g++ git=git ld.gold=binutils
}
