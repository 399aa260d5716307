#!/usr/bin/env bash
# Start MONAI Label on loopback with bundles of this project and a folder of studies.
#   label_server/serve.sh ENVIRONMENT WORKDIR STUDIES PORT BUNDLE [BUNDLE ...]
# WORKDIR gets MONAI Label's app "monaibundle" and copies of the bundles, whose weights the annotators' trainings change.
# A copy is used again as long as its bundle stays as it is; else it is set aside, and copied anew.
set -euo pipefail
fail() { echo "error: $*" >&2; exit 2; }
if [ $# -lt 5 ]; then
    echo "error: $# arguments, expected at least 5:" >&2
    sed -n '3s/^# *//p' "$0" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
environment=$1 workdir=$2 studies=$3 port=$4
shift 4
app=$workdir/monaibundle
[ -d "$studies" ] || fail "$studies: no such folder of studies"
[ -w "$studies" ] || fail "$studies: cannot be written to; MONAI Label keeps its list and the labels in the folder of studies"
[[ $port =~ ^[0-9]+$ ]] || fail "port $port: expected a number, such as 8000"
if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then
    fail "port $port is in use; choose another (make label LABEL_PORT=...)"
fi
for bundle in "$@"; do
    [ -d "$bundle/configs" ] || fail "$bundle: no bundle, it has no configs/"
    [ -f "$bundle/models/model.pt" ] || fail "$bundle/models/model.pt: no weights; train the bundle first"
done
names=()
for bundle in "$@"; do
    name=$(basename "$bundle")
    [[ " ${names[*]-} " != *" $name "* ]] || fail "$name: two bundles of this name; rename one"
    names+=("$name")
done

[ -x "$environment/bin/monailabel" ] || fail "$environment: MONAI Label is not installed there; make label-install"
environment=$(cd "$environment" && pwd)
export PATH=$environment/bin:$PATH         # MONAI Label calls python by its name
export PYTHONPATH=$here:${PYTHONPATH:-}    # sitecustomize.py: torchvision without its operators
export LABEL_ORIGINS=${LABEL_ORIGINS:-"http://127.0.0.1:$port http://localhost:$port"}    # see own_pages.py

if [ ! -d "$app" ]; then
    mkdir -p "$workdir"
    monailabel apps --download --name monaibundle --output "$workdir" > "$workdir/apps.log"
fi
mkdir -p "$app/model"
for bundle in "$@"; do
    name=$(basename "$bundle")
    copy=$app/model/$name
    state=$(cd "$bundle" && cat configs/*.json models/model.pt | sha256sum)
    if [ -d "$copy" ] && [ "$(cat "$copy/.copied" 2> /dev/null)" = "$state" ]; then
        echo "going on with $copy, and what was trained there"
        continue
    fi
    if [ -d "$copy" ]; then
        aside=$workdir/set_aside/$name-$(date +%Y%m%d-%H%M%S)
        mkdir -p "$workdir/set_aside"
        mv "$copy" "$aside"
        echo "$bundle has changed: the copy of before, and what was trained there, is in $aside"
    fi
    rm -rf "$app/model/.new"
    cp -r "$bundle" "$app/model/.new"
    echo "$state" > "$app/model/.new/.copied"
    mv "$app/model/.new" "$copy"
done
models=$(IFS=,; echo "${names[*]}")
echo "MONAI Label: http://127.0.0.1:$port  models: $models  studies: $studies"
exec python -m monailabel.main start_server --app "$app" --studies "$studies" --host 127.0.0.1 --port "$port" \
    --uvicorn_app own_pages:app --conf models "$models" --conf zoo_source ngc --conf sam2 false
