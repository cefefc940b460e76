"""Comic faces drawn by the program itself, so that nobody needs pictures to try it. Pillow only."""

from vaegan.demo.faces.attributes import Face
from vaegan.demo.faces.sampling import random_face
from vaegan.demo.faces.scene import ATTRIBUTES, draw_face, draw_faces

__all__ = ["ATTRIBUTES", "Face", "draw_face", "draw_faces", "random_face"]
