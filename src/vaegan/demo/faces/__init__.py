"""Draw random comic faces with Pillow, so that vaegan can be tried without any image files."""

from vaegan.demo.faces.attributes import Face
from vaegan.demo.faces.draw import ATTRIBUTES_FILENAME, draw_face, write_faces
from vaegan.demo.faces.sampling import random_face

__all__ = ["ATTRIBUTES_FILENAME", "Face", "draw_face", "random_face", "write_faces"]
