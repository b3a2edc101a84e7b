#!/usr/bin/env bash
# Prints the confirmed klines, and the values that consumers emit, of the topics on its command line.
#
# Needs bash and common tools (od, head). It implements the WebSocket protocol itself, without encryption (ws:// only).
# After a disconnect it resumes at the last message that it received, so that no message is missed or repeated.
set -euo pipefail
export LC_ALL=C

host=${KLINES_HOST:-127.0.0.1} port=${KLINES_PORT:-9500}
key=${KLINES_KEY:?set KLINES_KEY}
topics=("${@:-kline.1m.BTCUSDT}")
declare -A since=()

send() { # OPCODE TEXT: sends one frame, masked with zeros, which does not change the text
  local length=${#2} head
  printf -v head '\\x%02x' $((0x80 | $1))
  if ((length < 126)); then
    printf -v head '%s\\x%02x' "$head" $((0x80 | length))
  else
    printf -v head '%s\\xfe\\x%02x\\x%02x' "$head" $((length >> 8)) $((length & 255))
  fi
  printf '%b\0\0\0\0%s' "$head" "$2" >&"$wire"
}

bytes() { # COUNT: reads COUNT bytes and prints them as numbers; prints nothing at the end of the stream
  head -c "$1" <&"$wire" | od -An -v -tu1
}

field() { # NAME TEXT: prints the value of a JSON field, a number or a text without escapes
  [[ $2 =~ \"$1\":\"?([^\",}]*) ]] && printf '%s' "${BASH_REMATCH[1]}"
}

take() { # TEXT: handles one message of the server
  local topic epoch seq
  case $1 in
    *'"op":"subscribe"'*'"ok":false'*) echo "$1" >&2 && exit 1 ;;
    # The state of the connection to the exchange. Without it, no klines arrive, so only this message can show it.
    *'"type":"status"'*) echo "feeds: ${1#*'"feeds":'}" >&2 ;;
    *'"type":"snapshot"'* | *'"type":"kline"'*'"confirm":true'* | *'"type":"value"'*'"confirm":true'*)
      topic=$(field topic "$1") epoch=$(field epoch "$1") seq=$(field seq "$1")
      since[$topic]="{\"epoch\":\"$epoch\",\"seq\":$seq}"
      case $1 in
        *'"type":"kline"'*) echo "$topic $seq $(field close "$1")" ;;
        *'"type":"value"'*) [[ $1 =~ \"value\":(.*)\}\}$ ]] && echo "$topic $seq ${BASH_REMATCH[1]}" ;;
      esac
      ;;
  esac
}

request() { # prints the subscription, with the position of the last message of each topic
  local list='' known='' topic
  for topic in "${topics[@]}"; do
    list+=",\"$topic\""
    [[ -z ${since[$topic]:-} ]] || known+=",\"$topic\":${since[$topic]}"
  done
  printf '{"op":"subscribe","topics":[%s],"since":{%s}}' "${list:1}" "${known:1}"
}

follow() { # connects, subscribes, and handles messages until the connection ends
  local line first size text
  { exec {wire}<>"/dev/tcp/$host/$port"; } 2>/dev/null || return 0
  printf '%s\r\n' "GET /v1/stream HTTP/1.1" "Host: $host:$port" "Connection: Upgrade" "Upgrade: websocket" \
    "Sec-WebSocket-Version: 13" "Sec-WebSocket-Key: $(head -c 16 /dev/urandom | base64)" \
    "Authorization: Bearer $key" "" >&"$wire"
  read -r line <&"$wire" || return 0
  [[ $line == *' 101 '* ]] || { echo "refused: $line" >&2 && exit 1; }
  while read -r line <&"$wire" && [[ $line != $'\r' ]]; do :; done
  send 1 "$(request)"
  while read -r first size < <(bytes 2) && [[ -n ${size:-} ]]; do
    if ((size == 126)); then
      read -r first[1] first[2] < <(bytes 2)
      size=$((first[1] << 8 | first[2]))
    elif ((size == 127)); then
      # A length of 64 bits: messages are short enough for its last four bytes.
      read -r _ _ _ _ first[1] first[2] first[3] first[4] < <(bytes 8)
      size=$((first[1] << 24 | first[2] << 16 | first[3] << 8 | first[4]))
    fi
    text=$(head -c "$size" <&"$wire" | tr -d '\0')
    case $((first & 15)) in
      1) take "$text" ;;
      8) return 0 ;;
      9) send 10 "$text" ;;
    esac
  done
}

while true; do
  follow || true
  if [[ -n ${wire:-} ]]; then exec {wire}>&-; fi; wire=
  echo "not connected; trying again" >&2
  sleep 1
done
