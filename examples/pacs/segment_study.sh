#!/usr/bin/env bash
# Fetch a study from a PACS, segment it, and store the segmentation back, with DCMTK's programs.
#   examples/pacs/segment_study.sh HOST PORT AET STUDY_UID WORKDIR [option of predict ...]
# PYTHON is the interpreter (python by default), BUNDLE the bundle (bundles/pu_unet_brats), MY_AET our own title.
# WORKDIR gets the study and the results; they name the patient, so remove it when you are done.
set -euo pipefail
if [ $# -lt 5 ]; then
    echo "error: $# arguments, expected at least 5:" >&2
    sed -n '3s/^# *//p' "$0" >&2
    exit 2
fi
host=$1 port=$2 aet=$3 study=$4 workdir=$5
shift 5
me=${MY_AET:-PUUNET}
peer=(-aet "$me" -aec "$aet" "$host" "$port")
for program in echoscu findscu getscu storescu; do
    command -v "$program" > /dev/null || { echo "error: $program is not installed: apt install dcmtk" >&2; exit 2; }
done
[ ! -e "$workdir" ] || { echo "error: $workdir: exists already; choose another WORKDIR" >&2; exit 2; }
[[ $port =~ ^[0-9]+$ ]] || { echo "error: port $port: expected a number, such as 4242" >&2; exit 2; }
echoscu -q "${peer[@]}" 2> /dev/null ||
    { echo "error: $host:$port does not answer as $aet: check host, port and title, and whether it knows $me" >&2; exit 2; }
mkdir -p "$workdir/dicom"

# number, modality and images of each series that the PACS has; not the description, where names of patients may stand:
# predict shows the words of it that tell none
series_of_study() {
    findscu -ll error -S -k QueryRetrieveLevel=SERIES -k "StudyInstanceUID=$study" -k SeriesInstanceUID -k SeriesNumber \
        -k Modality -k NumberOfSeriesRelatedInstances -od "$1" -X "${peer[@]}"
    for answer in "$1"/*.dcm; do
        [ -e "$answer" ] || { echo "error: $host:$port has no study $study" >&2; return 1; }
        dcmdump -q +P SeriesNumber +P Modality +P NumberOfSeriesRelatedInstances "$answer" |
            sed -n 's/.*\[ *\(.*\)\].*/\1/p' | paste -sd '\t'
    done | sort -n
}

echo "series of the study:"
mkdir "$workdir/before"
series_of_study "$workdir/before"
echo "fetching"
getscu -ll error +B -S -k QueryRetrieveLevel=STUDY -k "StudyInstanceUID=$study" -od "$workdir/dicom" "${peer[@]}"
instances_of_study() {
    mkdir "$workdir/study"
    findscu -ll error -S -k QueryRetrieveLevel=STUDY -k "StudyInstanceUID=$study" -k NumberOfStudyRelatedInstances \
        -od "$workdir/study" -X "${peer[@]}"
    dcmdump -q +P NumberOfStudyRelatedInstances "$workdir"/study/*.dcm | sed -n 's/.*\[ *\([0-9]*\).*/\1/p'
}
expected=$(instances_of_study)
fetched=$(find "$workdir/dicom" -type f | wc -l)
if [ -n "$expected" ] && [ "$expected" != "$fetched" ]; then
    echo "error: $fetched files fetched, but the archive has $expected of the study; try again" >&2
    exit 1
fi
echo "segmenting"
"${PYTHON:-python}" -m pu_unet_monai predict --bundle "${BUNDLE:-bundles/pu_unet_brats}" --input "$workdir/dicom" \
    --output "$workdir/results" "$@"
echo "storing the segmentation"
storescu -R "${peer[@]}" "$workdir"/results/*_seg.dcm
echo "series of the study now:"
mkdir "$workdir/after"
series_of_study "$workdir/after"
