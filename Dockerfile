# The package and the bundles for a CPU; needs no network when it runs. Not built or run by the project's tests yet.
#
#   make dist
#   docker build -t pu-unet-monai .
#   docker run --rm --network none --user "$(id -u):$(id -g)" -v "$PWD/output:/data" pu-unet-monai \
#       predict --bundle /bundles/pu_unet_brats --input heads --output heads_seg
FROM python:3.11-slim

COPY constraints.txt dist/ /tmp/dist/
# the CPU build of PyTorch comes from an index of its own: the usual one carries several GB of CUDA
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch==2.13.0 \
    && pip install --no-cache-dir -c /tmp/dist/constraints.txt "$(ls /tmp/dist/*.whl)[dicom]" \
    && for bundle in /tmp/dist/*.zip; do python -m zipfile -e "$bundle" /bundles; done \
    && rm -r /tmp/dist

# a folder that any --user may write its caches to
ENV HOME=/tmp PYTHONUNBUFFERED=1
RUN useradd --no-create-home pu_unet
USER pu_unet
WORKDIR /data
ENTRYPOINT ["python", "-m", "pu_unet_monai"]
