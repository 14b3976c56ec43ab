# Starts the servers, and stops them when the script ends. Sourced.

pids=()

# Sets `nginx`, `nginx_tls`, `haproxy`, `httpbin` and perhaps `clickhouse_http` to the origins.
start_all() {
    trap stop_all EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    make_certificates

    local plain tls broken
    plain="$(free_port)" tls="$(free_port)" broken="$(free_port)"
    nginx="http://127.0.0.1:$plain" nginx_tls="https://localhost:$tls"
    start_nginx "$plain" "$tls" "$broken"

    local front
    front="$(free_port)"
    haproxy="http://127.0.0.1:$front"
    start_haproxy "$front" "$plain" "$broken"

    local bin
    bin="$(free_port)"
    httpbin="http://127.0.0.1:$bin"
    start "$state/venv/bin/gunicorn" --bind "127.0.0.1:$bin" --worker-class gthread --threads 8 \
        --worker-tmp-dir "$state" --keep-alive 5 httpbin:app

    answers "$nginx/"
    answers "$nginx_tls/"
    answers "$haproxy/"
    answers "$httpbin/get"
    if [ "$clickhouse" = yes ]; then
        local http tcp
        http="$(free_port)" tcp="$(free_port)"
        clickhouse_http="http://127.0.0.1:$http"
        start_clickhouse "$http" "$tcp"
        answers "$clickhouse_http/ping"
    fi
}

stop_all() {
    [ ${#pids[@]} -gt 0 ] || return 0
    kill "${pids[@]}" 2>/dev/null || true
    wait "${pids[@]}" 2>/dev/null || true
    pids=()
}

start() {
    "$@" >"$state/$(basename "$1").log" 2>&1 </dev/null &
    pids+=($!)
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

answers() {
    local tries
    for ((tries = 0; tries < 150; tries++)); do
        if curl --silent --output /dev/null --max-time 2 --noproxy '*' --cacert "$state/ca.pem" "$1"; then
            return 0
        fi
        sleep 0.1
    done
    echo "$1 does not answer; logs are in $state" >&2
    return 1
}

make_certificates() {
    [ ! -e "$state/server.pem" ] || return 0
    (
        cd "$state"
        openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -keyout ca.key -out ca.pem \
            -subj '/CN=real-peers test authority' -addext 'keyUsage=critical,keyCertSign,cRLSign'
        openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj '/CN=localhost'
        printf '%s\n' 'subjectAltName=DNS:localhost,IP:127.0.0.1' 'extendedKeyUsage=serverAuth' \
            'basicConstraints=critical,CA:FALSE' >server.ext
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 \
            -extfile server.ext -out server.new
        # Last, so that an interrupted run starts over.
        mv server.new server.pem
    ) >"$state/openssl.log" 2>&1
}

# start_nginx PLAIN TLS BROKEN: the last port answers 503 to everything.
start_nginx() {
    mkdir -p "$state/nginx"
    head -c 3000000 /dev/zero | tr '\0' x >"$state/nginx/large"
    cat >"$state/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $state/nginx/pid;
error_log stderr warn;
events {}
http {
    access_log $state/nginx/access.log;
    client_body_temp_path $state/nginx/body;
    proxy_temp_path $state/nginx/proxy;
    fastcgi_temp_path $state/nginx/fastcgi;
    uwsgi_temp_path $state/nginx/uwsgi;
    scgi_temp_path $state/nginx/scgi;
    default_type text/plain;
    limit_req_zone \$server_port zone=second:1m rate=1r/s;

    server {
        listen 127.0.0.1:$1;
        listen 127.0.0.1:$2 ssl http2;
        ssl_certificate $state/server.pem;
        ssl_certificate_key $state/server.key;
        root $state/nginx;
        location = / { return 200 "hello from nginx\n"; }
        location = /503 { return 503; }
        location = /429 {
            add_header Retry-After 1 always;
            return 429;
        }
        location = /limited {
            limit_req zone=second;
            limit_req_status 429;
            add_header Retry-After 1 always;
            try_files /hello =404;
        }
    }

    server {
        listen 127.0.0.1:$3;
        location / { return 503; }
    }
}
CONF
    echo "hello within the limit" >"$state/nginx/hello"
    start nginx -p "$state/nginx" -c "$state/nginx.conf"
}

# start_haproxy FRONT GOOD BROKEN: `/half` goes to both in turn, all else to the good one.
start_haproxy() {
    cat >"$state/haproxy.cfg" <<CONF
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s

frontend front
    bind 127.0.0.1:$1
    use_backend half if { path /half }
    default_backend good

backend good
    server nginx 127.0.0.1:$2

backend half
    balance roundrobin
    http-request set-path /
    server broken 127.0.0.1:$3
    server nginx 127.0.0.1:$2
CONF
    start haproxy -db -f "$state/haproxy.cfg"
}

# start_clickhouse HTTP TCP
start_clickhouse() {
    mkdir -p "$state/clickhouse/tmp"
    cat >"$state/clickhouse.xml" <<CONF
<yandex>
    <logger><level>warning</level><console>1</console></logger>
    <listen_host>127.0.0.1</listen_host>
    <http_port>$1</http_port>
    <tcp_port>$2</tcp_port>
    <path>$state/clickhouse/</path>
    <tmp_path>$state/clickhouse/tmp/</tmp_path>
    <mark_cache_size>5368709120</mark_cache_size>
    <users_config>clickhouse.xml</users_config>
    <default_profile>default</default_profile>
    <default_database>default</default_database>
    <profiles><default/></profiles>
    <quotas><default/></quotas>
    <users>
        <default>
            <password/>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
        </default>
    </users>
</yandex>
CONF
    start clickhouse-server --config-file "$state/clickhouse.xml"
}
