#!/usr/bin/env bash
# MariaDB on loopback, with durable commits. Usage:
#   mariadb.sh up               start it, or leave it running, and print the export line
#   mariadb.sh env              print the export line
#   mariadb.sh stop|kill|start  stop cleanly, kill -9, start again with the same data and port
#   mariadb.sh down             stop it and remove its data
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
PATH=$PATH:/usr/sbin
mariadb=$state/mariadb
config=$mariadb/my.cnf

password() { cat "$mariadb/password"; }
port() { cat "$mariadb/port"; }
server() { running "$mariadb/pid" "--defaults-file=$config"; }

configure() {
  cat >"$config" <<CONFIG
[mariadbd]
datadir=$mariadb/data
# Relative to the data folder, for the path of a socket may not be long.
socket=mariadb.sock
bind-address=127.0.0.1
port=$(port)
skip-name-resolve
init-file=$mariadb/init.sql
log-error=$mariadb/error.log
character-set-server=utf8mb4
collation-server=utf8mb4_bin
innodb_flush_log_at_trx_commit=1
innodb_buffer_pool_size=${MARIADB_BUFFER_POOL:-256M}
max_connections=200
local_infile=ON
# For those who ask for it; without, connections are as open as before.
ssl_cert=$state/tls/server.pem
ssl_key=$state/tls/server-key.pem
ssl_ca=$state/tls/ca.pem
CONFIG
  # Tests make databases of their own beside it.
  cat >"$mariadb/init.sql" <<SQL
CREATE DATABASE IF NOT EXISTS iotdatabase CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER IF NOT EXISTS fieldlog@127.0.0.1 IDENTIFIED BY '$(password)';
GRANT ALL ON \`iotdatabase%\`.* TO fieldlog@127.0.0.1;
SQL
}

create() {
  mkdir -p "$mariadb"
  chmod 700 "$mariadb"
  random_password >"$mariadb/password"
  free_port >"$mariadb/port"
  configure
  # Made aside and moved into place last, so that an interrupted first start is begun again.
  rm -rf "$mariadb/data.new"
  # From inside, for its path may have a space in it, which the installer does not quote.
  (cd "$mariadb" && mariadb-install-db --no-defaults --user="$(id -un)" --datadir=./data.new --skip-test-db) \
    >"$mariadb/error.log" 2>&1 || die "$(tail -n 20 "$mariadb/error.log")"
  mv "$mariadb/data.new" "$mariadb/data"
}

launch() {
  server >/dev/null && return
  make_certificates
  configure
  setsid mariadbd --defaults-file="$config" --user="$(id -un)" >>"$mariadb/error.log" 2>&1 </dev/null 9>&- &
  echo $! >"$mariadb/pid"
}

started() {
  # Whatever its command line: until it is the server, it is a copy of this script.
  ! ended "$(cat "$mariadb/pid")" || die "the server ended: $(tail -n 20 "$mariadb/error.log")"
  MYSQL_PWD=$(password) mariadb --no-defaults -h 127.0.0.1 -P "$(port)" -u fieldlog -e 'SELECT 1' iotdatabase \
    >/dev/null 2>&1
}

await() { wait_until 120 "the server does not answer: see $mariadb/error.log" started; }

known() { [ -d "$mariadb/data" ] || die "no server is up: mariadb.sh up"; }

print_env() {
  echo "export MYSQL_URL=mysql://fieldlog:$(password)@127.0.0.1:$(port)/iotdatabase"
  echo "export LOCAL_CA_FILE=$(printf %q "$state/tls/ca.pem")"
}

case ${1:-} in
  up)
    # The packages without a service of the system's own.
    require mariadbd mariadb-server-core
    require mariadb mariadb-client-core
    lock_state
    [ -d "$mariadb/data" ] || create
    launch
    await
    print_env
    ;;
  env)
    [ -d "$mariadb/data" ] && print_env
    ;;
  start)
    known
    launch
    await
    ;;
  stop)
    signal_and_wait TERM "$mariadb/pid" "--defaults-file=$config"
    ;;
  kill)
    signal_and_wait KILL "$mariadb/pid" "--defaults-file=$config"
    ;;
  down)
    lock_state
    signal_and_wait TERM "$mariadb/pid" "--defaults-file=$config"
    rm -rf "$mariadb"
    ;;
  *)
    sed -n '2,6s/^# //p' "$0" >&2
    exit 2
    ;;
esac
