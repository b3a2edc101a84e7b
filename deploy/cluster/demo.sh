#!/usr/bin/env bash
# A whole cluster on this machine: Redis, a simulated exchange, three ingest nodes, two gateways and two workers, until Ctrl-C or for
# a number of seconds. Takes the path of klines, the first of five free ports, and the seconds (default: until Ctrl-C). Everything is
# in target/cluster.
set -euo pipefail
cd "$(dirname "$0")/../.."
klines=$(realpath "$1")
port=$2
seconds=${3:-}

folder=$PWD/target/cluster
rm -rf "$folder"
mkdir -p "$folder"
started=()
trap 'kill "${started[@]}" 2>/dev/null || true; wait' EXIT
trap exit INT TERM

redis=$((port)) exchange=$((port + 1))
redis-server --bind 127.0.0.1 --port "$redis" --save '' --dir "$folder" >"$folder/redis.log" &
started+=($!)
echo "redis-server: process $!"
"$klines" simulate --symbols 50 --listen "127.0.0.1:$exchange" >"$folder/exchange.log" 2>&1 &
started+=($!)

cat >"$folder/env" <<VARIABLES
export KLINES_CONFIG=$PWD/deploy/cluster/klines.toml
export BYBIT_WS_URL=ws://127.0.0.1:$exchange BYBIT_REST_URL=http://127.0.0.1:$exchange
export CLUSTER_REDIS_URL=redis://127.0.0.1:$redis
export WSS_AUTH_USER=demo WSS_AUTH_KEY=$("$klines" keygen)
VARIABLES
# shellcheck disable=SC1091
source "$folder/env"

node() {
  local name=$1 role=$2
  shift 2
  env CLUSTER_ROLE="$role" CLUSTER_NODE="$name" "$@" "$klines" run --data-dir "$folder/$name" >"$folder/$name.out" 2>"$folder/$name.log" &
  started+=($!)
  echo "  $name: process $!"
}

echo "starting:"
for number in 1 2 3; do node "ingest-$number" ingest; done
node gateway-1 serve WEBSOCKET_PORT=$((port + 2))
node gateway-2 serve WEBSOCKET_PORT=$((port + 3))
for number in 1 2; do node "worker-$number" serve ENABLED_CONSUMERS=shared; done
cat <<TEXT

Charts: http://127.0.0.1:$((port + 2))/ and http://127.0.0.1:$((port + 3))/, klines and logs: $folder
In another terminal:
  source $folder/env
  $klines cluster status
Kill any of the processes above and look again. Start it again, or one more:
  CLUSTER_ROLE=ingest CLUSTER_NODE=ingest-4 $klines run --data-dir $folder/ingest-4

TEXT

# Every ten seconds what the status says, and the last kline of a gateway and of a worker.
end=$((SECONDS + ${seconds:-1000000000}))
while ((SECONDS < end)); do
  sleep 10 &
  wait $! || true
  "$klines" cluster status || true
  tail -n 1 "$folder/gateway-1.out"
  tail -n 1 "$folder/worker-1.out"
  echo
done
# Whoever asks for an end wants to know whether it has worked.
"$klines" cluster status >/dev/null
grep -q '✓' "$folder/gateway-1.out"
for node in gateway-2 worker-1 worker-2; do grep -q '✓' "$folder/$node.out"; done
