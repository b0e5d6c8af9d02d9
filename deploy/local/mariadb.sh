#!/usr/bin/env bash
# MariaDB on loopback, with durable commits. Usage:
#   mariadb.sh up               start it, or leave it running, and print the export lines
#   mariadb.sh env              print the export lines
#   mariadb.sh stop|kill|start  stop cleanly, kill -9, start again with the same data and port
#   mariadb.sh down             stop it and remove its data
name=mariadb
group=mariadbd
daemon=(mariadbd)
client=(mariadb)
buffer_pool=${MARIADB_BUFFER_POOL:-256M}
PATH=$PATH:/usr/sbin
. "$(dirname "${BASH_SOURCE[0]}")/database.sh"

# The packages without a service of the system's own.
install() {
  require mariadbd mariadb-server-core
  require mariadb mariadb-client-core
}

initialize() { mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$1" --skip-test-db; }

server_options() { echo "innodb_log_file_size=${MARIADB_REDO_LOG:-96M}"; }

# The first is for tests, the second what Fieldlog itself reads.
print_env() {
  echo "export LOCAL_MARIADB_URL=$(url) MYSQL_URL=$(url)"
  echo "export LOCAL_CA_FILE=$(printf %q "$state/tls/ca.pem")"
}

run "$@"
