#!/usr/bin/env bash
# MySQL on loopback, with durable commits. Usage:
#   mysql.sh up               start it, or leave it running, and print the export lines
#   mysql.sh env              print the export lines
#   mysql.sh stop|kill|start  stop cleanly, kill -9, start again with the same data and port
#   mysql.sh down             stop it and remove its data
#   mysql.sh possible         fails, and says why, where it cannot be installed
release=9.7
name=mysql
group=mysqld
buffer_pool=${MYSQL_BUFFER_POOL:-256M}
. "$(dirname "${BASH_SOURCE[0]}")/database.sh"

# Debian's stable releases have no MySQL. Unstable's needs unstable's libraries, so it is installed with a minimal
# system of its own, whose loader finds them. Without chroot, it needs no root and sees the files of this system.
system=$tools/mysql-$release

# in_system FOLDER: sets `daemon` and `client`
in_system() {
  local loader=("$1"/lib*/ld-linux*.so.*) libraries=("$1"/usr/lib/*-linux-gnu*)
  daemon=("${loader[0]}" --library-path "${libraries[0]}" "$1/usr/sbin/mysqld")
  client=("${loader[0]}" --library-path "${libraries[0]}" "$1/usr/bin/mysql")
}
in_system "$system"

installed() { [ -d "$system" ]; }

possible() {
  ! installed || return 0
  if [ "$(id -u)" != 0 ]; then
    echo "mysql.sh: MySQL $release is not in $system, and only root can install it there" >&2
    return 1
  fi
  (require debootstrap debootstrap)
}

install() {
  possible || exit 1
  lock_tools
  installed || get_system
  unlock_tools
}

get_system() {
  local new=$system.new version
  echo "installing MySQL $release in $system" >&2
  rm -rf "$new"
  debootstrap --variant=minbase --include=mysql-server-core,mysql-client-core sid "$new" >"$system.log" 2>&1 ||
    die "debootstrap failed: $(tail -n 5 "$system.log")"
  version=$(in_system "$new" && "${daemon[@]}" --no-defaults --version)
  case $version in
    *" $release."*) ;;
    *) die "Debian unstable has another release than MySQL $release, which the tests are for: $version" ;;
  esac
  rm -rf "$new"/var/cache/apt/* "$new"/var/lib/apt/lists/*
  # Last, so that an interrupted installation is begun again.
  mv "$new" "$system"
  in_system "$system"
}

initialize() {
  "${daemon[@]}" --no-defaults --user="$(id -un)" --basedir="$system/usr" --lc-messages-dir="$system/usr/share/mysql" \
    --character-sets-dir="$system/usr/share/mysql/charsets" --datadir="$1" --initialize
}

server_options() {
  cat <<OPTIONS
basedir=$system/usr
lc-messages-dir=$system/usr/share/mysql
character-sets-dir=$system/usr/share/mysql/charsets
plugin-dir=$system/usr/lib/mysql/plugin
secure-file-priv=NULL
mysqlx=OFF
OPTIONS
}

print_env() {
  echo "export LOCAL_MYSQL_URL=$(url)"
  echo "export LOCAL_CA_FILE=$(printf %q "$state/tls/ca.pem")"
}

if [ "${1:-}" = possible ]; then possible; else run "$@"; fi
