from __future__ import annotations

import json
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

from data_prep import kvasir
from pu_unet_monai import __version__


def arguments(source, output):
    return ["--source", source, "--output", output]


def test_the_datalist(kvasir_source, tmp_path, capsys):
    output = tmp_path / "kvasir.json"
    assert kvasir.main(list(map(str, arguments(kvasir_source, output)))) == 0
    content = json.loads(output.read_text())
    assert list(content) == [
        "name", "description", "licence", "label_numbering", "provenance", "training", "validation", "test",
    ]  # fmt: skip
    assert content["label_numbering"] == "binary"
    assert content["provenance"]["command"] == "python -m data_prep.kvasir"
    assert content["provenance"]["package_version"] == __version__
    assert content["provenance"]["seed"] == 42
    assert content["provenance"]["numbers"]["images"] == 12
    for name in ("training", "validation", "test"):
        for entry in content[name]:
            assert (kvasir_source / entry["image"]).is_file()
            assert entry["label"] == entry["image"].replace("images/", "masks/")
    assert str(tmp_path) not in output.read_text()
    assert not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*"))

    said = capsys.readouterr().out
    assert f"wrote {output}" in said
    assert "training        8 images" in said
    command = shlex.split(said.splitlines()[-1])
    assert command[:5] == ["python", "-m", "monai.bundle", "run", "training"]
    results = output.with_name(f"{output.stem}_run")
    places = {
        "dataset_dir": kvasir_source,
        "datalist_file": output,
        "output_dir": results,
        "ckpt_dir": results / "models",
    }
    assert command[-8:] == [word for key, place in places.items() for word in (f"--{key}", str(place))]


def test_the_same_seed_gives_the_same_bytes_wherever_the_dataset_lies(kvasir_source, tmp_path):
    kvasir.prepare(kvasir_source, tmp_path / "a.json", seed=7)
    shutil.copytree(kvasir_source, tmp_path / "elsewhere")
    kvasir.prepare(tmp_path / "elsewhere", tmp_path / "b.json", seed=7)
    kvasir.prepare(kvasir_source, tmp_path / "c.json", seed=8)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.json").read_bytes() != (tmp_path / "c.json").read_bytes()


def test_an_older_datalist_is_replaced(kvasir_source, tmp_path):
    kvasir.prepare(kvasir_source, tmp_path / "a.json", seed=1)
    kvasir.prepare(kvasir_source, tmp_path / "a.json", seed=2)
    assert json.loads((tmp_path / "a.json").read_text())["provenance"]["seed"] == 2


def test_all_bad_files_are_named_at_once(kvasir_source, tmp_path, fails, save_image):
    names = [path.name for path in sorted((kvasir_source / "images").iterdir())]
    images, masks = kvasir_source / "images", kvasir_source / "masks"
    (images / names[0]).write_bytes((images / names[0]).read_bytes()[:600])
    (images / names[1]).write_text("no image")
    (masks / names[1]).write_bytes(b"")
    save_image(masks / names[2], np.zeros((30, 31), dtype=np.uint8))
    save_image(masks / names[3], np.full((32, 32), 3, dtype=np.uint8))
    message = fails(kvasir.main, *arguments(kvasir_source, tmp_path / "k.json"), folder=tmp_path)
    assert message.startswith("error: 5 bad file(s):\n")
    assert f"{images / names[0]}: cannot be read as an image (" in message
    assert f"{images / names[1]}: cannot be read as an image (" in message
    assert f"{masks / names[1]}: cannot be read as an image (" in message
    assert f"{masks / names[2]}: size 31x30, but the image {names[2]} has 32x32" in message
    assert f"{masks / names[3]}: values 3, expected 0 and 255" in message
    assert "nothing was written" in message


def test_twenty_bad_files_are_listed_and_the_rest_counted(tmp_path, fails, save_image):
    for number in range(23):
        save_image(tmp_path / "source" / "images" / f"{number:02d}.jpg", np.zeros((8, 8), dtype=np.uint8))
    (tmp_path / "source" / "masks").mkdir()
    message = fails(kvasir.main, *arguments(tmp_path / "source", tmp_path / "k.json"), folder=tmp_path)
    assert message.startswith("error: 23 bad file(s):\n")
    assert message.count(": no mask ") == 20
    assert "... and 3 more" in message


