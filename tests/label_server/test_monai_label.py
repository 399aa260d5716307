"""The bundles in MONAI Label: its stock app, started as ``make label`` starts it, asked by REST."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import psutil
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from data_prep import phantom, volume_phantom
from pu_unet_monai.__main__ import main

pytestmark = pytest.mark.monailabel

REPOSITORY = Path(__file__).parents[2]
BUNDLES = ("pu_unet_brats", "pu_unet_busi", "pu_unet_isic2018", "pu_unet_kvasir", "r2_unet_isic2017")
SMALL = {"channels": [8, 16], "image_size": 48, "roi_size": [32, 32, 32], "num_workers": 0, "amp": False}
"""What keeps a training short, where a bundle has the key."""
WIDTHS = {"r2_unet_isic2017": {"channels": [16, 32]}}  # attention gates halve them


@dataclass(frozen=True)
class Server:
    """A running MONAI Label."""

    url: str
    studies: Path
    bundles: Path
    log: Path
    process: int

    def ask(self, method: str, path: str, *options: str, output: Path | None = None) -> dict:
        """Ask by REST; the answer is JSON unless it goes to a file."""
        command = ["curl", "-sS", "--fail-with-body", "-X", method, f"{self.url}{path}", *options]
        run = subprocess.run([*command, *(["-o", output] if output else [])], capture_output=True, text=True)
        assert run.returncode == 0, f"{run.stderr}{run.stdout}{self.log.read_text()[-3000:]}"
        return {} if output else json.loads(run.stdout)

    def infer(self, bundle: str, image: str, output: Path, **params: object) -> Path:
        """Segment an image of the studies."""
        path = f"/infer/{bundle}?image={image}&output=image"
        self.ask("POST", path, "-F", f"params={json.dumps(params)}", output=output)
        return output

    def save_label(self, image: str, label: Path) -> None:
        """Keep a label that an annotator corrected."""
        path = f"/datastore/label?image={image}&tag=final"
        self.ask("PUT", path, "-F", "params={}", "-F", f"label=@{label}")

    def forget_label(self, image: str) -> None:
        """Remove a label."""
        self.ask("DELETE", f"/datastore/label?id={image}&tag=final")

    def train(self, bundle: str, **params: object) -> str:
        """Train in the background, as the viewers do, and return how it ended."""
        body = json.dumps({"model": bundle, **params})
        self.ask("POST", f"/train/{bundle}", "-H", "Content-Type: application/json", "-d", body)
        for _ in range(240):
            time.sleep(0.5)
            task = self.ask("GET", "/train/?all=false")
            if task["status"] not in ("SUBMITTED", "RUNNING"):
                return f"{task['status']}\n" + "\n".join(task["details"])
        raise AssertionError(f"the training does not end\n{self.log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """MONAI Label with all bundles, small and with random weights, and studies of synthetic images."""
    environment = Path(os.environ.get("PU_UNET_LABEL_ENV", REPOSITORY / ".venv-label"))
    if not (environment / "bin" / "monailabel").is_file():
        pytest.skip(f"MONAI Label is not installed in {environment.name} (make label-install)")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    folder = tmp_path_factory.mktemp("label")
    make_studies(folder / "studies")
    for bundle in BUNDLES:
        make_bundle(folder / "source" / bundle)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bundles = [str(folder / "source" / bundle) for bundle in BUNDLES]
    log = folder / "server.log"
    command = [REPOSITORY / "label_server" / "serve.sh", environment, folder, folder / "studies", str(port), *bundles]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True
        )
    started = Server(f"http://127.0.0.1:{port}", folder / "studies", folder / "monaibundle" / "model", log, process.pid)
    try:
        wait_for(started, process)
        yield started
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def wait_for(server: Server, process: subprocess.Popen) -> None:
    for _ in range(240):
        if subprocess.run(["curl", "-s", "-o", os.devnull, f"{server.url}/info/"]).returncode == 0:
            return
        assert process.poll() is None, server.log.read_text()[-3000:]
        time.sleep(0.5)
    raise AssertionError(server.log.read_text()[-3000:])


def make_studies(folder: Path) -> None:
    """Images as an annotator's folder holds them: 4D volumes, a case of four files, PNG."""
    volume_phantom.make(folder.with_name("decathlon"), "decathlon", number=2, shape=(36, 40, 32))
    volume_phantom.make(folder.with_name("brats"), "brats", number=2, shape=(36, 40, 32))
    phantom.make(folder.with_name("kvasir"), layout="kvasir", number=3, size=64)
    folder.mkdir()
    for path in (folder.with_name("decathlon") / "imagesTr").iterdir():
        shutil.copy(path, folder)
    for path in (folder.with_name("brats") / "phantom_002").glob("*_*_*.nii.gz"):
        if not path.name.endswith("_seg.nii.gz"):
            shutil.copy(path, folder / path.name.replace("phantom_002", "patient"))
    for index, path in enumerate(sorted((folder.with_name("kvasir") / "images").iterdir())):
        with Image.open(path) as image:
            image.crop((0, 0, 64, 52)).save(folder / f"polyp_{index}.png")


