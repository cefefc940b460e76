"""Comic faces drawn by the program itself, so that nobody needs pictures to try it. Pillow only."""

from vaegan.data.cartoon.attributes import Face
from vaegan.data.cartoon.chance import random_face
from vaegan.data.cartoon.scene import ATTRIBUTES, draw_face, draw_faces

__all__ = ["ATTRIBUTES", "Face", "draw_face", "draw_faces", "random_face"]