def test_missing_and_left_over_masks(kvasir_source, tmp_path, fails):
    first, second = sorted((kvasir_source / "masks").iterdir())[:2]
    first.rename(first.with_name("other.jpg"))
    second.unlink()
    message = fails(kvasir.main, *arguments(kvasir_source, tmp_path / "k.json"), folder=tmp_path)
    assert f"{kvasir_source / 'masks' / 'other.jpg'}: no image for this mask" in message
    assert f"{kvasir_source / 'images' / first.name}: no mask {first.stem} in" in message
    assert f"{kvasir_source / 'images' / second.name}: no mask {second.stem} in" in message


def test_folders_that_are_not_there(tmp_path, fails):
    message = fails(kvasir.main, *arguments(tmp_path / "none", tmp_path / "k.json"), folder=tmp_path)
    assert message.startswith("error: 2 folder(s) not found:\n")
    assert str(tmp_path / "none" / "images") in message
    assert str(tmp_path / "none" / "masks") in message


def test_an_empty_folder(tmp_path, fails):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    message = fails(kvasir.main, *arguments(tmp_path, tmp_path / "k.json"), folder=tmp_path)
    assert f"{tmp_path / 'images'}: no image found, expected files ending in .jpg" in message


def test_too_few_images(kvasir_source, tmp_path, fails):
    for path in [*sorted((kvasir_source / "images").iterdir())[2:], *sorted((kvasir_source / "masks").iterdir())[2:]]:
        path.unlink()
    message = fails(kvasir.main, *arguments(kvasir_source, tmp_path / "k.json"), folder=tmp_path)
    assert "2 case(s) in 2 group(s) are too few" in message


def test_orientations_must_agree(kvasir_source, tmp_path, fails):
    path = next((kvasir_source / "images").iterdir())
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as image:
        image.load()
    image.save(path, exif=exif)
    message = fails(kvasir.main, *arguments(kvasir_source, tmp_path / "k.json"), folder=tmp_path)
    assert f"{path.name}: EXIF orientation 1, but the image {path.name} has 6; save both upright" in message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("k.txt", "expected the name of a .json file"),
        ("none/k.json", "does not exist; create it first"),
        ("boxes.json", "exists and is not a datalist; choose another name or remove it"),
    ],
)
def test_outputs_that_are_refused(kvasir_source, tmp_path, fails, name, message):
    (tmp_path / "boxes.json").write_text('{"a": 1}')
    assert message in fails(kvasir.main, *arguments(kvasir_source, tmp_path / name), folder=tmp_path)
    assert (tmp_path / "boxes.json").read_text() == '{"a": 1}'


def test_a_seed_that_no_generator_takes(kvasir_source, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        kvasir.main([*map(str, arguments(kvasir_source, tmp_path / "k.json")), "--seed", "-1"])
    assert "--seed: -1: expected a number from 0 to 4294967295" in capsys.readouterr().err


def test_every_kind_of_bad_file_is_named_at_once(kvasir_source, tmp_path, fails):
    unpaired, truncated, resized = sorted(path.name for path in (kvasir_source / "images").iterdir())[:3]
    (kvasir_source / "masks" / unpaired).unlink()
    content = (kvasir_source / "images" / truncated).read_bytes()
    (kvasir_source / "images" / truncated).write_bytes(content[: len(content) // 2])
    Image.new("L", (7, 9)).save(kvasir_source / "masks" / resized)
    message = fails(kvasir.main, *arguments(kvasir_source, tmp_path / "k.json"), folder=tmp_path)
    assert message.startswith("error: 3 bad file(s):\n")
    assert f"{unpaired}: no mask" in message
    assert f"{truncated}: cannot be read as an image" in message
    assert f"{resized}: size 7x9, but the image {resized} has 32x32" in message
