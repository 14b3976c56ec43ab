# Installs what `run` needs and does not find. Sourced.

install_missing() {
    local packages=()
    command -v nginx >/dev/null || packages+=(nginx-light)
    command -v haproxy >/dev/null || packages+=(haproxy)
    command -v openssl >/dev/null || packages+=(openssl)
    command -v curl >/dev/null || packages+=(curl)
    python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
    if [ "$clickhouse" = yes ] && ! command -v clickhouse-server >/dev/null; then
        packages+=(clickhouse-server)
    fi
    [ ${#packages[@]} -eq 0 ] || install_packages "${packages[@]}"
    if [ ! -x "$state/venv/bin/gunicorn" ]; then
        echo "installing httpbin and gunicorn"
        python3 -m venv "$state/venv"
        "$state/venv/bin/pip" install --quiet --disable-pip-version-check 'httpbin>=0.10' gunicorn
    fi
}

install_packages() {
    echo "installing $*"
    local root=() policy=/usr/sbin/policy-rc.d made=no
    [ "$(id -u)" -eq 0 ] || root=(sudo)
    # Without this, Debian starts each server at once, open to the network.
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | ${root[@]+"${root[@]}"} tee "$policy" >/dev/null
        ${root[@]+"${root[@]}"} chmod +x "$policy"
        made=yes
    fi
    local code=0
    {
        ${root[@]+"${root[@]}"} apt-get -q -o Dpkg::Use-Pty=0 update &&
            ${root[@]+"${root[@]}"} env DEBIAN_FRONTEND=noninteractive \
                apt-get -q -o Dpkg::Use-Pty=0 install --yes --no-install-recommends "$@"
    } >"$state/apt.log" 2>&1 </dev/null || code=$?
    [ "$made" = no ] || ${root[@]+"${root[@]}"} rm "$policy"
    if [ "$code" -ne 0 ]; then
        tail -n 20 "$state/apt.log" >&2
        return "$code"
    fi
}
