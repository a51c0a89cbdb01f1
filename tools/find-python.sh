#!/bin/sh
# Prints a Python that can build TickVault's environment: 3.11 or newer, with venv and pip. Says what is missing if
# there is none. PYTHON names one to use in place of the search.
set -u

too_old=""
no_venv=""
for name in ${PYTHON:-python3.11 python3.12 python3.13 python3 python}; do
    command -v "$name" >/dev/null 2>&1 || continue
    version=$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    if ! "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        too_old="$too_old $name ($version)"
    elif ! "$name" -c 'import venv, ensurepip' 2>/dev/null; then
        no_venv="$no_venv $name ($version)"
    else
        echo "$name"
        exit 0
    fi
done

echo "make: TickVault needs Python 3.11 or newer, with its venv module." >&2
[ -n "$too_old" ] && echo "make: too old:$too_old" >&2
[ -n "$no_venv" ] && echo "make: without venv or ensurepip:$no_venv; on Debian: apt-get install python3-venv" >&2
[ -n "${PYTHON:-}" ] && echo "make: PYTHON=$PYTHON is what was searched" >&2
[ -z "$too_old$no_venv" ] && echo "make: none was found; on Debian: apt-get install python3 python3-venv" >&2
exit 1
