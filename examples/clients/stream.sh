#!/usr/bin/env bash
# Prints confirmed klines, and values that consumers emit, of the topics on its command line.
#
# Needs bash and the usual tools (od, head): the WebSocket is spoken by hand, over plain ws:// only. After a cut it resumes
# where it was: nothing is missed, nothing comes twice.
set -euo pipefail
export LC_ALL=C

host=${KLINES_HOST:-127.0.0.1} port=${KLINES_PORT:-9500}
key=${KLINES_KEY:?set KLINES_KEY}
topics=("${@:-kline.1m.BTCUSDT}")
declare -A since=()

send() { # OPCODE TEXT: one frame, masked with zeros, which leaves the text as it is
  local length=${#2} head
  printf -v head '\\x%02x' $((0x80 | $1))
  if ((length < 126)); then
    printf -v head '%s\\x%02x' "$head" $((0x80 | length))
  else
    printf -v head '%s\\xfe\\x%02x\\x%02x' "$head" $((length >> 8)) $((length & 255))
  fi
  printf '%b\0\0\0\0%s' "$head" "$2" >&"$wire"
}

bytes() { # COUNT: that many bytes as numbers; nothing at the end of the stream
  head -c "$1" <&"$wire" | od -An -v -tu1
}

field() { # NAME TEXT: the value of a number or a plain text
  [[ $2 =~ \"$1\":\"?([^\",}]*) ]] && printf '%s' "${BASH_REMATCH[1]}"
}

take() { # TEXT: one message of the server
  local topic epoch seq
  case $1 in
    *'"op":"subscribe"'*'"ok":false'*) echo "$1" >&2 && exit 1 ;;
    # Whether the exchange is heard: klines cannot say it, since there are none when it is not.
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

request() { # what is subscribed to, and since when
  local list='' known='' topic
  for topic in "${topics[@]}"; do
    list+=",\"$topic\""
    [[ -z ${since[$topic]:-} ]] || known+=",\"$topic\":${since[$topic]}"
  done
  printf '{"op":"subscribe","topics":[%s],"since":{%s}}' "${list:1}" "${known:1}"
}

follow() { # until the connection ends; says why
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
      # Lengths of 64 bits: the last four bytes are plenty.
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
