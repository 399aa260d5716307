#!/usr/bin/env bash
# Start MONAI Label on loopback with bundles of this project and a folder of studies.
#   label_server/serve.sh ENVIRONMENT WORKDIR STUDIES PORT BUNDLE [BUNDLE ...]
# WORKDIR gets MONAI Label's app "monaibundle" and copies of the bundles, whose weights the annotators' trainings change.
set -euo pipefail
if [ $# -lt 5 ]; then
    sed -n 2,4p "$0" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
environment=$(cd "$1" && pwd)
workdir=$2 studies=$3 port=$4
shift 4
app=$workdir/monaibundle
export PATH=$environment/bin:$PATH         # MONAI Label calls python by its name
export PYTHONPATH=$here:${PYTHONPATH:-}    # sitecustomize.py: torchvision without its operators

[ -d "$studies" ] || { echo "error: $studies: no such folder of studies" >&2; exit 2; }
if [ ! -d "$app" ]; then
    mkdir -p "$workdir"
    monailabel apps --download --name monaibundle --output "$workdir" > "$workdir/apps.log"
fi
mkdir -p "$app/model"
names=()
for bundle in "$@"; do
    name=$(basename "$bundle")
    names+=("$name")
    [ -d "$app/model/$name" ] && continue
    [ -f "$bundle/models/model.pt" ] || { echo "error: $bundle/models/model.pt: no weights; train the bundle first" >&2; exit 2; }
    cp -r "$bundle" "$app/model/.$name" && mv "$app/model/.$name" "$app/model/$name"
done
models=$(IFS=,; echo "${names[*]}")
echo "MONAI Label: http://127.0.0.1:$port  models: $models  studies: $studies"
exec python -m monailabel.main start_server --app "$app" --studies "$studies" --host 127.0.0.1 --port "$port" \
    --conf models "$models" --conf zoo_source ngc --conf sam2 false
