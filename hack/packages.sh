# shellcheck shell=sh
# What the scripts that install things share. To be sourced; `me` is the name that messages begin with.

have() { command -v "$1" >/dev/null 2>&1; }
say() { printf '%s: %s\n' "${me:-install}" "$*" >&2; }
fail() { say "$*"; exit 1; }

# at_least 1.95.0 1.89: whether the first version is not below the second
at_least() {
    awk -v a="$1" -v b="$2" 'BEGIN {
        split(a, x, "."); split(b, y, ".")
        for (i = 1; i <= 2; i++) if (x[i] + 0 != y[i] + 0) exit !(x[i] + 0 > y[i] + 0)
    }'
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif have sudo; then sudo "$@"
    elif have doas; then doas "$@"
    else fail "'$*' needs root, and there is neither sudo nor doas: run it as root, then try again"
    fi
}

manager() {
    for name in apt-get dnf apk brew; do
        if have "$name"; then echo "$name"; return; fi
    done
    echo none
}

# packages APT DNF APK BREW: installs the packages that this system's manager knows under these names
packages() {
    case $(manager) in
        apt-get) list=$1 ;; dnf) list=$2 ;; apk) list=$3 ;; brew) list=$4 ;;
        none) fail "no apt, dnf, apk or brew here. Install these by hand and try again: $1" ;;
    esac
    say "installing $list"
    # shellcheck disable=SC2086 # a list of names
    case $(manager) in
        apt-get)
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q $list >/dev/null 2>&1 || {
                as_root apt-get update -q >&2
                as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q $list >&2
            } ;;
        dnf) as_root dnf install -y -q $list >&2 ;;
        apk) as_root apk add --quiet $list >&2 ;;
        brew) brew install --quiet $list >&2 ;;
    esac
}
