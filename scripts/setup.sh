#!/bin/sh
# Sets up what a make target needs: `setup.sh run` (virtual environment with what the hub needs), `setup.sh dev` (and what
# its tests need), `setup.sh system` (Debian packages that tests need: installed when we are root, else listed; and the FHIR
# and SAP servers that tests talk to, from npm).
set -eu
cd "$(dirname "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
venv=.venv

say() { printf '%s\n' "setup: $*" >&2; }
root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

apt() {
    say "apt-get install $*"
    DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 || say "apt-get update failed; trying with what is known"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

find_python() {
    for name in python3 python3.13 python3.12 python3.11 python3.14; do
        if command -v "$name" >/dev/null 2>&1 && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    say "Python 3.11 or newer is needed: apt-get install python3 python3-venv"
    exit 1
}

make_venv() {
    [ -x "$venv/bin/python" ] && "$venv/bin/python" -c 'import pip' 2>/dev/null && return
    python=$(find_python)
    if ! "$python" -m venv --clear "$venv" >/dev/null 2>&1; then
        if root; then
            apt python3-venv
        else
            say "this Python cannot make virtual environments: apt-get install python3-venv"
            exit 1
        fi
        "$python" -m venv --clear "$venv" >&2
    fi
}

# One stamp a set of packages, named after what decides it: nothing is asked of any index while that is unchanged.
install() {
    stamp="$venv/.installed-$1-$(cat pyproject.toml requirements.lock | cksum | tr ' ' '-')"
    make_venv
    [ -e "$stamp" ] && return
    say "installing into $venv, exact versions from requirements.lock"
    "$venv/bin/pip" install -q -c requirements.lock setuptools >&2
    "$venv/bin/pip" install -q -c requirements.lock --no-build-isolation -e "$2" >&2
    rm -f "$venv/.installed-$1-"*
    : >"$stamp"
}

packages() {
    missing=
    ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null 2>&1 || missing="$missing postgresql"
    command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
    command -v pg_dump >/dev/null 2>&1 || missing="$missing postgresql-client"
    [ -x /usr/sbin/mariadbd ] || missing="$missing mariadb-server"
    # ODBC: the driver manager, and the drivers of the databases that tests talk to
    ldconfig -p 2>/dev/null | grep -q libodbc.so || missing="$missing unixodbc odbcinst"
    for driver in maodbc:odbc-mariadb psqlodbcw:odbc-postgresql sqlite3odbc:libsqliteodbc tdsodbc:tdsodbc; do
        ls /usr/lib/*/odbc/*"${driver%%:*}".so >/dev/null 2>&1 || missing="$missing ${driver#*:}"
    done
    # a PACS that is not ours, and DICOM's command line tools
    [ -x /usr/sbin/Orthanc ] || missing="$missing orthanc"
    ls /usr/share/orthanc/plugins/libOrthancDicomWeb.so >/dev/null 2>&1 || missing="$missing orthanc-dicomweb"
    command -v wlmscpfs >/dev/null 2>&1 || missing="$missing dcmtk"
    command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 ||
        missing="$missing chromium"
    ls /usr/share/fonts/truetype/nanum >/dev/null 2>&1 || ls /usr/share/fonts/opentype/noto/NotoSansCJK* >/dev/null 2>&1 ||
        missing="$missing fonts-nanum"
    # an npm of another source (NodeSource, nvm) comes with its node: ask for the commands
    command -v node >/dev/null 2>&1 || missing="$missing nodejs"
    command -v npm >/dev/null 2>&1 || missing="$missing npm"
    [ -n "$missing" ] || return 0
    if root; then
        # shellcheck disable=SC2086  # a list of words
        apt $missing
    else
        say "tests that need these are skipped until you install them:$missing"
        say "    sudo apt-get install$missing"
        [ "${CI:-}" != true ] || exit 1
    fi
}

# Exact versions with their hashes from package-lock.json; nothing is asked of any registry while that is unchanged.
node_server() {
    modules=$1/node_modules
    stamp="$modules/.installed-$(cksum <"$1/package-lock.json" | tr ' ' '-')"
    [ ! -e "$stamp" ] || return 0
    if command -v npm >/dev/null 2>&1 && say "npm ci in $1" && (cd "$1" && npm ci --ignore-scripts >&2); then
        : >"$stamp"
    else
        say "tests that need the server of $1 are skipped: npm ci there did not succeed"
        [ "${CI:-}" != true ] || exit 1
    fi
}

system() {
    packages
    node_server tests/fhir_server
    node_server tests/sap_server
}

case "${1:-}" in
run) install run . ;;
dev) install dev '.[dev]' ;;
system) system ;;
*)
    say "usage: setup.sh run | dev | system"
    exit 2
    ;;
esac
