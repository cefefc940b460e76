"""Comic faces drawn by the program itself, so that nobody needs pictures to try it. Pillow only."""

from vaegan.demo.faces.attributes import Face
from vaegan.demo.faces.sampling import random_face
from vaegan.demo.faces.scene import ATTRIBUTES_FILENAME, draw_face, write_faces

__all__ = ["ATTRIBUTES_FILENAME", "Face", "draw_face", "random_face", "write_faces"]
