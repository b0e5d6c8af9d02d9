#!/usr/bin/env bash
# Apache Kafka (KRaft) on loopback. Usage:
#   kafka.sh up [--brokers N]   start N brokers (1), or those of them that do not run
#   kafka.sh env                print the export lines
#   kafka.sh stop|kill|start N  one broker: stop cleanly, kill -9, start again with the same data and port
#   kafka.sh down               stop all and remove their data
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
kafka=$state/kafka

class_path() {
  local cached=$kafka/classpath pom=$local_dir/kafka/pom.xml
  if [ ! -s "$cached" ] || [ "$pom" -nt "$cached" ]; then
    require mvn maven
    mvn -q -B -f "$pom" dependency:build-classpath "-Dmdep.outputFile=$cached" >&2
  fi
  cat "$cached"
}

node_ids() { seq 1 "$(cat "$kafka/brokers")"; }
password() { cat "$kafka/password"; }
port_of() { cat "$kafka/$1/$2-port"; }
java_of() { CLASSPATH=$(class_path) exec java "$@"; }

configure() {
  local id=$1 brokers=$2 voters=$3 replication=$2
  cat >"$kafka/$id/server.properties" <<PROPERTIES
node.id=$id
process.roles=broker,controller
listeners=CLIENT://127.0.0.1:$(port_of "$id" broker),SECURE://127.0.0.1:$(port_of "$id" secure),CONTROLLER://127.0.0.1:$(port_of "$id" controller)
advertised.listeners=CLIENT://127.0.0.1:$(port_of "$id" broker),SECURE://localhost:$(port_of "$id" secure)
listener.security.protocol.map=CLIENT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location=$state/tls/server-with-key.pem
listener.name.secure.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_fieldlog="$(password)";
listener.name.secure.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
controller.quorum.voters=$voters
log.dirs=$kafka/$id/data
auto.create.topics.enable=false
default.replication.factor=$replication
offsets.topic.replication.factor=$replication
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$replication
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$replication
share.coordinator.state.topic.min.isr=1
# A fleet of three brokers in 384 MB heaps each, whose death is noticed in seconds and not in nine.
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=8388608
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=4000
controller.quorum.election.timeout.ms=1000
controller.quorum.fetch.timeout.ms=2000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
PROPERTIES
}

create() {
  local brokers=$1 id voters=
  mkdir -p "$kafka"
  chmod 700 "$kafka"
  make_certificates
  random_password >"$kafka/password"
  class_path >/dev/null
  for id in $(seq 1 "$brokers"); do
    mkdir -p "$kafka/$id"
    free_port >"$kafka/$id/broker-port"
    free_port >"$kafka/$id/secure-port"
    free_port >"$kafka/$id/controller-port"
    voters+="${voters:+,}$id@127.0.0.1:$(port_of "$id" controller)"
  done
  (java_of kafka.tools.StorageTool random-uuid) >"$kafka/cluster-id"
  for id in $(seq 1 "$brokers"); do
    configure "$id" "$brokers" "$voters"
    (java_of kafka.tools.StorageTool format -t "$(cat "$kafka/cluster-id")" \
      --add-scram "SCRAM-SHA-256=[name=fieldlog,password=$(password)]" \
      --add-scram "SCRAM-SHA-512=[name=fieldlog,password=$(password)]" \
      -c "$kafka/$id/server.properties") >"$kafka/$id/log" 2>&1 || die "$(cat "$kafka/$id/log")"
  done
  # Last, so that an interrupted first start is begun again.
  echo "$brokers" >"$kafka/brokers"
}

launch() {
  local id=$1 properties=$kafka/$1/server.properties
  running "$kafka/$id/pid" "$properties" >/dev/null && return
  : >"$kafka/$id/log"
  CLASSPATH=$(class_path) setsid java -Xms128m "-Xmx${KAFKA_HEAP:-384m}" -XX:+UseSerialGC \
    "-Dlog4j2.configurationFile=$local_dir/kafka/log4j2.properties" \
    kafka.Kafka "$properties" >"$kafka/$id/log" 2>&1 </dev/null 9>&- &
  echo $! >"$kafka/$id/pid"
}

started() {
  ! ended "$(cat "$kafka/$1/pid")" || die "broker $1 ended: $(tail -n 20 "$kafka/$1/log")"
  grep -q 'Kafka Server started' "$kafka/$1/log"
}

await() { wait_until 120 "broker $1 has not started: see $kafka/$1/log" started "$1"; }

known() {
  [ -s "$kafka/brokers" ] || die "no cluster is up: kafka.sh up"
  [ -d "$kafka/${1:?which broker?}" ] || die "there is no broker $1"
}

print_env() {
  local id list= secure=
  for id in $(node_ids); do
    list+="${list:+,}127.0.0.1:$(port_of "$id" broker)"
    secure+="${secure:+,}localhost:$(port_of "$id" secure)"
  done
  echo "export KAFKA_BROKERS=$list"
  echo "export LOCAL_KAFKA_SECURE=fieldlog:$(password)@$secure LOCAL_CA_FILE=$(printf %q "$state/tls/ca.pem")"
}

require java openjdk-17-jre-headless
case ${1:-} in
  up)
    brokers=
    [ "${2:-}" != --brokers ] || brokers=${3:?--brokers needs a number}
    lock_state
    if [ -s "$kafka/brokers" ]; then
      [ "${brokers:-$(cat "$kafka/brokers")}" = "$(cat "$kafka/brokers")" ] ||
        die "a cluster of $(cat "$kafka/brokers") is up in $state: down first, or another FIELDLOG_LOCAL"
    else
      case ${brokers:=1} in 1 | 3) ;; *) die "--brokers is 1 or 3, not $brokers" ;; esac
      create "$brokers"
    fi
    for id in $(node_ids); do launch "$id"; done
    for id in $(node_ids); do await "$id"; done
    print_env
    ;;
  env)
    [ -s "$kafka/brokers" ] && print_env
    ;;
  start)
    known "${2:-}"
    launch "$2"
    await "$2"
    ;;
  stop)
    known "${2:-}"
    signal_and_wait TERM "$kafka/$2/pid" "$kafka/$2/server.properties"
    ;;
  kill)
    known "${2:-}"
    signal_and_wait KILL "$kafka/$2/pid" "$kafka/$2/server.properties"
    ;;
  down)
    lock_state
    # A clean stop moves leaders away first, which the last brokers of a cluster would wait for in vain; and the
    # data goes anyway.
    for folder in "$kafka"/*/; do
      [ -e "$folder/server.properties" ] || continue
      id=$(basename "$folder")
      signal_and_wait KILL "$kafka/$id/pid" "$kafka/$id/server.properties"
    done
    rm -rf "$kafka"
    ;;
  *)
    sed -n '2,6s/^# //p' "$0" >&2
    exit 2
    ;;
esac
