# What the scripts of the servers share. Sourced, not run.

set -euo pipefail

local_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Everything the servers write, and what is known of them from one call to the next.
state=${FIELDLOG_LOCAL:-${TMPDIR:-/tmp}/fieldlog-local}

# Programs that are not installed system-wide, kept from one run to the next.
tools=${FIELDLOG_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/fieldlog-tools}

die() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# require COMMAND DEBIAN_PACKAGE
require() {
  command -v "$1" >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing $2" >&2
    { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$2"; } >&2
  fi
  command -v "$1" >/dev/null || die "$1 is not installed: apt-get install $2"
}

# One call at a time works on the state folder. Servers must be started with 9>&- or they would keep the lock.
lock_state() {
  mkdir -p "$state"
  exec 9>"$state/lock"
  flock -w 300 9 || die "another call has held $state/lock for five minutes"
}

# One call at a time installs tools.
lock_tools() {
  mkdir -p "$tools"
  exec 8>"$tools/lock"
  flock -w 600 8 || die "another call has held $tools/lock for ten minutes"
}

unlock_tools() { exec 8>&-; }

# Below the range that systems take outgoing ports from, so that nothing else is handed one of them meanwhile.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && ! grep -qsx "$port" "$state/ports"; then
      echo "$port" | tee -a "$state/ports"
      return
    fi
  done
}

random_password() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

# running PIDFILE MARK: prints the recorded pid if that process is alive and its command line has MARK in it, so
# that a pid that now belongs to someone else is never taken for ours.
running() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 1
  ps -ww -p "$pid" -o args= 2>/dev/null | grep -qF -- "$2" || return 1
  echo "$pid"
}

# signal_and_wait SIGNAL PIDFILE MARK
signal_and_wait() {
  local pid
  if pid=$(running "$2" "$3"); then
    kill "-$1" "$pid"
    wait_until 60 "process $pid has not ended" ended "$pid"
  fi
  rm -f "$2"
}

# Gone, or a zombie that its parent has yet to look at.
ended() { case $(ps -p "$1" -o stat=) in '' | Z*) ;; *) return 1 ;; esac }

# wait_until SECONDS COMPLAINT COMMAND…
wait_until() {
  local deadline=$((SECONDS + $1)) complaint=$2
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || die "$complaint"
    sleep 0.1
  done
}

# A certificate for localhost and 127.0.0.1 in $state/tls/server.pem with its key in server-key.pem, and the authority
# it stems from in ca.pem.
make_certificates() {
  local tls=$state/tls
  [ ! -s "$tls/server.pem" ] || return 0
  require openssl openssl
  mkdir -p "$tls"
  chmod 700 "$tls"
  (
    cd "$tls"
    new() { openssl req -x509 -days 3650 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "$@"; }
    new -subj '/CN=fieldlog local authority' -keyout ca-key.pem -out ca.pem
    new -CA ca.pem -CAkey ca-key.pem -subj /CN=localhost -keyout server-key.pem -out server.new \
      -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE
    cat server-key.pem server.new ca.pem >server-with-key.pem
    # Last, so that an interrupted start makes them again.
    mv server.new server.pem
  ) 2>"$tls/log" || die "no certificate was made: $(cat "$tls/log")"
}
