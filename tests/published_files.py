"""Tiny folders in the layouts of published data sets; the first pixel of image i tells i."""

import functools
import io
import json

import numpy as np
from PIL import Image

from labelbench_ray.datasets import caltech256, celeba, coco, voc


def write_image(file, number, size=(4, 3)):
    """Grey of this number; written without loss whatever the suffix says."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(encoded(number, size))


@functools.cache
def encoded(number, size):
    stream = io.BytesIO()
    Image.new("RGB", size, (number % 256,) * 3).save(stream, "PNG")
    return stream.getvalue()


def write_kmnist49(folder):
    """490 and 80 images, all of the value of their label; each class is once in the tenth that is train."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = {"train": np.empty(490, np.uint8), "test": (np.arange(80) % 49).astype(np.uint8)}
    labels["train"][np.random.RandomState(42).permutation(490)] = np.arange(490) % 49
    for part, values in labels.items():
        np.savez_compressed(folder / f"k49-{part}-labels.npz", values)
        np.savez_compressed(folder / f"k49-{part}-imgs.npz", np.repeat(values, 784).reshape(-1, 28, 28))
    return folder


def write_caltech256(root, per_class=5):
    """With the two strangers of the archive: a script among the spiders, and a folder among the dogs."""
    folder = root / "caltech256" / "256_ObjectCategories"
    for number, name in enumerate(caltech256.FOLDERS, start=1):
        for image in range(1, per_class + 1):
            write_image(folder / name / f"{number:03d}_{image:04d}.jpg", number - 1)
    (folder / "198.spider" / "RENAME2").write_text("mv")
    write_image(folder / "056.dog" / "greg" / "0.jpg", 0)
    return root


def write_celeba(root, num_images=48):
    """Image i has attribute i % 40 alone; the first 40 are train, of the others every second is val or test."""
    folder = root / "celeba"
    names = celeba.CelebA.card.class_names
    attributes, partition = [str(num_images), " ".join(names) + " "], []
    for number in range(num_images):
        file = f"{number + 1:06d}.jpg"
        attributes.append(f"{file} " + " ".join(" 1" if number % 40 == one else "-1" for one in range(40)))
        partition.append(f"{file} {0 if number < 40 else number % 2 + 1}")
        write_image(folder / "img_align_celeba" / file, number)
    (folder / "list_attr_celeba.txt").write_text("\n".join(attributes) + "\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(partition) + "\n")
    return root


def write_voc(root, num_images=60):
    """Image i shows class i % 20, and a difficult object of the class after."""
    folder = root / "VOCdevkit" / "VOC2012"
    names = [f"2008_{number:06d}" for number in range(num_images)]
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for number, name in enumerate(voc.Voc2012.card.class_names):
        marks = [1 if row % 20 == number else 0 if (row + 1) % 20 == number else -1 for row in range(num_images)]
        lines = [f"{image} {mark:2d}" for image, mark in zip(names, marks, strict=True)]
        (folder / "ImageSets" / "Main" / f"{name}_trainval.txt").write_text("\n".join(lines) + "\n")
    for number, name in enumerate(names):
        write_image(folder / "JPEGImages" / f"{name}.jpg", number)
    return root


def write_coco(root, num_train=80, num_val=12):
    """Image i shows class i % 80 twice and class 0; one more image in each part shows nothing."""
    names = coco.Coco2014.card.class_names[::-1]  # the file's order is not the alphabet, and its numbers have gaps
    (root / "annotations").mkdir(parents=True)
    for part, count in (("train2014", num_train), ("val2014", num_val)):
        images, annotations = [], []
        for number in range(count + 1):
            file = f"COCO_{part}_{number:012d}.jpg"
            write_image(root / part / file, number)
            images.append({"id": 1000 + number, "file_name": file})
            shown = [number % 80, number % 80, 0] if number < count else []
            annotations += [{"image_id": 1000 + number, "category_id": 2 * one + 1} for one in shown]
        categories = [{"id": 2 * (79 - number) + 1, "name": name} for number, name in enumerate(names)]
        told = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(told))
    return root


CARS = [
    "Audi S5 Coupe 2012",
    "BMW M6 Convertible 2010",
    "Chevrolet Tahoe Hybrid SUV 2012",
    "Dodge Caravan Minivan 1997",
    "Ford E-Series Wagon Van 2012",
]


def write_mat(file, variables, **options):
    """A MATLAB file whose header does not say when it was written, so that equal ones are equal."""
    from scipy.io import savemat

    savemat(file, variables, **options)
    with file.open("r+b") as opened:
        opened.write(b"MATLAB 5.0 MAT-file".ljust(116))


def write_cars(root, num_images=40):
    """Image i is of car i % 5."""
    root.mkdir(parents=True, exist_ok=True)
    fields = ["relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test"]
    annotations = np.zeros((1, num_images), dtype=[(field, object) for field in fields])
    for number in range(num_images):
        file = f"car_ims/{number + 1:06d}.jpg"
        annotations[0, number] = (file, 1, 1, 2, 2, number % len(CARS) + 1, 0)
        write_image(root / file, number)
    write_mat(root / "cars_annos.mat", {"annotations": annotations, "class_names": np.array([CARS], object)})
    return root
