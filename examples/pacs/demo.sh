#!/usr/bin/env bash
# The loop of segment_study.sh with an archive of one's own: Orthanc, in a network of its own.
#   examples/pacs/demo.sh WORKDIR [STUDIES]
# STUDIES is a folder of DICOM files, a synthetic head by default. Debian: apt install orthanc dcmtk iproute2.
set -euo pipefail
if [ $# -lt 1 ]; then
    echo "error: no arguments, expected at least 1:" >&2
    sed -n '3s/^# *//p' "$0" >&2
    exit 2
fi
for program in Orthanc storescu echoscu unshare ip; do
    command -v "$program" > /dev/null || { echo "error: $program is not installed: apt install orthanc dcmtk iproute2" >&2; exit 2; }
done
if [ -z "${IN_OWN_NETWORK:-}" ]; then # Orthanc would listen to everybody
    IN_OWN_NETWORK=1 exec unshare --net $([ "$(id -u)" = 0 ] || echo --map-root-user) "$0" "$@"
fi
ip link set lo up
[ $# -lt 2 ] || [ -d "$2" ] || { echo "error: $2: no such folder of DICOM files" >&2; exit 2; }
[ ! -e "$1" ] || { echo "error: $1: exists already; choose another WORKDIR" >&2; exit 2; }
mkdir -p "$1/archive"
workdir=$(cd "$1" && pwd)
study=${2:-$workdir/head}
python=${PYTHON:-python}
cat > "$workdir/orthanc.json" << CONFIG
{"Name": "DEMO", "StorageDirectory": "$workdir/archive", "IndexDirectory": "$workdir/archive", "DicomAet": "ORTHANC",
 "DicomPort": 4242, "HttpServerEnabled": false, "DicomAlwaysAllowFind": true, "DicomAlwaysAllowGet": true,
 "DicomCheckCalledAet": false, "OverwriteInstances": true, "SyncStorageArea": false}
CONFIG
Orthanc "$workdir/orthanc.json" > "$workdir/orthanc.log" 2>&1 &
trap 'kill %1; wait' EXIT
for _ in $(seq 100); do
    echoscu -q -aec ORTHANC 127.0.0.1 4242 2> /dev/null && break
    kill -0 %1 2> /dev/null || { echo "error: Orthanc does not start:" >&2; tail -3 "$workdir/orthanc.log" >&2; exit 1; }
    sleep 0.2
done
[ $# -gt 1 ] || "$python" -m data_prep.volume_phantom --output "$study" --layout dicom --number 1 > /dev/null

seconds() { echo "  $1: $(($(date +%s) - $2)) s"; }
began=$(date +%s)
storescu -ll error --no-halt -aec ORTHANC +sd +r 127.0.0.1 4242 "$study"
seconds "stored the study" "$began"
mkdir "$workdir/studies"
findscu -ll error -S -k QueryRetrieveLevel=STUDY -k StudyInstanceUID -od "$workdir/studies" -X -aec ORTHANC 127.0.0.1 4242
for answer in "$workdir"/studies/*.dcm; do
    [ -e "$answer" ] || { echo "error: $study: no DICOM file that the archive takes" >&2; exit 2; }
    uid=$(dcmdump -q +P StudyInstanceUID "$answer" | sed -n 's/.*\[\(.*\)\].*/\1/p')
    began=$(date +%s)
    "$(dirname "$0")/segment_study.sh" 127.0.0.1 4242 ORTHANC "$uid" "$workdir/loop-$(basename "$answer" .dcm)"
    seconds "queried, fetched, segmented, stored back, queried" "$began"
done
