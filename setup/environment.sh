#!/usr/bin/env bash
# Makes .venv hold exactly what requirements.lock says: uv, in the version locked there, by pip; the rest by uv.
# Package index, proxy and certificates come from the environment: uv's own variables, else pip's (variables or files).
set -euo pipefail
cd "$(dirname "$0")/.."

if ! .venv/bin/python -c '' 2>/dev/null; then # none yet, or of a Python that is gone
	"${PYTHON3:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
		echo "setup: Python 3.11 or later is needed, this is $(python3 --version 2>&1): name one in PYTHON3" >&2
		exit 3
	}
	"${PYTHON3:-python3}" -m venv --clear .venv
fi

pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }
pip_setting() { pip config list 2>/dev/null | sed -n "s/^global\.$1='\(.*\)'\$/\1/p"; }
index=${PIP_INDEX_URL:-$(pip_setting index-url)}
certificates=${PIP_CERT:-$(pip_setting cert)}
proxy=${PIP_PROXY:-$(pip_setting proxy)}
[ -n "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ] || [ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
[ -n "$certificates" ] || certificates=/etc/ssl/certs/ca-certificates.crt # the system's, with what its owner added
[ -n "${SSL_CERT_FILE:-}" ] || [ ! -r "$certificates" ] || export SSL_CERT_FILE="$certificates"
[ -n "${HTTPS_PROXY:-}${https_proxy:-}${ALL_PROXY:-}" ] || [ -z "$proxy" ] || export ALL_PROXY="$proxy"

locked=$(sed -n 's/^uv==\([^ ;]*\).*/\1/p' requirements.lock)
if [ "$(.venv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" != "$locked" ]; then
	# pip takes the hashes of uv alone: the lines from its name to the first that does not go on
	awk '/^uv==/ { inside = 1 } inside { print } inside && !/\\$/ { exit }' requirements.lock >.venv/uv.lock
	pip install --quiet --require-hashes --no-deps -r .venv/uv.lock
fi
.venv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes --link-mode copy requirements.lock
