"""The kinds of problems that are found in a data set."""

from dataclasses import dataclass

EFFECTS = ("drop", "clip", "repair", "warn")


@dataclass(frozen=True)
class Kind:
    """A kind of problem.

    Attributes:
        title: plural noun phrase for reports.
        effect: what happens to an entry with the problem. ``"drop"``: it cannot be used and stops the run,
            unless it may be dropped. ``"clip"``: it reaches over the edge of its image; it is used as it is,
            or clipped where entries may be dropped. ``"repair"``: it is read without loss. ``"warn"``: it is
            used unchanged.
        remedy: what the user can do, in one sentence.
    """

    title: str
    effect: str
    remedy: str

    def __post_init__(self) -> None:
        assert self.effect in EFFECTS, f"unknown effect {self.effect!r}"


KINDS = {
    # Entries that cannot be used.
    "bad_entry": Kind("entries with a missing or invalid value", "drop", "Correct the value."),
    "bad_label": Kind("labels that cannot be read", "drop", "Correct the label as its format requires."),
    "repeated_id": Kind("repeated ids", "drop", "Give each entry its own id."),
    "unknown_image": Kind(
        "annotations of images that are not listed",
        "drop",
        "Add the image to the list, or remove the annotation.",
    ),
    "unknown_category": Kind(
        "annotations of categories that are not listed",
        "drop",
        "Add the category to the list, or correct the annotation.",
    ),
    "bad_box": Kind(
        "boxes that are not four finite numbers", "drop", "Write [x, y, width, height] in pixels."
    ),
    "empty_box": Kind("boxes without area", "drop", "Draw the box again, or remove the annotation."),
    "box_outside": Kind("boxes outside their image", "drop", "Check that the box belongs to this image."),
    "bad_mask": Kind(
        "masks that cannot be read", "drop", "Write polygons [x, y, x, y, ...] in pixels, or RLE."
    ),
    "mask_outside": Kind("masks outside their image", "drop", "Check that the mask belongs to this image."),
    "long_outline": Kind("polygons with a very long outline", "drop", "Simplify the polygon."),
    "image_outside": Kind(
        "images outside the image folder", "drop", "Write file names relative to the image folder."
    ),
    "missing_image": Kind(
        "missing images", "drop", "Add the image, or name the folder that the file names are relative to."
    ),
    "damaged_image": Kind("images that cannot be read", "drop", "Export or download the image again."),
    "wrong_size": Kind(
        "images whose size differs from the stated one",
        "drop",
        "Correct width and height, and check that the annotations belong to this image.",
    ),
    # Objects that reach over the edge of their image.
    "box_over_edge": Kind(
        "boxes that reach over the edge of their image", "clip", "Clip the box to its image."
    ),
    "mask_over_edge": Kind(
        "masks that reach over the edge of their image", "clip", "Clip the mask to its image."
    ),
    # What is read without loss.
    "ids": Kind(
        "ids that are not whole numbers",
        "repair",
        "Nothing to do: ids in strings are converted, and other ids are replaced by numbers.",
    ),
    "category_name": Kind(
        "categories whose name is missing or not a string",
        "repair",
        "Nothing to do: a missing name is replaced by the id.",
    ),
    "category_by_name": Kind(
        "annotations that name their category instead of its id",
        "repair",
        "Nothing to do: the category of this name is used.",
    ),
    "repeated_category": Kind(
        "categories listed twice", "repair", "Nothing to do: each of them is used once."
    ),
    "repeated_image": Kind("images listed twice", "repair", "Nothing to do: their annotations are merged."),
    "file_name": Kind(
        "file names that differ from the path of the image", "repair", "Nothing to do: the image was found."
    ),
    "size": Kind(
        "images whose stated size is missing or wrong",
        "repair",
        "Nothing to do: the size of the image file is used.",
    ),
    "frame": Kind(
        "images with annotations of a rotated or resized version",
        "repair",
        "Nothing to do: the annotations are transformed to the image.",
    ),
    "numbers": Kind(
        "numbers in strings or in nested lists", "repair", "Nothing to do: the numbers are read."
    ),
    "missing_box": Kind(
        "objects without a box", "repair", "Nothing to do: the box is computed from the mask."
    ),
    "area": Kind(
        "areas that do not match their object",
        "repair",
        "Nothing to do: the area is computed from the mask or the box.",
    ),
    "mask_form": Kind(
        "masks in another form than COCO defines",
        "repair",
        "Nothing to do: the masks are read.",
    ),
    "mask_part": Kind(
        "masks with a polygon of fewer than 3 points beside others",
        "repair",
        "Nothing to do: the polygon is left out.",
    ),
    "placeholder_category": Kind(
        "categories that Roboflow adds for the project",
        "repair",
        "Nothing to do: they have no objects and are left out.",
    ),
    # What is used unchanged.
    "repeated_annotation": Kind("identical annotations", "warn", "Remove all but one of them."),
    "repeated_name": Kind(
        "names that several categories have", "warn", "Merge the categories, or rename one."
    ),
    "unused_category": Kind(
        "categories without objects", "warn", "Remove the category, unless other splits have objects of it."
    ),
    "images_not_found": Kind(
        "annotation files whose images were not found",
        "warn",
        "Name the folder of the images, or put it beside the file.",
    ),
    "shared_image": Kind(
        "images in two splits",
        "warn",
        "Keep the image in one split, because scores on training images are too high.",
    ),
    "copied_image": Kind("images with the same contents as another", "warn", "Keep one of the images."),
    "corner_box": Kind(
        "boxes that look like [x1, y1, x2, y2]",
        "warn",
        "Subtract x1 from x2 and y1 from y2 where the boxes are written in this form.",
    ),
    "fraction_box": Kind(
        "boxes that look like fractions of their image",
        "warn",
        "Multiply x and width by the width of the image, y and height by its height.",
    ),
    "tiny_box": Kind(
        "boxes of less than one pixel in width or height", "warn", "Check that the coordinates are in pixels."
    ),
    "mask_beside_box": Kind(
        "masks that do not match their box",
        "warn",
        "Check that the mask and the box belong to the same object.",
    ),
    "flat_mask": Kind("masks without area", "warn", "Draw the mask again, or remove it."),
    "large_image": Kind(
        "images much larger than the size they are resized to",
        "warn",
        "Cut the images into tiles if small objects in them matter.",
    ),
    "small_image": Kind(
        "images much smaller than the size they are resized to",
        "warn",
        "Check that these are not thumbnails, or train at a smaller size.",
    ),
    "low_range": Kind(
        "16-bit images that use a small part of the range of values",
        "warn",
        "Scale the values to 0 to 65535, or store the images with 8 bits.",
    ),
    "jpeg_warning": Kind(
        "JPEG images with damaged parts", "warn", "Look at the images, and export or download them again."
    ),
    "missing_label_file": Kind(
        "images without a label file", "warn", "Add an empty label file if the image contains no objects."
    ),
    "image_without_xml": Kind(
        "images without an XML file", "warn", "Add an XML file without objects if the image contains none."
    ),
    "unused_label_file": Kind("label files without an image", "warn", "Add the image, or remove the file."),
    "unused_annotation_file": Kind(
        "annotation files that are not used",
        "warn",
        "Give the file the name of its split (train, val or test), unpack it, or remove it.",
    ),
    "shared_label_file": Kind(
        "images with the label file of another",
        "warn",
        "Keep one of the images, or give each a name of its own.",
    ),
    "thin_box": Kind(
        "boxes that are one pixel wide or high", "warn", "Check that the box was not drawn by accident."
    ),
}
