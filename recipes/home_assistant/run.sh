#!/bin/bash
# The add-on: a grammar of the home that follows it, and a server that takes it whenever it has changed.
set -eu
option() {
    python -c 'import json, sys; print(json.load(open("/data/options.json"))[sys.argv[1]])' "$1"
}
as_earshot() {
    setpriv --reuid=10001 --regid=10001 --clear-groups env HOME=/home/earshot "$@"
}
grammar=/data/earshot/home.yaml
mkdir -p /data/earshot
chown 10001:10001 /data/earshot
domains=$(option domains)
import_home() {
    HOME_ASSISTANT_TOKEN=$SUPERVISOR_TOKEN as_earshot env -u SUPERVISOR_TOKEN earshot commands import home-assistant \
        --url ws://supervisor/core/websocket --domains "$domains" --output "$grammar" "$@"
}
announce() {
    until (: < /dev/tcp/127.0.0.1/10300) 2> /dev/null; do sleep 1; done
    python - << 'PYTHON'
import json, os, socket, urllib.request
body = json.dumps({"service": "wyoming", "config": {"uri": f"tcp://{socket.gethostname()}:10300"}}).encode()
headers = {"Authorization": f"Bearer {os.environ['SUPERVISOR_TOKEN']}", "Content-Type": "application/json"}
urllib.request.urlopen(urllib.request.Request("http://supervisor/discovery", body, headers), timeout=30)
PYTHON
}
until import_home || [ -f "$grammar" ]; do sleep 10; done
while true; do import_home --watch || sleep 30; done &
announce &
arguments=(--commands "$grammar" --wyoming-host 0.0.0.0 --wyoming-port 10300)
if [ "$(option log_transcripts)" = True ]; then arguments+=(--log-transcripts); fi
cd /tmp
exec setpriv --reuid=10001 --regid=10001 --clear-groups env -u SUPERVISOR_TOKEN HOME=/home/earshot \
    earshot serve models/english "${arguments[@]}"
