#!/usr/bin/env bash
# uv from .venv, with pip's package index where only pip was told about one: uv does not read pip's configuration, and
# behind a mirror that is usually all there is.
set -euo pipefail
venv=$(cd "$(dirname "$0")/.." && pwd)/.venv

if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}${UV_INDEX:-}${UV_CONFIG_FILE:-}" ] &&
    [ ! -e "${XDG_CONFIG_HOME:-$HOME/.config}/uv/uv.toml" ] && [ ! -e /etc/uv/uv.toml ]; then
    index=${PIP_INDEX_URL:-$("$venv/bin/python" -m pip config get global.index-url 2>/dev/null || true)}
    if [ -n "$index" ]; then export UV_DEFAULT_INDEX=$index; fi
fi
if [ -z "${SSL_CERT_FILE:-}" ]; then
    certificates=${PIP_CERT:-$("$venv/bin/python" -m pip config get global.cert 2>/dev/null || true)}
    if [ -n "$certificates" ]; then export SSL_CERT_FILE=$certificates; fi
fi
exec "$venv/bin/uv" "$@"