def make_bundle(folder: Path) -> None:
    shutil.copytree(
        REPOSITORY / "bundles" / folder.name,
        folder,
        ignore=shutil.ignore_patterns("*.pt", "output", "data", "*.json.bak"),
    )
    for name in ("inference", "train"):
        path = folder / "configs" / f"{name}.json"
        config = json.loads(path.read_text())
        overrides = SMALL | WIDTHS.get(folder.name, {})
        path.write_text(json.dumps(config | {key: value for key, value in overrides.items() if key in config}))
    parser = ConfigParser()
    parser.read_config(folder / "configs" / "inference.json")
    torch.manual_seed(1)
    network = parser.get_parsed_content("network_def")
    with torch.no_grad():
        network.head.weight.mul_(3)
        network.head.bias.copy_(torch.tensor([-0.3, 0.3, -0.6] if len(network.head.bias) == 3 else [0.0]))
    (folder / "models").mkdir(exist_ok=True)
    torch.save(network.state_dict(), folder / "models" / "model.pt")


def own_answer(server: Server, bundle: str, image: Path, output: Path) -> Path:
    """What ``predict`` says with the same weights, on one thread as the server."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        folder = server.bundles / bundle
        assert main(["predict", "--bundle", str(folder), "--input", str(image), "--output", str(output)]) == 0
    finally:
        torch.set_num_threads(threads)
    return output


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


def test_info_offers_every_bundle(server):
    info = server.ask("GET", "/info/")
    assert sorted(info["models"]) == sorted(info["trainers"]) == sorted(BUNDLES)
    assert info["models"]["pu_unet_brats"]["labels"] == {"non-enhancing core": 1, "edema": 2, "enhancing tumour": 3}
    assert info["models"]["pu_unet_kvasir"]["labels"] == {"polyp": 1}
    assert [info["models"][name]["dimension"] for name in BUNDLES] == [3, 2, 2, 2, 2]


def test_pages_of_strangers_are_refused(server):
    def status(*headers: str) -> str:
        command = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", *headers, f"{server.url}/datastore/"]
        return subprocess.run(command, capture_output=True, text=True).stdout

    port = server.url.rpartition(":")[2]
    assert status() == status("-H", f"Origin: {server.url}") == status("-H", f"Host: localhost:{port}") == "200"
    assert status("-H", "Origin: http://evil.example") == "403"
    # a name of their own that leads here: such a page's GET names no origin
    for host in (
        f"evil.example:{port}",
        "evil.example",
        f"127.0.0.1.evil.example:{port}",
        f"localhost@evil:{port}",
        "",
    ):
        assert status("-H", f"Host: {host}" if host else "Host;") == "400", host
    assert status("-H", f"Host: evil.example:{port}", "-H", f"Origin: {server.url}") == "400"


def test_4d_volume_label_for_label(server, tmp_path):
    found = nibabel.load(server.infer("pu_unet_brats", "phantom_001", tmp_path / "found.nii.gz"))
    own = own_answer(server, "pu_unet_brats", server.studies / "phantom_001.nii.gz", tmp_path / "own")
    expected = nibabel.load(own / "phantom_001_seg.nii.gz")
    assert np.array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
    assert set(np.unique(np.asarray(found.dataobj))) == {0, 1, 2, 3}
    assert found.get_data_dtype() == np.uint8
    assert np.allclose(found.affine, expected.affine, atol=1e-5)


@pytest.mark.parametrize("modality", ["flair", "t1", "t1ce", "t2"])
def test_any_modality_brings_its_siblings(modality, server, tmp_path):
    found = voxels(server.infer("pu_unet_brats", f"patient_{modality}", tmp_path / "found.nii.gz"))
    own = own_answer(server, "pu_unet_brats", server.studies / f"patient_{modality}.nii.gz", tmp_path / "own")
    assert np.array_equal(found, voxels(own / "patient_seg.nii.gz"))
    assert found.any()


@pytest.mark.parametrize("bundle", BUNDLES[1:])
def test_png_label_for_label(bundle, server, tmp_path):
    with Image.open(server.infer(bundle, "polyp_0", tmp_path / "found.png")) as image:
        assert image.mode == "L"
        found = np.asarray(image)
    own = own_answer(server, bundle, server.studies / "polyp_0.png", tmp_path / "own")
    with Image.open(own / "polyp_0.png") as image:
        expected = np.asarray(image)
    assert found.shape == expected.shape == (52, 64)
    assert np.array_equal(found, expected // 255)
    assert 0 < found.mean() < 1


@pytest.mark.parametrize(
    ("bundle", "images"),
    [("pu_unet_kvasir", ["polyp_1", "polyp_2"]), ("pu_unet_brats", ["phantom_002"])],
    ids=["images", "volumes without a validation part"],
)
def test_annotators_loop(bundle, images, server, tmp_path):
    suffix = ".png" if bundle == "pu_unet_kvasir" else ".nii.gz"
    before = server.infer(bundle, images[0], tmp_path / f"before{suffix}").read_bytes()
    for image in images:  # the annotator corrects what the network said: here, clears half of it
        said = server.infer(bundle, image, tmp_path / f"said{suffix}")
        server.save_label(image, cleared(said, tmp_path / f"corrected{suffix}"))
    assert server.train(bundle, max_epochs=2, val_split=0.5 if len(images) > 1 else 0.2).startswith("DONE")
    after = server.infer(bundle, images[0], tmp_path / f"after{suffix}").read_bytes()
    assert after != before
    fallback = server.infer(bundle, images[0], tmp_path / f"again{suffix}", model_filename="previous-1/model.pt")
    assert fallback.read_bytes() == before
    last = server.infer(bundle, images[0], tmp_path / f"last{suffix}", model_filename="checkpoint_epoch=2.pt")
    if len(images) == 1:  # nothing to validate on: the last weights are the best
        assert last.read_bytes() == after
    for image in images:  # a training takes all labels there are
        server.forget_label(image)


def cleared(label: Path, path: Path) -> Path:
    if label.suffix == ".png":
        with Image.open(label) as image:
            values = np.array(image)
        values[: len(values) // 2] = 0
        Image.fromarray(values).save(path)
        return path
    image = nibabel.load(label)
    values = np.array(image.dataobj)
    values[: len(values) // 2] = 0
    nibabel.save(nibabel.Nifti1Image(values, image.affine), path)
    return path


def test_mistakes_end_in_one_line_of_the_log(server, tmp_path):
    shutil.copy(server.studies / "patient_t1.nii.gz", server.studies / "lonely_t1.nii.gz")
    time.sleep(2)  # MONAI Label notices new files by itself
    run = subprocess.run(
        [
            "curl",
            "-s",
            "-X",
            "POST",
            f"{server.url}/infer/pu_unet_brats?image=lonely_t1&output=image",
            "-F",
            "params={}",
        ],
        capture_output=True,
        text=True,
    )
    assert "Error" in run.stdout
    said = "case lonely has T1w (lonely_t1.nii.gz) but no FLAIR, T1gd, T2w"
    for _ in range(20):  # the log is written behind the answer
        if said in server.log.read_text():
            return
        time.sleep(0.5)
    raise AssertionError(server.log.read_text()[-3000:])


def test_listens_on_loopback_alone(server):
    first = psutil.Process(server.process)
    listening = {
        connection.laddr
        for process in (first, *first.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert f"http://127.0.0.1:{listening.pop().port}" == server.url


def test_serve_names_what_is_missing(tmp_path):
    serve = REPOSITORY / "label_server" / "serve.sh"
    run = subprocess.run([serve], capture_output=True, text=True)
    assert run.returncode == 2
    assert "serve.sh ENVIRONMENT WORKDIR STUDIES PORT BUNDLE" in run.stderr
    run = subprocess.run([serve, tmp_path, tmp_path, tmp_path / "none", "1", "x"], capture_output=True, text=True)
    assert run.returncode == 2
    assert "no such folder of studies" in run.stderr
