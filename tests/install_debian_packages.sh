#!/usr/bin/env bash
# Install the programs that `make test-all` starts: an archive, DICOM tools, a checker of DICOM files, a browser. Debian.
set -euo pipefail
packages=(chromium curl dcmtk dicom3tools iproute2 orthanc util-linux)
missing=()
for package in "${packages[@]}"; do
    dpkg-query --show --showformat='${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
echo "installing ${missing[*]}"
root=()
[ "$(id -u)" = 0 ] || root=(sudo)
# Debian's Orthanc would start as a service that listens to everybody
if [[ " ${missing[*]} " == *" orthanc "* && ! -e /etc/systemd/system/orthanc.service ]]; then
    "${root[@]}" mkdir -p /etc/systemd/system
    "${root[@]}" ln -s /dev/null /etc/systemd/system/orthanc.service
fi
"${root[@]}" apt-get update -qq
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
