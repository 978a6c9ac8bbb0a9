#!/bin/sh
# usage: setup.sh [build]
# Installs what Strata needs and is not there yet: the packages of packages.txt; with "build" those that building and
# running take, without those of the tests. For Debian and its kin; elsewhere it says what to install. Does nothing when
# nothing is missing, so it may run any number of times.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
case ${1:-all} in
all) packages=$(sed 's/#.*//' "$here/packages.txt") ;;
build) packages=$(sed -e '/^# to test/,$d' -e 's/#.*//' "$here/packages.txt") ;;
*) echo "setup: '$1' is no set of packages: build, or nothing for all" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null 2>&1; then
    if command -v meson >/dev/null 2>&1 && command -v ninja >/dev/null 2>&1; then
        echo "setup: no Debian here; going on with what is installed" >&2
        exit 0
    fi
    echo "setup: no Debian here. Install what your system calls these packages, then run this again:" >&2
    # shellcheck disable=SC2086 # a list of words
    printf '  %s\n' $packages >&2
    exit 1
fi

missing=
for package in $packages; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1; then
    as_root=sudo
else
    echo "setup: packages are missing and there is neither root nor sudo. As root, run:" >&2
    echo "  apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "setup: installing$missing" >&2
# shellcheck disable=SC2086 # a list of words
{
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing </dev/null >&2
}
