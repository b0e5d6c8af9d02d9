# What mariadb.sh and mysql.sh share. Sourced, not run, by a script that says which server it is:
#   name, group            the folder of its data, and its group in an options file
#   daemon, client         commands, as arrays
#   buffer_pool            memory for pages
#   install                gets the programs
#   initialize FOLDER      makes an empty data folder in the current one
#   server_options         more lines of its options file
#   print_env              prints the export lines
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
database=$state/$name
config=$database/my.cnf

password() { cat "$database/password"; }
port() { cat "$database/port"; }
url() { echo "mysql://fieldlog:$(password)@127.0.0.1:$(port)/iotdatabase"; }
server() { running "$database/pid" "--defaults-file=$config"; }

configure() {
  cat >"$config" <<CONFIG
[$group]
datadir=$database/data
# Relative to the data folder, for the path of a socket may not be long.
socket=$name.sock
bind-address=127.0.0.1
port=$(port)
skip-name-resolve
init-file=$database/init.sql
log-error=$database/error.log
character-set-server=utf8mb4
collation-server=utf8mb4_bin
innodb_flush_log_at_trx_commit=1
innodb_buffer_pool_size=$buffer_pool
max_connections=200
local_infile=ON
# For those who ask for it; without, connections are as open as before.
ssl_cert=$state/tls/server.pem
ssl_key=$state/tls/server-key.pem
ssl_ca=$state/tls/ca.pem
$(server_options)
CONFIG
  # Tests make databases of their own beside it.
  cat >"$database/init.sql" <<SQL
CREATE DATABASE IF NOT EXISTS iotdatabase CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER IF NOT EXISTS fieldlog@127.0.0.1 IDENTIFIED BY '$(password)';
GRANT ALL ON \`iotdatabase%\`.* TO fieldlog@127.0.0.1;
SQL
}

create() {
  mkdir -p "$database"
  chmod 700 "$database"
  random_password >"$database/password"
  free_port >"$database/port"
  # Made aside and moved into place last, so that an interrupted first start is begun again.
  rm -rf "$database/data.new"
  # From inside, for its path may have a space in it, which an installer may not quote.
  (cd "$database" && initialize ./data.new) >"$database/error.log" 2>&1 || die "$(tail -n 20 "$database/error.log")"
  mv "$database/data.new" "$database/data"
}

launch() {
  server >/dev/null && return
  make_certificates
  configure
  # Of a server that was killed: MySQL ends when its process is there still, be it as a zombie.
  rm -f "$database/data/$name.sock.lock"
  setsid "${daemon[@]}" --defaults-file="$config" --user="$(id -un)" >>"$database/error.log" 2>&1 </dev/null 9>&- &
  echo $! >"$database/pid"
}

started() {
  # Whatever its command line: until it is the server, it is a copy of this script.
  ! ended "$(cat "$database/pid")" || die "the server ended: $(tail -n 20 "$database/error.log")"
  MYSQL_PWD=$(password) "${client[@]}" --no-defaults -h 127.0.0.1 -P "$(port)" -u fieldlog -e 'SELECT 1' iotdatabase \
    >/dev/null 2>&1
}

await() { wait_until 120 "the server does not answer: see $database/error.log" started; }

known() { [ -d "$database/data" ] || die "no server is up: $name.sh up"; }

# run COMMAND…, as the usage text of the script that sourced this says
run() {
  case ${1:-} in
    up)
      install
      lock_state
      [ -d "$database/data" ] || create
      launch
      await
      print_env
      ;;
    env)
      [ -d "$database/data" ] && print_env
      ;;
    start)
      known
      launch
      await
      ;;
    stop)
      signal_and_wait TERM "$database/pid" "--defaults-file=$config"
      ;;
    kill)
      signal_and_wait KILL "$database/pid" "--defaults-file=$config"
      ;;
    down)
      lock_state
      signal_and_wait TERM "$database/pid" "--defaults-file=$config"
      rm -rf "$database"
      ;;
    *)
      sed -n '2,/^[^#]/s/^# //p' "$0" >&2
      exit 2
      ;;
  esac
}
