# Set-up shared by scripts/demo and scripts/test: Debian packages, virtual environment, images.
# Sourced, not run. Everything here is done once and is quick to find done the next time.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv="$root/.venv"

# Python is started hundreds of times here: it keeps what it compiled, whatever the caller's environment says.
unset PYTHONDONTWRITEBYTECODE

# What a fresh Debian lacks. `aegis doctor` says what each one is for.
packages=(
    ca-certificates mmdebstrap python3 python3-venv qemu-system-x86 skopeo squashfs-tools uidmap util-linux
)

# Real clients and a real database, which the tests speak to through the gateway; tests without theirs are skipped.
test_packages=(curl mariadb-server-core nodejs postgresql)

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 3
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "need root for: $* (run it as root, then try again)"
    fi
}

install_packages() {
    if ! command -v dpkg-query >/dev/null; then
        say "not a Debian system: skipping package installation; 'aegis doctor' will name what is missing"
        return
    fi
    local missing=() package
    for package in "${packages[@]}"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    say "installing Debian packages: ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die "need Python 3.11 or newer (set PYTHON to its path)"
}

install_python_packages() {
    local stamp="$venv/.installed" wanted
    wanted=$(sha256sum "$root/pyproject.toml" | cut -d' ' -f1)
    [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    local python
    python=$(find_python)
    say "making the virtual environment .venv"
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    # Dependency groups (PEP 735) need pip 25.1; Debian 12 brings 23.0.
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' >&2
    (cd "$root" && "$venv/bin/python" -m pip install --quiet --editable . --group dev >&2)
    printf '%s\n' "$wanted" >"$stamp"
}

# Debian's postgresql starts a server of its own when it is installed. The tests want the programs only.
no_database_server() {
    [ ! -e /etc/postgresql-common/createcluster.conf ] || return 0
    as_root mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
}

add_test_packages() {
    command -v dpkg-query >/dev/null || return 0
    no_database_server
    packages+=("${test_packages[@]}")
}

set_up() {
    install_packages
    install_python_packages
    export PATH="$venv/bin:$PATH"
    say "checking images (the first time they are built: a few minutes)"
    aegis setup >&2
}
